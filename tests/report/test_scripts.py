"""The report's scripts against what surrounds them: the data that Python writes, the library that draws charts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.report.made import HOSTILE

from benchhydra.analysis.compare import compare
from benchhydra.analysis.comparison import ChangeVerdict
from benchhydra.analysis.runs import Runs
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.report import pages
from benchhydra.report.data.comparison import comparison_data
from benchhydra.report.site import Site

ROOT = Path(__file__).parents[2]
TSC = ROOT / "node_modules" / ".bin" / "tsc"
TIMEOUT_S = 120

needs_tsc = pytest.mark.skipif(
    shutil.which("node") is None or not TSC.exists(), reason="no TypeScript: `make node` installs it"
)


@pytest.fixture(scope="module")
def pieces(found: Runs) -> dict[str, Any]:
    """Every piece of a report by its name."""
    comparison = comparison_data(compare(found, found, thresholds=Thresholds()), "base", HOSTILE)
    return dict(Site(results=found, title="t", sources=("tree",), comparison=comparison).pieces())


def type_errors(pieces: Mapping[str, Any], directory: Path) -> str:
    """What tsc says of the data as TypeScript literals, whose keys it compares with those of the types both ways."""
    lines = [
        f'const piece{i}: Pieces["{name}"] = {pages.encode_json(data).decode()};'
        for i, (name, data) in enumerate(pieces.items())
    ]
    (directory / "pieces.ts").write_text("\n".join([*lines, "export {};"]), encoding="utf-8")
    config = {"extends": str(ROOT / "jsconfig.json"), "include": [str(pages.STATIC / "types.d.ts"), "pieces.ts"]}
    (directory / "tsconfig.json").write_text(json.dumps(config), encoding="utf-8")
    command = [str(TSC), "--project", str(directory)]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False).stdout


@needs_tsc
@pytest.mark.slow
class TestData:
    def test_has_the_types_that_the_scripts_expect(self, pieces: dict[str, Any], tmp_path: Path) -> None:
        kinds = {name.split("/")[0] for name in pieces}
        assert kinds == {"index", "metrics", "benchmarks", "details", "requests", "sweeps", "comparison"}
        assert type_errors(pieces, tmp_path) == ""

    def test_renamed_key_is_an_error(self, pieces: dict[str, Any], tmp_path: Path) -> None:
        index = {("output" if key == "results" else key): value for key, value in pieces["index"].items()}
        assert "does not exist in type 'ReportIndex'" in type_errors({"index": index}, tmp_path)

    def test_missing_key_is_an_error(self, pieces: dict[str, Any], tmp_path: Path) -> None:
        index = {key: value for key, value in pieces["index"].items() if key != "results"}
        assert "'results' is missing" in type_errors({"index": index}, tmp_path)


def test_every_global_name_is_used() -> None:
    """Scripts share one scope, where ESLint cannot know what other files use."""
    scripts = "\n".join(file.read_text(encoding="utf-8") for file in sorted(pages.STATIC.glob("*.js")))
    code = re.sub(r"/\*.*?\*/|//[^\n]*", "", scripts, flags=re.DOTALL)
    names = re.findall(r"^(?:async )?(?:function|const|let|class) (\w+)", code, flags=re.MULTILINE)
    assert len(names) > 100
    called_by_data = {"registerPiece"}
    unused = {name for name in names if len(re.findall(rf"\b{name}\b", code)) < 2}
    assert unused == called_by_data


def test_every_verdict_on_a_metric_can_be_filtered_and_has_a_colour() -> None:
    script = (pages.STATIC / "comparison.js").read_text(encoding="utf-8")
    style = (pages.STATIC / "style.css").read_text(encoding="utf-8")
    for verdict in ChangeVerdict:
        assert f'["{verdict}", "{verdict.words}"]' in script
        assert f".{verdict}" in style


def test_types_are_those_of_the_library_that_is_shipped() -> None:
    wanted = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["devDependencies"]["echarts"]
    assert f'version="{wanted}"' in pages.LIBRARY.read_text(encoding="utf-8")


def test_lock_names_no_registry() -> None:
    """It holds versions and hashes, and installs from whatever registry is configured."""
    lock = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert all("integrity" in package and "resolved" not in package for package in packages.values())

"""The installed wheel does what the checkout does: the YAML tree and the Hydra plugin are inside."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchhydra.result import Result

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
DOCUMENTED = ["-m", "model=llama2,mistral", "script=serving", "qps=1,5,10", "engine=fake"]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not UV.exists(), reason="no uv beside the interpreter")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    called([str(UV), "build", "--quiet", "--wheel", "--out-dir", str(out), str(ROOT)], out)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    called([str(UV), "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)], target)
    return target


def called(command: list[str], directory: Path, **env: str) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=200, env=os.environ | env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_holds_every_file_of_conf(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("benchhydra/conf/")}
    there = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml") if "local" not in path.parts}
    assert there
    assert {f"benchhydra/{name}" for name in there} <= held


def test_wheel_holds_the_schema_and_the_report_files(wheel: Path) -> None:
    held = zipfile.ZipFile(wheel).namelist()
    assert "benchhydra/schema/result-1.4.0.json" in held
    package = ROOT / "src" / "benchhydra" / "report"
    report = {
        f"benchhydra/report/{path.relative_to(package)}" for path in package.rglob("*.*") if path.suffix != ".pyc"
    }
    assert any(name.endswith(".js") for name in report)
    assert report <= set(held)
    assert any(name.startswith("hydra_plugins/") for name in held)
    assert not any(name.startswith("hydra_plugins/__init__") for name in held)  # a namespace of many packages


def test_conf_is_found_inside_the_package(installed: Path, tmp_path: Path) -> None:
    code = "from benchhydra import registry; print(registry.CONF_DIR)"
    found = called([sys.executable, "-c", code], tmp_path, PYTHONPATH=str(installed))
    assert Path(found.strip()) == installed / "benchhydra" / "conf"


def test_documented_command_runs_in_any_directory(installed: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchhydra", *DOCUMENTED, "num_prompts=5", "tracking=none"]
    called([*command, "dataset.output_tokens=4", "script.fail_on=never"], tmp_path, PYTHONPATH=str(installed))
    results = [Result.read(path) for path in tmp_path.glob("outputs/sweeps/**/result.json")]
    assert len(results) == 6
    assert {result.status for result in results} == {"ok"}
    assert sum(bool(result.metadata["server_started"]) for result in results) == 2

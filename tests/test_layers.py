"""The layers of the package are what pyproject.toml says they are, and a wrong import breaks the check.

A contract that everything keeps may be one that nothing can break: the checks run on a copy of the source with wrong
imports planted in it, too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from tests import source_imports
from tests.source_imports import ROOT, SOURCE

LINTER = Path(sys.executable).with_name("lint-imports")
HEAVY = ("mlflow", "transformers", "pyarrow", "pandas", "scipy", "matplotlib")


def lint(source: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of a source tree, under the contracts of pyproject.toml."""
    command = [str(LINTER), "--no-cache", "--config", str(ROOT / "pyproject.toml")]
    environment = os.environ | {"PYTHONPATH": str(source)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=source, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the source, to plant wrong imports in."""
    source = tmp_path / "src"
    skipped = shutil.ignore_patterns("__pycache__", "static", "vendor")
    shutil.copytree(SOURCE / "benchhydra", source / "benchhydra", ignore=skipped)
    return source


def plant(source: Path, module: str, statement: str) -> None:
    """Add an import statement to the end of a module, or make one that has only this."""
    file = source / "benchhydra" / module
    with file.open("a", encoding="utf-8") as text:
        text.write(f"\n{statement}\n")


def test_contracts_are_kept() -> None:
    result = lint(SOURCE)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "statement", "words"),
    [
        ("analysis/gate.py", "import benchhydra.report.site", "analysis is not allowed to import benchhydra.report"),
        ("records.py", "from benchhydra.metrics import table", "records is not allowed to import benchhydra.metrics"),
        ("formats/__init__.py", "import benchhydra.client", "formats is not allowed to import benchhydra.client"),
        ("analysis/stats/power.py", "import benchhydra.records", "Statistics know arrays, and neither runs nor files"),
        ("commands/gate.py", "import mlflow", "benchhydra.commands.gate -> mlflow"),
        ("run.py", "import omegaconf", "benchhydra.run -> omegaconf"),
        ("series.py", "import pyarrow", "benchhydra.series -> pyarrow"),
        ("new_module.py", "import json", "new_module"),
    ],
    ids=["sideways", "upwards", "between siblings", "statistics", "mlflow", "hydra", "pyarrow", "in no layer"],
)
def test_wrong_import_breaks_a_contract(copy: Path, module: str, statement: str, words: str) -> None:
    plant(copy, module, statement)
    result = lint(copy)
    assert result.returncode == 1
    assert words in result.stdout


def test_private_modules_are_imported_in_their_own_package_only(copy: Path) -> None:
    assert source_imports.private_imports(source_imports.import_statements()) == []
    plant(copy, "run.py", "from benchhydra.commands import _sources")
    plant(copy, "archive.py", "from benchhydra.records import _BLOCK_ROWS")
    private = source_imports.private_imports(source_imports.import_statements(copy))
    assert [statement.target for statement in private] == [
        "benchhydra.records._BLOCK_ROWS",
        "benchhydra.commands._sources",
    ]


def test_imports_in_functions_say_that_they_are_for_start_up_time(copy: Path) -> None:
    assert _unexplained(SOURCE) == []
    plant(copy, "archive.py", "def late():\n    from benchhydra.records import Records")
    assert [statement.target for statement in _unexplained(copy)] == ["benchhydra.records.Records"]


def _unexplained(source: Path) -> list[source_imports.ImportStatement]:
    statements = source_imports.import_statements(source)
    return [statement for statement in statements if statement.in_function and "start-up" not in statement.comment]


def test_command_line_starts_without_heavy_packages() -> None:
    code = "import sys, benchhydra.cli; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.split())
    assert "benchhydra" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_a_class_name_means_one_thing() -> None:
    files = source_imports.class_names()
    assert {name: where for name, where in files.items() if len(where) > 1 and not name.startswith("_")} == {}
    assert len(files) > 150


def test_picture_of_the_layers_is_that_of_the_contract() -> None:
    document = source_imports.ARCHITECTURE.read_text(encoding="utf-8")
    assert document == source_imports.with_picture(document), "python -m tests.source_imports writes it"
    modules = [module for layer in source_imports.layers() for module in layer]
    assert max(Counter(modules).values()) == 1
    assert all(f"`{module}`" in document for module in modules)

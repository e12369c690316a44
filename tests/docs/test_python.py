"""The Python of docs/python.md and of the notebook runs as it stands there, on results that the real writers made."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.docs.blocks import DOCS
from tests.two_systems import write_sweep

import benchhydra
from benchhydra.stored_runs import RequestRows, RunSeries, StoredRun, StoredRuns

PAGE = (DOCS / "python.md").read_text(encoding="utf-8")
CODE = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
NOTEBOOK = json.loads((DOCS / "results.ipynb").read_text(encoding="utf-8"))
CELLS = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The results that both talk of, in the working directory; plots are drawn without a screen."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    write_sweep(Path("flags"), [10.0, 12.0])


def value_of_last_line(code: str, names: dict[str, Any]) -> Any:
    """Run code as a notebook does: the value of its last line, if that is an expression."""
    module = ast.parse(code)
    last = module.body.pop() if module.body and isinstance(module.body[-1], ast.Expr) else None
    exec(compile(module, "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if isinstance(last, ast.Expr) else None


@pytest.mark.usefixtures("flags")
def test_the_six_lines_run(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = CODE.findall(PAGE)
    assert len(list(filter(None, code.splitlines()))) == 6
    exec(compile(code, "python.md", "exec"), {})
    out = capsys.readouterr().out
    assert out.startswith("VALID 20.0 ")
    assert "engine.itl_ms" in out


def test_the_notebook_is_one() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    for cell in NOTEBOOK["cells"]:
        assert isinstance(cell["source"], list) and isinstance(cell["metadata"], dict)
        assert cell["cell_type"] == "markdown" or (cell["outputs"] == [] and cell["execution_count"] is None)


@pytest.mark.usefixtures("flags")
def test_every_cell_of_the_notebook_runs() -> None:
    names: dict[str, Any] = {}
    values = [value_of_last_line(code, names) for code in CELLS]
    assert all(value is not None for value in values)
    assert repr(values[0]) == "<36 runs of 12 points>"
    assert values[2].loc[(12.0, 20.0), "mean"] / values[2].loc[(10.0, 20.0), "mean"] == pytest.approx(1.2, rel=0.01)
    assert len(values[3].axes[0].get_lines()) == 2
    names["plt"].close("all")


@pytest.mark.parametrize(
    ("name", "owner"), [("runs", StoredRuns), ("run", StoredRun), ("run.rows", RequestRows), ("run.series", RunSeries)]
)
def test_the_page_names_what_there_is(name: str, owner: type) -> None:
    named = set(re.findall(rf"(?<![\w.]){re.escape(name)}\.(\w+)", PAGE))
    assert named <= set(dir(owner)) | {"rows", "series"}
    public = {attribute for attribute in vars(owner) if not attribute.startswith("_")}
    assert public - {"columns", "records", "start_ns"} <= named


def test_load_is_documented() -> None:
    assert "docs/python.md" in (benchhydra.load.__doc__ or "")

"""A page beside the results that were logged before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchhydra.cli import program
from benchhydra.result import Result
from benchhydra.tracking import page, store
from benchhydra.tracking.links import read_links
from benchhydra.tracking.mlflow import Mlflow

Make = Callable[..., tuple[Result, Path]]


def test_page_is_an_artifact_of_every_run(uri: str, point: Make, client: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("<p>", encoding="utf-8")
    logged = [point(sweep_id="s"), point(sweep_id="s")]
    for result, directory in logged:
        Mlflow(uri=uri).log(result, directory)
    _, unlogged = point()
    assert page.attach_report(file, [directory for _, directory in logged] + [unlogged], uri) == 2
    for _, directory in logged:
        there = client.list_artifacts(read_links(directory)["run_id"], page.FOLDER)
        assert [one.path for one in there] == ["report/report.html"]


def test_a_run_that_is_not_in_the_store_is_an_error(uri: str, point: Make, tmp_path: Path) -> None:
    result, directory = point()
    Mlflow(uri=uri).log(result, directory)
    (directory / "mlflow.json").write_text('{"run_id": "' + "0" * 32 + '"}', encoding="utf-8")
    with pytest.raises(store.failures()):
        page.attach_report(directory / "result.json", [directory], uri)


def test_report_on_a_sweep_logs_its_page(
    uri: str,
    point: Make,
    client: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result, directory = point(sweep_id="s")
    Mlflow(uri=uri).log(result, directory)
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    directory.rename(sweep / "p")
    (sweep / "sweep.json").write_text("{}", encoding="utf-8")
    assert program.run(["report", "sweep", "-o", "site", "--uri", uri]) == 0
    assert "mlflow: report/report.html in 1 runs of sweep" in capsys.readouterr().out
    run_id = read_links(sweep / "p")["run_id"]
    text = Path(client.download_artifacts(run_id, "report/report.html", str(tmp_path))).read_text(encoding="utf-8")
    assert result.run_id in text
    assert "hunter2" not in text

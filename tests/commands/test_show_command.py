"""benchhydra show as it is typed: sources, formats, metrics, quiet."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path

import pytest
from tests.two_systems import RATES, REPEATS, write_sweep

from benchhydra.analysis.read_runs import read_runs
from benchhydra.cli import program
from benchhydra.result import Reason, Result, Verdict

pytestmark = pytest.mark.usefixtures("own_place")

RUNS = 2 * len(RATES) * REPEATS


@pytest.fixture
def sweep() -> Path:
    folder = Path("sweep")
    write_sweep(folder)
    return folder


def show(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert program.run(["show", *words]) == 0
    return capsys.readouterr().out


def test_a_sweep_has_a_row_a_run_with_what_was_swept(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = show(capsys, "sweep").splitlines()
    rows = [line.split() for line in lines[3:-2]]
    assert len(rows) == RUNS
    assert [row[:2] for row in rows[::REPEATS]] == [[f"{rate:g}", itl] for rate in RATES for itl in ("10", "10.8")]
    assert lines[2].split()[:2] == ["qps", "itl_ms"]
    assert {row[-1] for row in rows} == {"VALID"}
    assert lines[-1] == f"{RUNS} runs, {RUNS} VALID"


def test_a_single_run_is_shown_as_at_its_end(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = show(capsys, "sweep/0-20-0")
    assert "serving: latency, ms" in out
    assert "files:  sweep/0-20-0" in out
    assert show(capsys, "sweep/0-20-0/result.json") == out


def test_json_has_every_metric_of_every_run(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(show(capsys, "sweep", "--format", "json"))
    runs = {run.run_id: run for run in read_runs("sweep").runs}
    assert {run["run_id"]: run["metrics"] for run in document["runs"]} == {k: run.metrics for k, run in runs.items()}
    assert document["metrics"]["mean_ttft_ms"] == {"unit": "ms", "better": "SmallerIsBetter"}
    assert document["runs"][0]["settings"] == {"engine.itl_ms": 10.0, "qps": 20.0}
    assert document["runs"][0]["verdict"] == "VALID"


def test_csv_has_a_column_a_metric(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(StringIO(show(capsys, "sweep", "--format", "csv", "--metrics", "p99_*,completed"))))
    result = Result.read(Path("sweep/0-20-0"))
    row = next(row for row in rows if row["run_id"] == "0-20-0")
    assert (row["qps"], row["completed"], float(row["p99_ttft_ms"])) == ("20.0", "100.0", result.value("p99_ttft_ms"))
    assert "mean_ttft_ms" not in row
    assert len(rows) == RUNS


def test_markdown_names_units(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = show(capsys, "sweep", "--format", "markdown", "--metrics", "mean_tpot_ms").splitlines()
    assert lines[0] == "| qps | itl_ms | mean_tpot_ms, ms ↓ | verdict |"
    assert lines[2].startswith("| 20 | 10 | ")


def test_quiet_prints_exact_figures_only(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = Result.read(Path("sweep/0-20-0"))
    values = [result.value("p99_ttft_ms"), result.value("mean_tpot_ms")]
    words = ["sweep/0-20-0", "-q", "--metrics", "p99_ttft_ms", "--metrics", "mean_tpot_ms"]
    assert show(capsys, *words) == f"{values[0]!r}\t{values[1]!r}\n"


def test_one_reason_of_many_runs_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(Path("sweep"), [10.0])
    for at, path in enumerate(sorted(Path("sweep").iterdir())):
        result = Result.read(path)
        text = f"got the CPU only {60 + at} % of the time"
        result.verdict, result.reasons = Verdict.SUSPECT, (Reason(check="x", severity=Verdict.SUSPECT, text=text),)
        result.write(path)
    out = show(capsys, "sweep")
    assert "  all 18 runs: got the CPU only 60 to 77 % of the time\n" in out
    assert "18 runs, 18 SUSPECT" in out


def test_several_sources_an_archive_and_a_file(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["archive", "sweep", "--root", "archive"]) == 0
    capsys.readouterr()
    archived = json.loads(show(capsys, "archive", "--format", "json"))
    assert len(archived["runs"]) == RUNS
    assert len(json.loads(show(capsys, "archive", "sweep", "--format", "json"))["runs"]) == RUNS
    assert show(capsys, "sweep", "-o", "out/table.txt") == ""
    assert "36 runs" in Path("out/table.txt").read_text()


def test_what_cannot_be_shown_is_an_error(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["show", "nowhere"]) == 1
    assert program.run(["show", "sweep", "--metrics", "p99_tt"]) == 1
    assert "did you mean p99_ttft_ms?" in capsys.readouterr().err
    Path("sweep/0-20-0/result.json").write_text("{")
    assert program.run(["show", "sweep"]) == 0
    assert "skipped 1 file" in capsys.readouterr().err

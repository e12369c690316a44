"""Tables of a sweep and of a point: what is in them, that nothing in them marks up or runs, and that they fit."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchhydra.errors import ResultError
from benchhydra.escaping import csv_cell, escape_markdown
from benchhydra.render.figures import latency_name, number
from benchhydra.render.point_report import PointReport, result_line
from benchhydra.render.sweep_rows import read_sweep
from benchhydra.render.sweep_summary import write_summary
from benchhydra.render.terminal import point_table, sweep_table
from benchhydra.render.terminal.point_table import latencies
from benchhydra.result import Better, MetricValue, Reason, Result, Verdict
from benchhydra.sweep.standard_output import print_sweep


def metric(key: str, value: float, unit: str = "ms", better: Better = Better.SMALLER) -> MetricValue:
    return MetricValue(key=key, unit=unit, value=value, better=better)


SERVING = (
    metric("request_throughput", 9.1667, "requests/s", Better.BIGGER),
    metric("output_throughput", 1234.5, "tokens/s", Better.BIGGER),
    metric("mean_ttft_ms", 50.4516),
    metric("p99_ttft_ms", 50.7599),
    metric("mean_tpot_ms", 10.0021),
    metric("p99_e2el_ms", 680.9),
    metric("completed", 40, "requests", Better.OBSERVATION),
)


def result(**changes: Any) -> Result:
    known: dict[str, Any] = {
        "status": "ok",
        "verdict": Verdict.VALID,
        "run_id": "r1",
        "point_key": "0123456789abcdef",
        "script": "serving",
        "config": {},
        "epoch_time": 1_700_000_000.0,
        "metrics": {m.key: m for m in SERVING},
        "key_metrics": tuple(m.key for m in SERVING if m.key != "completed"),
    }
    return Result(**(known | changes))


def sweep(tmp_path: Path, points: dict[str, Result | None], **facts: Any) -> Path:
    """A sweep directory with a point for each ``overrides`` (words) and its result."""
    listed = []
    for index, (overrides, found) in enumerate(points.items()):
        directory = tmp_path / f"p{index}"
        point: dict[str, Any] = {"overrides": overrides.split(), "directory": str(directory), "status": "missing"}
        if found is not None:
            found.write(directory)
            point |= {"status": found.status, "verdict": found.verdict.value}
        else:
            point["error"] = "never ran"
        listed.append(point)
    (tmp_path / "sweep.json").write_text(json.dumps({"points": listed} | facts))
    return tmp_path


def printed(directory: Path, width: int = 120) -> str:
    stream = io.StringIO()
    sweep_table.print_sweep_on(Console(file=stream, width=width), read_sweep(directory))
    return stream.getvalue()


def point_text(made: Result, directory: Path, link: str | None = None) -> str:
    stream = io.StringIO()
    report = PointReport(result=made, directory=directory, mlflow_link=link)
    point_table.print_point_on(Console(file=stream, width=100), report)
    return stream.getvalue()


@pytest.fixture
def six(tmp_path: Path) -> Path:
    words = [f"model={m} qps={q} num_prompts=40" for m in ("llama2", "mistral") for q in (10, 20, 40)]
    return sweep(tmp_path, {word: result() for word in words}, server_starts=2, wall_s=23.87, command="benchhydra -m x")


@pytest.mark.parametrize("width", [80, 120])
def test_table_fits_with_whole_cells(six: Path, width: int) -> None:
    lines = printed(six, width).splitlines()
    assert max(map(len, lines[:-1])) <= width  # the last names the directory
    assert "…" not in "".join(lines)
    (row,) = [line for line in lines if line.startswith("mistral") and " 20 " in line]
    assert row.split() == ["mistral", "20", "9.167", "1,234", "50.45", "50.76", "10.00", "680.9", "VALID"]


def test_heads_have_units_and_directions(six: Path) -> None:
    text = printed(six)
    assert "requests/s ↑" in text
    assert "tokens/s ↑" in text
    assert "ms ↓" in text
    assert "num_prompts" not in text  # the same everywhere
    assert "6 points, 6 VALID, 2 server starts, 23.90 s" in text


def test_keys_are_short_and_the_unit_of_times_is_said_once(tmp_path: Path) -> None:
    words = [f"engine.args.max_num_seqs={n} dataset.prompt_tokens={n}" for n in (1, 2)]
    text = printed(sweep(tmp_path, {word: result() for word in words}))
    assert text.splitlines()[0].strip() == "serving: times in ms ↓"
    heads = text.splitlines()[2].split()
    assert heads[:2] == ["max_num_seqs", "prompt_tokens"]
    assert heads[2:] == ["requests/s", "↑", "tokens/s", "↑", "mean", "p99", "mean", "p99", "verdict"]
    assert text.count("ms ↓") == 1


def test_keys_that_end_alike_are_whole(tmp_path: Path) -> None:
    words = [f"engine.args.seed={n} seed={n} qps={n}" for n in (1, 2)]
    head = printed(sweep(tmp_path, {word: result() for word in words})).splitlines()[2]
    assert head.split()[:3] == ["engine.args.seed", "seed", "qps"]


def test_times_of_another_unit_than_most_have_theirs(tmp_path: Path) -> None:
    startup = metric("median_cold_ready_s", 31.0, "s")
    mixed = result(
        metrics={m.key: m for m in (*SERVING, startup)}, key_metrics=("mean_ttft_ms", "p99_ttft_ms", startup.key)
    )
    lines = printed(sweep(tmp_path, {"qps=1": mixed, "qps=2": mixed})).splitlines()
    assert lines[0].strip() == "serving: times in ms ↓"
    assert lines[2].split() == ["qps", "mean", "p99", "median", "s", "↓", "verdict"]


def test_a_reason_of_many_points_is_one_line(tmp_path: Path) -> None:
    def suspect(percent: int) -> Result:
        text = f"other processes used {percent} % of the cores"
        reason = Reason(check="other_cpu", severity=Verdict.SUSPECT, text=text)
        return result(verdict=Verdict.SUSPECT, reasons=(reason,))

    points = {f"engine.args.x=1 qps={qps}": suspect(90 + qps) for qps in (1, 2, 3)}
    directory = sweep(tmp_path, {**points, "engine.args.x=1 qps=4": result()})
    write_summary(directory)
    line = "3 points (qps=1 to qps=3): other processes used 91 to 93 % of the cores"
    assert f"  {line}\n" in printed(directory)
    assert f"- {line}\n" in (directory / "summary.md").read_text()


@pytest.mark.parametrize("columns", ["40", "80"])
def test_no_line_of_a_pipe_is_folded(tmp_path: Path, columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = "the server " + "said this and that and more of the same " * 10 + "to the end"
    invalid = result(verdict=Verdict.INVALID, reasons=(Reason(check="x", severity=Verdict.INVALID, text=text),))
    directory = sweep(tmp_path, {f"engine.args.{'k' * 100}={n} qps={n}": invalid for n in (1, 2)})
    lines = io.StringIO()
    sweep_table.print_sweep(read_sweep(directory), lines)
    assert f"all 2 points: {text}\n" in lines.getvalue()
    assert f"{'k' * 100}  qps  requests/s ↑" in lines.getvalue()
    point_table.print_point(PointReport(result=invalid, directory=directory), lines)
    assert f"  - {text}\n" in lines.getvalue() and "\x1b" not in lines.getvalue()


def test_percentiles_are_in_order_and_the_machine_has_a_table_of_its_own(tmp_path: Path) -> None:
    names = ("max", "p99.9", "mean", "p99", "p25", "median", "p90")
    latency = [metric(f"{name}_ttft_ms", 1.0) for name in names]
    more = (
        metric("mean_client_loop_lag_ms", 3.0, better=Better.OBSERVATION),
        metric("server_queue_ms", 2.0, better=Better.OBSERVATION),
        metric("completed", 4, "requests", Better.OBSERVATION),
    )
    lines = point_text(result(metrics={m.key: m for m in (*latency, *more)}), tmp_path).splitlines()
    assert lines[0].split()[-7:] == ["mean", "median", "p25", "p90", "p99", "p99.9", "max"]
    assert lines[1].split() == ["TTFT", *["1"] * 7]
    sections = [" ".join(line.split()[:-2]) for line in lines if line.startswith("serving: ")][1:]
    assert sections == ["serving: metric", "serving: the server's own figures", "serving: machine"]
    order = [line.split()[0] for line in lines if line.startswith(("completed", "server_queue", "mean_client"))]
    assert order == ["completed", "server_queue_ms", "mean_client_loop_lag_ms"]


def test_a_point_in_one_line() -> None:
    assert result_line(result()) == (
        "VALID, 9.167 requests/s, output 1,234 tokens/s, TTFT mean 50.45 ms, TTFT p99 50.76 ms, TPOT mean 10.00 ms, "
        "E2EL p99 680.9 ms"
    )
    assert result_line(result(metrics={}, verdict=Verdict.INVALID)) == "INVALID"


def test_reasons_and_missing_points_follow_the_table(tmp_path: Path) -> None:
    reason = Reason(check="failures", severity=Verdict.INVALID, text="5 % of requests failed [limit 1 %]")
    invalid = result(verdict=Verdict.INVALID, reasons=(reason,))
    text = printed(sweep(tmp_path, {"qps=1": result(), "qps=2": invalid, "qps=3": None}))
    assert "  qps=2: 5 % of requests failed [limit 1 %]\n" in text
    assert "  qps=3: never ran\n" in text
    assert "3 points, 1 VALID, 1 INVALID" in text


def test_absent_metric_is_an_empty_cell(tmp_path: Path) -> None:
    few = result(metrics={m.key: m for m in SERVING if m.key != "p99_ttft_ms"})
    write_summary(sweep(tmp_path, {"qps=1": result(), "qps=2": few}))
    assert "| 2 | 9.167 | 1,234 | 50.45 |  | 10.00 | 680.9 | VALID |" in (tmp_path / "summary.md").read_text()
    one, two = csv.DictReader(io.StringIO((tmp_path / "summary.csv").read_text()))
    assert (one["p99_ttft_ms"], two["p99_ttft_ms"]) == ("50.7599", "")


def test_scripts_have_tables_of_their_own(tmp_path: Path) -> None:
    throughput = metric("total_token_throughput", 7.0, "tokens/s", Better.BIGGER)
    offline = result(
        script="throughput", metrics={throughput.key: throughput}, key_metrics=("request_throughput", throughput.key)
    )
    write_summary(sweep(tmp_path, {"script=serving qps=1": result(), "script=throughput": offline}))
    text = (tmp_path / "summary.md").read_text()
    assert text.index("## serving") < text.index("## throughput")
    assert "| total_token_throughput, tokens/s ↑ | verdict |" in text


def test_texts_are_escaped_in_every_format(tmp_path: Path) -> None:
    evil = Reason(check="x", severity=Verdict.SUSPECT, text="=1+1 | <script> [red]x")
    write_summary(sweep(tmp_path, {"d=@SUM(A1)": result(verdict=Verdict.SUSPECT, reasons=(evil,)), "d=a|b": result()}))
    text = (tmp_path / "summary.md").read_text()
    assert r"| a\|b |" in text
    assert r"=1+1 \| &lt;script&gt; \[red\]x" in text
    first, _ = csv.DictReader(io.StringIO((tmp_path / "summary.csv").read_text()))
    assert first["d"] == "'@SUM(A1)"
    assert first["reasons"].startswith("'=1+1")
    assert "[red]x" in printed(tmp_path)


def test_repeats_are_one_column(tmp_path: Path) -> None:
    points: dict[str, Result | None] = {f"qps=1 repeat={n}": result(repeat=n) for n in range(3)}
    write_summary(sweep(tmp_path, points))
    heads, *rows = csv.reader(io.StringIO((tmp_path / "summary.csv").read_text()))
    assert heads.count("repeat") == 1
    assert [row[heads.index("repeat")] for row in rows] == ["0", "1", "2"]


def test_a_moved_sweep_finds_its_points(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    sweep(tmp_path / "before", {"qps=1": result(), "qps=2": result()})
    (tmp_path / "before").rename(tmp_path / "after")
    assert [row.status for row in read_sweep(tmp_path / "after").rows] == ["ok", "ok"]


def test_a_result_that_names_no_key_metrics_shows_its_first_ones(tmp_path: Path) -> None:
    write_summary(sweep(tmp_path, {"qps=1": result(key_metrics=()), "qps=2": result(key_metrics=())}))
    head = next(line for line in (tmp_path / "summary.md").read_text().splitlines() if line.startswith("| qps"))
    assert [cell.partition(",")[0].strip() for cell in head.split("|")[2:-2]] == [m.key for m in SERVING[:6]]


def test_the_summary_is_printed_to_stdout(six: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_sweep(write_summary(six), [])
    assert "6 points, 6 VALID" in capsys.readouterr().out


def test_no_sweep_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"sweep\.json"):
        write_summary(tmp_path)


def test_point_shows_metrics_verdict_and_files(tmp_path: Path) -> None:
    reason = Reason(check="few", severity=Verdict.SUSPECT, text="only [4] requests")
    text = point_text(result(verdict=Verdict.SUSPECT, reasons=(reason,)), tmp_path, "http://x/#/run")
    lines = [line.rstrip() for line in text.splitlines()]
    assert any(line.split() == ["TTFT", "50.45", "50.76"] for line in lines)
    assert any(line.split() == ["output_throughput", "1,234", "tokens/s", "↑"] for line in lines)
    assert "SUSPECT" in lines
    assert "  - only [4] requests" in lines
    assert f"files:  {tmp_path}" in lines


def test_point_without_metrics_says_why(tmp_path: Path) -> None:
    failed = result(status="failed", verdict=Verdict.INVALID, metrics={}, error="no server")
    assert point_text(failed, tmp_path).splitlines()[0] == "INVALID (failed)"


def test_latencies_that_count_failures_show_where_some_failed() -> None:
    metrics = {m.key: m for m in (*SERVING, metric("median_ttft_with_failures_ms", 51.0))}
    assert "ttft_with_failures" not in dict(latencies(result(metrics=metrics)))
    shown = dict(latencies(result(metrics=metrics, failures={"timeout": 1})))
    assert shown["ttft_with_failures"] == {"median": 51.0}
    assert latency_name("ttft_with_failures") == "TTFT with failures"
    assert latency_name("scheduled_e2el") == "E2EL scheduled"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (7.0, "7"),
        (0.12346, "0.1235"),
        (1.2346, "1.235"),
        (12.346, "12.35"),
        (123.46, "123.5"),
        (1e6 + 0.8, "1,000,001"),
    ],
)
def test_numbers_have_four_significant_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_small_number_is_not_zero() -> None:
    assert number(0.00001234) == "0.0000123"
    assert number(-0.05) == "-0.0500"


def test_markdown_and_csv_escapes() -> None:
    assert escape_markdown("a\n| *b* `c` <d>") == r"a \| \*b\* \`c\` &lt;d&gt;"
    assert [csv_cell(text) for text in ("=x", "+x", "-x", "@x", "x=")] == ["'=x", "'+x", "'-x", "'@x", "x="]


def test_repeats_are_summed_up_with_their_interval(tmp_path: Path) -> None:
    entry = {
        "overrides": ["script=serving", "qps=1"],
        "repeats": 2,
        "metrics": {
            "mean_ttft_ms": {"mean": 50.25, "low": 48.75, "high": 51.75},
            "obscure": {"mean": 1, "low": 1, "high": 1},
        },
    }
    points = {f"script=serving qps=1 repeat={i}": result(repeat=i) for i in range(2)}
    directory = sweep(tmp_path, {**points, "script=serving qps=2 repeat=0": result()}, repeats=[entry])
    write_summary(directory)
    text = (directory / "summary.md").read_text(encoding="utf-8")
    assert "| 1 | 2 | 50.25 ± 1.500 |" in text and "obscure" not in text
    shown = printed(directory, width=100)
    assert "50.25" in shown and "± 1.500" in shown and "1 server start" not in shown


def test_answers_of_searches_are_in_the_summary(tmp_path: Path) -> None:
    shared = ["model=m", "qps=1"]
    answers = [
        {"search": "repeats", "overrides": shared, "value": 52.465, "unit": "ms", "low": 52.4, "high": 52.53}
        | {"limited_by": "search.ci=mean_ttft_ms:5%", "probes": 3},
        {"search": "capacity", "overrides": shared, "error": "no | point keeps the limit"},
    ]
    directory = sweep(tmp_path, {"model=m qps=1": result(), "model=m qps=2": result()}, answers=answers)
    write_summary(directory)
    text = (directory / "summary.md").read_text(encoding="utf-8")
    assert "| search=repeats qps=1 | 52.47 ms | 52.40 to 52.53 | search.ci=mean_ttft_ms:5% | 3 |" in text
    assert r"| search=capacity qps=1 | no \| point keeps the limit |  |  |  |" in text

"""Texts of others in every document of every format: whatever they hold, they stay text.

The table below is taken from the registries, so a renderer or exporter is tested the day it is added.
"""

import csv
import json
import re
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchhydra import archive, formats, render
from benchhydra.analysis.ab import AbBudget, AbTest
from benchhydra.analysis.bisect_run import BisectBudget, BisectRun
from benchhydra.analysis.compare import compare
from benchhydra.analysis.gate import Gate
from benchhydra.analysis.history import metric_histories
from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.thresholds import Thresholds
from benchhydra.artifacts import write_json
from benchhydra.errors import EngineError
from benchhydra.metrics import table
from benchhydra.render.ab_report import AbReport
from benchhydra.render.archive_rows import ArchiveRow
from benchhydra.render.bisect_report import BisectReport
from benchhydra.render.point_report import PointReport
from benchhydra.render.run_rows import RunRows
from benchhydra.render.suite_report import ExperimentOutcome, SuiteReport
from benchhydra.render.sweep_rows import read_sweep
from benchhydra.report import pages
from benchhydra.report.site import Site
from benchhydra.result import Better, MetricValue, Reason, Result, Verdict
from benchhydra.tracking import entry

EVIL = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)> | [a](javascript:alert(3)) ![b](http://e) `c` *d*\n"
    "# head\r\x1b[2J\x1b]0;title\x07\x1b[31m \x9b5A \x90q\x9c ]]> \u202ereversed\u202c \u2028 \ufffe $x$ & \"q\" 'p'"
)
FORMULAS = ("=HYPERLINK(1)", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "\uff1d1")
#: Control characters, and those that change the direction of writing. Line feeds are our own.
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def result(number: int, *, slower: float = 1.0) -> Result:
    """A result whose every free text is hostile."""
    formula = FORMULAS[number % len(FORMULAS)]
    metrics = {"mean_ttft_ms": 100.0 * slower + number % 3, "request_throughput": 5.0, "-evil: x/y": 1.0}
    return Result(
        status="ok",
        verdict=Verdict.SUSPECT,
        reasons=(Reason(check="x", severity=Verdict.SUSPECT, text=formula + EVIL),),
        warnings=(EVIL,),
        run_id=f"{number}{EVIL}{slower}",
        sweep_id=EVIL,
        point_key="0123456789abcdef",
        script="serving",
        config={"model": {"id": EVIL}, EVIL: EVIL, "qps": formula},
        epoch_time=1_790_000_000.0 + number,
        description=formula + EVIL,
        model=formula + EVIL,
        tokenizer=EVIL,
        dataset=formula + EVIL,
        engine_version=formula + EVIL,
        environment={"machine_class": EVIL, "git": {"commit": f"javascript:{EVIL}", "branch": EVIL}},
        metadata={"overrides": [EVIL], "command": EVIL, "request_rate": 5.0},
        metrics={
            name: MetricValue(key=name, unit="ms" if "ms" in name else EVIL, value=value, better=Better.SMALLER)
            for name, value in metrics.items()
        },
        key_metrics=tuple(metrics),
        load_label=EVIL,
        error=EVIL,
        log_tail=EVIL,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sides of results, ``a`` and ``b``, and a sweep of them."""
    folder = tmp_path_factory.mktemp("hostile")
    for side, slower in (("a", 1.0), ("b", 1.5)):
        for number in range(8):
            result(number, slower=slower).write(folder / side / f"p{number}")
    points = [
        {"overrides": [f"model={FORMULAS[number]}{EVIL}", f"qps={number}"], "directory": f"p{number}", "error": EVIL}
        for number in range(8)
    ] + [{"overrides": [f"{EVIL}={EVIL}"], "directory": "missing", "error": EVIL, "status": EVIL, "verdict": EVIL}]
    answer = {"search": EVIL, "overrides": [EVIL], "value": 1.0, "unit": EVIL, "limited_by": EVIL, "name": EVIL}
    sweep = {"sweep_id": EVIL, "command": EVIL, "points": points, "answers": [answer, {"search": "x", "error": EVIL}]}
    write_json(folder / "a" / "sweep.json", sweep)
    return folder


def documents(folder: Path) -> dict[str, Callable[[], Any]]:
    """Kind -> a document of that kind, full of hostile texts."""

    @cache
    def sides() -> tuple[Any, Any]:
        return read_runs(str(folder / "a")), read_runs(str(folder / "b"))

    def gate() -> Any:
        made = Gate(*sides(), Thresholds(), [])
        made.notes.append(EVIL)
        return made.decide()

    def ab() -> Any:
        runs = dict(zip("ab", sides(), strict=True))
        test = AbTest(
            visit=lambda side, number: type(runs[side])([runs[side].runs[number % 8]], runs[side].kinds),
            budget=AbBudget(max_pairs=4, wall_s=1e9),
            thresholds=Thresholds(),
        )
        test.run()
        overrides, typed = {"a": [EVIL], "b": [EVIL]}, {"a": EVIL, "b": EVIL}
        return AbReport(test=test, overrides=overrides, typed=typed, server_starts=1)

    def bisect() -> Any:
        good, bad = sides()

        def visit(test: str, build: int, number: int) -> Any:
            side = good if build < 2 else bad
            return type(side)([side.runs[number % 8]], side.kinds)

        def prepare(build: int) -> None:
            if build == 1:
                raise EngineError(EVIL)

        names = [f"{FORMULAS[build]}{EVIL}" for build in range(4)]
        budget = BisectBudget(max_rounds=12, wall_s=1e9)
        run = BisectRun(
            names=names, prepare=prepare, visit=visit, metric="mean_ttft_ms", budget=budget, thresholds=Thresholds()
        )
        run.run()
        assert run.steps
        return BisectReport(run=run, typed=names, command=["benchhydra", "bisect", EVIL], directory=Path(EVIL))

    archived = result(0)
    place = archive.place_of(archived, event=EVIL, label=EVIL, branch=EVIL)
    return {
        "comparison": lambda: compare(*sides(), thresholds=Thresholds(), history=[]),
        "gate": gate,
        "ab": ab,
        "bisect": bisect,
        "history": lambda: list(metric_histories(sides()[0])),
        "sweep": lambda: read_sweep(folder / "a"),
        "point": lambda: PointReport(result=archived, directory=Path(EVIL), mlflow_link=EVIL),
        "suite": lambda: SuiteReport(
            outcomes=[ExperimentOutcome(name=EVIL, directory=Path(EVIL), exit_code=1, wall_s=1.0)], planned=1
        ),
        "metrics": lambda: list(table().values()),
        "runs": lambda: RunRows(runs=sides()[0]),
        "archive": lambda: [ArchiveRow(place=place, path=Path("root") / place.path, result=archived)],
    }


def check_terminal(text: str) -> None:
    assert not CONTROL.search(text)


def check_markdown(text: str) -> None:
    check_terminal(text)
    for line in text.splitlines():
        plain = re.sub(r"`[^`]*`", "", line)
        assert not re.search(r"<(script|img)", plain)
        assert not re.search(r"(?<!\\)\]\(", plain) or "](" not in plain.replace("\\](", "")
        assert "\n# head" not in text
    tables = re.findall(r"((?:^\|.*\n)+)", text, re.MULTILINE)
    for rows in tables:
        counts = {len(re.findall(r"(?<!\\)\|", row)) for row in rows.splitlines()}
        assert len(counts) == 1, rows


def check_html(text: str) -> None:
    check_terminal(text)
    tags: list[str] = []

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            tags.append(tag)
            assert not any(name.startswith("on") for name, _ in attrs)

    Tags().feed(text)
    assert "img" not in tags and tags.count("script") == 0


def check_junit(text: str) -> None:
    check_terminal(text)
    names = {element.tag for element in ElementTree.fromstring(text).iter()}
    assert names <= {"testsuites", "testsuite", "testcase", "failure", "error", "system-out", "properties", "property"}


def check_csv(text: str) -> None:
    check_terminal(text.replace("\r\n", "\n"))
    for cell in (cell for row in csv.reader(text.splitlines()) for cell in row):
        assert not cell.startswith(("=", "+", "@", "\uff1d")) and (cell[:1] != "-" or re.fullmatch(r"-[\d.e+-]+", cell))


def check_json(text: str) -> None:
    check_terminal(text)
    json.loads(text)


CHECKS = {
    "table": check_terminal,
    "matrix": check_terminal,
    "summary": check_terminal,
    "text": check_terminal,
    "paths": check_terminal,
    "markdown": check_markdown,
    "html": check_html,
    "junit": check_junit,
    "csv": check_csv,
    "json": check_json,
}
render.formats("comparison")  # discovers all renderers
RENDERERS = sorted(render._renderers)


@pytest.mark.parametrize(("kind", "format"), RENDERERS)
def test_no_document_is_changed_by_the_texts_in_it(kind: str, format: str, folder: Path) -> None:
    text = render.rendered(kind, format, documents(folder)[kind]())
    assert text
    CHECKS[format](text)


@pytest.mark.parametrize("name", sorted(formats.exporters()))
def test_no_exported_file_is_changed_by_the_texts_in_it(name: str, folder: Path, tmp_path: Path) -> None:
    results = [Result.read(folder / "a" / f"p{number}") for number in range(8)]
    paths = formats.exporters()[name](results, tmp_path)
    assert paths
    for path in paths:
        assert path.resolve().is_relative_to(tmp_path)
        with path.open(encoding="utf-8", newline="") as file:
            (check_csv if path.suffix == ".csv" else check_json)(file.read())


def test_the_report_and_the_notes_in_mlflow(folder: Path) -> None:
    page = pages.single_page(Site(results=read_runs(str(folder / "a")), title=EVIL).pieces(), EVIL)
    assert "<script>alert" not in page and "onerror=alert(2)>" not in page and "<img" not in page.split("</style>")[0]
    check_markdown(entry.run_note(result(0), Path(EVIL)))


def test_csv_cells_of_numbers_stay_numbers() -> None:
    from benchhydra.escaping import csv_cell

    assert [csv_cell(text) for text in ("-5", "+1e-3", "-1.5", "5")] == ["-5", "+1e-3", "-1.5", "5"]
    assert csv_cell("-5-3") == "'-5-3"

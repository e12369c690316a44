"""What others wrote (names, versions, reasons) is text in every document, and unknown figures are absent."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from benchhydra.analysis.comparison import Basis, ChangeVerdict, Comparison, GateOutcome, MetricChange, PointChange
from benchhydra.analysis.gate import Decision
from benchhydra.analysis.runs import Run
from benchhydra.render import rendered
from benchhydra.result import Better, Verdict

EVIL = "<script>alert(1)</script> | [x](http://e) `a` \x1b[31m & \"q\" 'p'\n# head"


def change(name: str, how: ChangeVerdict, **more: Any) -> MetricChange:
    known: dict[str, Any] = {
        "metric": name,
        "unit": "ms",
        "better": Better.SMALLER,
        "base": 100.0,
        "candidate": 110.0,
        "base_runs": 5,
        "candidate_runs": 5,
        "ratio": 0.1,
        "change": how,
        "is_main": True,
    }
    return MetricChange(**known | more)


def run_of(name: str, verdict: Verdict = Verdict.VALID) -> Run:
    return Run(run_id=name, point_key="k", verdict=verdict, status="ok", epoch_time=0.0, reasons=(EVIL,))


@pytest.fixture
def found() -> Comparison:
    """A point with each verdict, and one that is INVALID; every free text is hostile."""
    metrics = (
        change(
            "mean_ttft_ms", ChangeVerdict.WORSE, low=0.05, high=0.15, p_worse=1e-6, p_better=1.0, basis=Basis.REPEATS
        ),
        change("mean_tpot_ms", ChangeVerdict.INCONCLUSIVE, low=-0.1, high=0.3, detectable=0.2, basis=Basis.REPEATS),
        change("mean_itl_ms", ChangeVerdict.WORSE, low=0.05, high=0.15, basis=Basis.REQUESTS),
        change("mean_e2el_ms", ChangeVerdict.INCONCLUSIVE, note=EVIL),
    )
    bad = (run_of("bad", Verdict.INVALID),)
    fine, doubtful = (run_of("a"),), (run_of("b", Verdict.SUSPECT),)
    good = PointChange(
        point_key="k",
        label=EVIL,
        base=fine,
        candidate=doubtful,
        metrics=metrics,
        missing=("request_goodput",),
        differences=(EVIL,),
    )
    broken = PointChange(point_key="l", label="broken", base=fine, candidate=bad, invalid="candidate")
    return Comparison(points=(good, broken), only_base=(EVIL,), only_candidate=(EVIL,))


class Tags(HTMLParser):
    """Collects the tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_is_escaped_and_without_scripts(found: Comparison) -> None:
    page = Tags()
    page.feed(rendered("comparison", "html", found))
    assert not {"script", "img", "a", "link", "iframe"} & page.tags
    assert page.attributes <= {"lang", "charset", "name", "content", "scope", "class"}
    assert page.text.count("<script>alert(1)</script>") == 6
    assert "INVALID: the candidate has no usable run" in page.text


def test_markdown_is_escaped(found: Comparison) -> None:
    text = rendered("comparison", "markdown", found)
    assert "<script" not in text
    assert "[x](" not in text
    assert "\n# head" not in text
    cells = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| metric")]
    assert len(cells) == 4
    assert all(line.replace("\\|", "").count("|") == 7 for line in cells)


def test_markdown_says_how_weak_evidence_is(found: Comparison) -> None:
    text = rendered("comparison", "markdown", found)
    assert "**worse**" in text
    assert "+5.0 % to +15.0 %" in text
    assert "inconclusive, could have detected 20.0 %" in text
    assert "weaker evidence: one run a side" in text
    assert "Not measured by the candidate: request_goodput" in text
    assert "SUSPECT" in text


def test_junit_is_xml_that_counts_right(found: Comparison) -> None:
    root = ElementTree.fromstring(rendered("comparison", "junit", found))
    first, second = root.findall("testsuite")
    assert (first.get("tests"), first.get("failures"), first.get("errors")) == ("4", "2", "0")
    assert (second.get("tests"), second.get("failures"), second.get("errors")) == ("1", "0", "1")
    assert [case.get("name") for case in first if case.find("failure") is not None] == ["mean_ttft_ms", "mean_itl_ms"]
    assert "<script>alert(1)</script>" in str(first.get("name"))


def test_json_leaves_out_what_is_unknown(found: Comparison) -> None:
    data = json.loads(rendered("comparison", "json", found))
    assert data["points"][0]["metrics"][3].keys().isdisjoint({"low", "high", "p_worse", "noise"})
    assert data["points"][0]["suspect"] is True
    assert data["points"][1]["invalid"] == "candidate"


def test_the_terminal_gets_no_control_characters(found: Comparison) -> None:
    text = rendered("comparison", "table", found)
    assert "\x1b" not in text
    assert "mean_ttft_ms" in text
    assert "Only in the base: <script>" in text


@pytest.mark.parametrize("outcome", list(GateOutcome))
def test_a_decision_says_its_outcome(found: Comparison, outcome: GateOutcome) -> None:
    point = found.points[0]
    worse = ((point, point.metrics[0]),) if outcome is GateOutcome.REGRESSION else ()
    decision = Decision(outcome=outcome, comparison=found, regressions=worse, notes=(EVIL,), reran=(EVIL,))
    text = rendered("gate", "markdown", decision)
    assert text.startswith("## Benchmark gate: ")
    assert ("**mean_ttft_ms** +10.0 %" in text) is bool(worse)
    assert "<script" not in text
    data = json.loads(rendered("gate", "json", decision))
    assert (data["exit_code"], len(data["regressions"])) == (int(outcome), len(worse))


def test_no_common_point_is_said(found: Comparison) -> None:
    empty = replace(found, points=(), only_base=(), only_candidate=())
    assert rendered("comparison", "markdown", empty) == "No point is in both.\n"
    assert "No point is in both." in rendered("comparison", "html", empty)
    assert ElementTree.fromstring(rendered("comparison", "junit", empty)).findall("testsuite") == []

"""A comparison as JUnit XML: one suite a point, one case a metric. Worse metrics fail; problems are errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO
from xml.etree import ElementTree

from benchhydra.analysis.comparison import ChangeVerdict, Comparison, MetricChange, PointChange, Problem
from benchhydra.analysis.gate import Decision
from benchhydra.escaping import xml_text
from benchhydra.render import comparison_rows, renderer


@renderer("comparison", "junit")
def write_comparison(comparison: Comparison, stream: TextIO) -> None:
    """The XML document."""
    _write(comparison, comparison.problems, stream)


@renderer("gate", "junit")
def write_gate(decision: Decision, stream: TextIO) -> None:
    """The comparison of the decision, in which confirmed regressions are marked worse."""
    _write(decision.comparison, decision.problems, stream)


def _write(comparison: Comparison, problems: Sequence[Problem], stream: TextIO) -> None:
    root = ElementTree.Element("testsuites", name="benchhydra")
    for point in comparison.points:
        _suite(root, point)
    if problems:
        _problem_suite(root, problems)
    ElementTree.indent(root)
    stream.write(ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n")


def _problem_suite(root: ElementTree.Element, problems: Sequence[Problem]) -> None:
    number = str(len(problems))
    counts = {"tests": number, "failures": "0", "errors": number}
    suite = ElementTree.SubElement(root, "testsuite", {"name": "comparability of the sides", **counts})
    for problem in problems:
        name = problem.outcome.name.lower()
        case = ElementTree.SubElement(suite, "testcase", name=name, classname=xml_text(problem.point or "sides"))
        ElementTree.SubElement(case, "error", message=xml_text(problem.sentence))


def _suite(root: ElementTree.Element, point: PointChange) -> None:
    failures = sum(map(_is_failure, point.metrics))
    tests = len(point.metrics) or 1
    counts = {"tests": str(tests), "failures": str(failures), "errors": str(int(bool(point.invalid)))}
    name = xml_text(comparison_rows.heading(point))
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
    if point.invalid:
        case = ElementTree.SubElement(suite, "testcase", name="usable", classname=xml_text(point.label))
        ElementTree.SubElement(case, "error", message=comparison_rows.unusable(point))
    for metric in point.metrics:
        _case(suite, point, metric)


def _case(suite: ElementTree.Element, point: PointChange, metric: MetricChange) -> None:
    name, base, candidate, change, interval, verdict = map(xml_text, comparison_rows.cells(metric))
    text = f"{base} -> {candidate}, {change} ({interval}): {verdict}"
    case = ElementTree.SubElement(suite, "testcase", name=name, classname=xml_text(point.label))
    if _is_failure(metric):
        ElementTree.SubElement(case, "failure", message=text)
    else:
        ElementTree.SubElement(case, "system-out").text = text


def _is_failure(metric: MetricChange) -> bool:
    """The metrics that are not main ones are informative, however much they changed."""
    return metric.change is ChangeVerdict.WORSE and metric.is_main

"""A comparison as JUnit XML: one suite a point, one case a metric. Worse metrics fail; INVALID points are errors."""

from __future__ import annotations

from typing import TextIO
from xml.etree import ElementTree

from benchhydra.analysis.comparison import ChangeVerdict, Comparison, MetricChange, PointChange
from benchhydra.analysis.gate import Decision
from benchhydra.render import comparison_rows, renderer
from benchhydra.render.text import xml_text


@renderer("comparison", "junit")
def write_comparison(comparison: Comparison, stream: TextIO) -> None:
    """The XML document."""
    root = ElementTree.Element("testsuites", name="benchhydra")
    for point in comparison.points:
        _suite(root, point)
    ElementTree.indent(root)
    stream.write(ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n")


@renderer("gate", "junit")
def write_gate(decision: Decision, stream: TextIO) -> None:
    """The comparison of the decision, in which confirmed regressions are marked worse."""
    write_comparison(decision.comparison, stream)


def _suite(root: ElementTree.Element, point: PointChange) -> None:
    failures = sum(metric.change is ChangeVerdict.WORSE for metric in point.metrics)
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
    if metric.change is ChangeVerdict.WORSE:
        ElementTree.SubElement(case, "failure", message=text)
    else:
        ElementTree.SubElement(case, "system-out").text = text

"""A comparison as JUnit XML: a suite a point, a case a metric; worse is a failure, an INVALID point an error."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from benchhydra.analysis.compare import ChangeVerdict, Comparison, MetricChange, PointChange
from benchhydra.render.documents.compare_markdown import figure, heading, interval_text, percent, verdict_text

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(found: Comparison) -> str:
    """The document."""
    root = ElementTree.Element("testsuites", name="benchhydra")
    for point in found.points:
        _suite(root, point)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: ElementTree.Element, point: PointChange) -> None:
    failures = sum(metric.change is ChangeVerdict.WORSE for metric in point.metrics)
    tests = len(point.metrics) or 1
    counts = {"tests": str(tests), "failures": str(failures), "errors": str(int(bool(point.invalid)))}
    suite = ElementTree.SubElement(root, "testsuite", {"name": _text(heading(point)), **counts})
    if point.invalid:
        case = ElementTree.SubElement(suite, "testcase", name="usable", classname=_text(point.label))
        ElementTree.SubElement(case, "error", message=f"the {point.invalid} has no usable run")
    for metric in point.metrics:
        _case(suite, point, metric)


def _case(suite: ElementTree.Element, point: PointChange, metric: MetricChange) -> None:
    case = ElementTree.SubElement(suite, "testcase", name=_text(metric.metric), classname=_text(point.label))
    base, candidate = figure(metric.base, metric.unit), figure(metric.candidate, metric.unit)
    text = _text(f"{base} -> {candidate}, {percent(metric.ratio)} ({interval_text(metric)}): {verdict_text(metric)}")
    if metric.change is ChangeVerdict.WORSE:
        ElementTree.SubElement(case, "failure", message=text)
    else:
        ElementTree.SubElement(case, "system-out").text = text


def _text(text: str) -> str:
    return NOT_XML.sub("?", text)

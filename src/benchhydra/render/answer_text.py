"""A search's answer as one line: ``14.2 requests/s (13.7 to 14.8, 95 %), limited by p99 TTFT <= 500 ms; ...``.

Answers are read as the JSON objects of ``sweep.json``, which outlive the classes of this version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from benchhydra.render.figures import LATENCY, count, latency_name, number, quantity

#: ``p99_ttft_ms <= 500``.
LIMIT = re.compile(r"(\w[\w.]*) (<=|>=) (\S+)")
#: Metrics that have words of their own: the text before and after the number.
WORDS = {
    "request_throughput": ("", " requests/s"),
    "output_throughput": ("", " tokens/s"),
    "output_throughput_per_gpu": ("", " per GPU"),
    "total_token_throughput": ("", " tokens/s with prompts"),
    "cost_per_1m_output_tokens": ("$", " per million"),
    "saturation_throughput": ("saturates at ", " requests/s"),
    "saturation_output_throughput": ("", " tokens/s at saturation"),
}
#: Figures that are answers of their own: their interval is shown too.
WITH_INTERVAL = ("saturation_throughput",)
SHARE = "requests within the limits"


def answer_text(answer: Mapping[str, Any]) -> str:
    """The answer in one line; the error of a search that has none."""
    if answer.get("value") is None:
        return str(answer.get("error", ""))
    limit = answer.get("limited_by")
    parts = [f"{value_text(answer)}{f', limited by {limit_text(str(limit))}' if limit else ''}"]
    figures = ", ".join(figure_texts(answer))
    parts += [figures] if figures else []
    parts += [note] if (note := str(answer.get("note") or "")) else []
    return "; ".join(parts)


def value_text(answer: Mapping[str, Any]) -> str:
    """``14.2 requests/s (13.7 to 14.8, 95 %)``; ``at least 40 requests/s``."""
    unit, name, bound = (str(answer.get(key) or "") for key in ("unit", "name", "bound"))
    if name == answer.get("search"):
        name = ""  # the unit tells enough: a line of search=capacity begins with the rate
    text = " ".join(word for word in (name, bound, quantity(answer["value"], unit)) if word)
    inside = interval_text(answer)
    return f"{text} ({inside})" if inside else text


def interval_text(answer: Mapping[str, Any]) -> str:
    """``13.7 to 14.8, 95 %``; empty without an interval. Without a confidence the bounds are what was tried."""
    low, high = answer.get("low"), answer.get("high")
    if low is None or high is None:
        return ""
    confidence = answer.get("confidence")
    return f"{number(low)} to {number(high)}" + (f", {confidence * 100:g} %" if confidence else "")


def limit_text(limit: str) -> str:
    """``p99_ttft_ms <= 500`` -> ``p99 TTFT <= 500 ms``; other texts as they are."""
    match = LIMIT.fullmatch(limit)
    if match is None:
        return limit
    name, sign, bound = match.groups()
    latency = LATENCY.fullmatch(name)
    if latency is not None:
        return f"{latency[1]} {latency_name(latency[2])} {sign} {bound} ms"
    return f"{SHARE if name == 'share' else name} {sign} {bound}"


def figure_texts(answer: Mapping[str, Any]) -> Iterator[str]:
    """What the system yields at the answer: ``909 tokens/s``, ``227 per GPU``, ``$0.41 per million``."""
    for figure in figures_of(answer):
        name, value = str(figure.get("name", "")), figure.get("value")
        if not isinstance(value, int | float) or (name, answer.get("unit")) == ("request_throughput", "requests/s"):
            continue
        before, after = WORDS.get(name, (f"{name} ", f" {figure.get('unit', '')}".rstrip()))
        is_price = before == "$" and value >= 0.1
        inside = interval_text(figure) if name in WITH_INTERVAL else ""
        yield f"{before}{f'{value:.2f}' if is_price else number(value)}{after}{f' ({inside})' if inside else ''}"


def figures_of(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The metrics of the system at the answer, each with ``name``, ``unit``, ``value``, ``low`` and ``high``."""
    return _mappings(answer.get("figures"))


def probes_text(answer: Mapping[str, Any]) -> str:
    """``7 probes, 4,210 requests``; empty if unknown."""
    probes, requests = answer.get("probes"), requests_of(answer)
    text = count(int(probes), "probe") if probes else ""
    return f"{text}, {number(requests)} requests" if text and requests else text


def probes_of(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the search made of each point that it used."""
    return _mappings(answer.get("evidence"))


def limiting_metric(answer: Mapping[str, Any]) -> str:
    """The metric of ``limited_by``: ``p99_ttft_ms`` of ``p99_ttft_ms <= 500``; "" if no metric limits."""
    match = LIMIT.fullmatch(str(answer.get("limited_by") or ""))
    return match[1] if match else ""


def requests_of(answer: Mapping[str, Any]) -> int:
    """The number of requests that all probes sent; 0 if unknown."""
    return sum(int(probe.get("requests") or 0) for probe in probes_of(answer))


def decisions(answers: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int], list[str]]:
    """(point key, repeat) -> what its probes decided: ``met``, ``missed``, ``unclear`` or ``unusable``.

    Probes of one point with different seeds share a key; they are in their order.
    """
    decided: dict[tuple[str, int], list[str]] = {}
    for probe in (probe for answer in answers for probe in probes_of(answer)):
        key = str(probe.get("point_key")), int(probe.get("repeat") or 0)
        decided.setdefault(key, []).append(str(probe.get("decision", "")))
    return decided


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []

"""The probe ``server``: the server's own counters and gauges, from its Prometheus endpoint ``/metrics``.

Names are vLLM's (0.32; the older ``gpu_`` names are read too). A server without a readable ``/metrics`` gives no facts
and no warning. A regular expression finds the few lines that are used: prometheus_client needs 11 ms to parse vLLM's.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from benchhydra.facts import fact
from benchhydra.http_exchange import exchange
from benchhydra.probes import Probe, ProbeTarget, Sample

#: A busy server may take longer than this to answer; that sample is missing then.
TIMEOUT_S = 1.0


class _ServerMetric(NamedTuple):
    """A metric of the server. ``sources``: its possible names in Prometheus' text; the first one present is used."""

    name: str
    unit: str
    sources: tuple[str, ...]
    fact_name: str = ""  # only for a counter
    mean: bool = False  # average over label sets (the server's engines) instead of adding them up


def _counter(name: str, unit: str, doc: str, sources: tuple[str, ...], *, fact_name: str = "") -> _ServerMetric:
    declared = fact(fact_name or name, unit=unit, doc=f"{doc}, in the window", in_metadata=True)
    return _ServerMetric(name, unit, sources, declared)


METRICS = (
    _counter(
        "prefix_cache_queries",
        "tokens",
        "prompt tokens that the server looked up in its prefix cache",
        ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
    ),
    _counter(
        "prefix_cache_hits",
        "tokens",
        "prompt tokens that the server found in its prefix cache",
        ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
    ),
    _counter("preemptions", "requests", "preemptions by the server's scheduler", ("vllm:num_preemptions_total",)),
    _counter(
        "prompt_tokens",
        "tokens",
        "prompt tokens that the server counted",
        ("vllm:prompt_tokens_total",),
        fact_name="server_prompt_tokens",
    ),
    _counter(
        "generation_tokens",
        "tokens",
        "generated tokens that the server counted",
        ("vllm:generation_tokens_total",),
        fact_name="server_generation_tokens",
    ),
    _counter(
        "draft_tokens",
        "tokens",
        "tokens that speculative decoding drafted",
        ("vllm:spec_decode_num_draft_tokens_total",),
        fact_name="server_draft_tokens",
    ),
    _counter(
        "accepted_tokens",
        "tokens",
        "drafted tokens that were accepted",
        ("vllm:spec_decode_num_accepted_tokens_total",),
        fact_name="server_accepted_tokens",
    ),
    _ServerMetric("requests_running", "requests", ("vllm:num_requests_running",)),
    _ServerMetric("requests_waiting", "requests", ("vllm:num_requests_waiting",)),
    _ServerMetric(
        "kv_cache_usage_fraction", "fraction", ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"), mean=True
    ),
)
_LABELS = r'(?:\{(?:[^"}]|"(?:[^"\\\n]|\\.)*")*\})?'
_LINE = re.compile(
    rf"^({'|'.join(re.escape(source) for metric in METRICS for source in metric.sources)}){_LABELS}[ \t]+(\S+)", re.M
)


class ServerProbe(Probe):
    """Facts: by how much each counter grew during the load. Series: each counter since the load's start, and gauges."""

    name: ClassVar[str] = "server"
    #: vLLM 0.32 formats the metrics in the event loop that sends tokens, and so sends none for 4.6 ms. Once a second,
    #: this delays 1 token in 200, too few to change p99 ITL.
    min_interval_s: ClassVar[float] = 1.0

    def applies(self, target: ProbeTarget) -> bool:
        return bool(target.base_url)

    def start(self, target: ProbeTarget) -> None:
        self._target = target
        self._first: dict[str, float] | None = None
        self._last: dict[str, float] = {}
        self._readable = bool(self._read())

    def sample(self) -> Iterator[Sample]:
        if not self._readable:
            return
        self._last = self._read()
        if self._first is None:
            self._first = self._last
        for metric in METRICS:
            value = self._last.get(metric.name)
            if metric.fact_name:
                value = _difference(self._first, self._last, metric.name)
            if value is not None:
                yield Sample(metric.name, metric.unit, value)

    def stop(self) -> Mapping[str, Any]:
        if self._first and not self._last:
            raise ConnectionError("/metrics did not answer after the load")
        differences = {
            metric.fact_name: _difference(self._first or {}, self._last, metric.name)
            for metric in METRICS
            if metric.fact_name
        }
        return {name: value for name, value in differences.items() if value is not None}

    def _read(self) -> dict[str, float]:
        """Return the current metrics; {} if the server does not answer."""
        with contextlib.suppress(OSError):
            return read_metrics(self._target)
        return {}


def read_metrics(target: ProbeTarget) -> dict[str, float]:
    """Return a server's current counters and gauges, by name in ``METRICS``; {} if ``/metrics`` does not answer 200.

    Raises OSError if there is no HTTP response within ``TIMEOUT_S``.
    """
    answer = exchange(
        f"{target.base_url}/metrics",
        headers=target.headers,
        timeout_s=TIMEOUT_S,
        verify_tls=target.verify_tls,
        ca_file=target.ca_file,
    )
    return parse_metrics(answer.body.decode(errors="replace")) if answer.status == 200 else {}


def parse_metrics(text: str) -> dict[str, float]:
    """Parse Prometheus' text format; the label sets of one metric are added up, or averaged for a ``mean`` metric."""
    values: dict[str, list[float]] = {}
    for source, number in _LINE.findall(text):
        with contextlib.suppress(ValueError):
            values.setdefault(source, []).append(float(number))
    metrics = {}
    for metric in METRICS:
        numbers = next((values[source] for source in metric.sources if source in values), [])
        if numbers and all(map(math.isfinite, numbers)):
            metrics[metric.name] = sum(numbers) / (len(numbers) if metric.mean else 1)
    return metrics


def _difference(before: Mapping[str, float], after: Mapping[str, float], name: str) -> float | None:
    """Return by how much a counter grew; None if a reading lacks it or it went down (the server was restarted)."""
    if name not in before or name not in after or after[name] < before[name]:
        return None
    return after[name] - before[name]

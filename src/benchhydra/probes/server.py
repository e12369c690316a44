"""The probe ``server``: the server's own gauges, counters and times, from its Prometheus endpoint ``/metrics``.

A server without a readable ``/metrics`` gives no facts and no warning. Counters and the sums of histograms are
differences to the first reading, just before the load; quantiles are not computed, because the servers' buckets are as
wide as the differences that matter (vLLM's first ones for E2E latency: 0.3, 0.5, 0.8 s).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from benchhydra.facts import fact
from benchhydra.http_exchange import HttpExchange, exchange
from benchhydra.probes import Probe, ProbeTarget, Sample
from benchhydra.probes.server_metrics import (
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    Reading,
    combined,
    parse_engines,
    parse_metrics,
)

#: A busy server may take longer than this to answer; that sample is missing then.
TIMEOUT_S = 1.0
#: Answering may take the server this fraction of its time ...
READING_FRACTION = 0.005
#: ... but it is asked at least this often.
LONGEST_INTERVAL_S = 5.0

#: Counter -> the fact of its growth during the load.
COUNTER_FACTS = {
    name: fact(fact_name, unit=unit, doc=f"{doc}, during the load", in_metadata=True)
    for name, fact_name, unit, doc in (
        ("prefix_cache_queries", "prefix_cache_queries", "tokens", "prompt tokens looked up in the prefix cache"),
        ("prefix_cache_hits", "prefix_cache_hits", "tokens", "prompt tokens found in the prefix cache"),
        ("preemptions", "preemptions", "requests", "preemptions by the server's scheduler"),
        ("prompt_tokens", "server_prompt_tokens", "tokens", "prompt tokens that the server counted"),
        ("generation_tokens", "server_generation_tokens", "tokens", "generated tokens that the server counted"),
        ("drafts", "server_drafts", "drafts", "verifications of drafted tokens by speculative decoding"),
        ("draft_tokens", "server_draft_tokens", "tokens", "tokens that speculative decoding drafted"),
        ("accepted_tokens", "server_accepted_tokens", "tokens", "drafted tokens that were accepted"),
    )
}
ACCEPTED_BY_POSITION = fact(
    "server_accepted_by_position",
    unit="tokens",
    doc="accepted tokens by their position in the draft, the first position first, during the load",
    in_metadata=True,
)
METRICS_ENGINE = fact(
    "server_metrics_engine",
    unit="",
    doc="whose names the server's metrics have: vllm, sglang, llamacpp",
    in_metadata=True,
)
PREFIX_BLOCK_TOKENS = fact(
    "prefix_block_tokens",
    unit="tokens",
    doc="length of a block of the server's prefix cache: prompts share whole blocks",
    in_metadata=True,
)
ANSWER_MS = fact(
    "server_answer_ms",
    unit="ms",
    doc="median time to the first byte of /metrics during the load: what a small request on the same path takes",
    in_metadata=True,
)
CONNECT_MS = fact(
    "server_connect_ms",
    unit="ms",
    doc="median time to connect to the server for /metrics: a round trip of the network",
    in_metadata=True,
)
READINGS = fact("server_readings", unit="readings", doc="answers of /metrics during the load", in_metadata=True)


class ServerProbe(Probe):
    """Series: gauges; counters and histograms since the load's start, and the means of times between two samples."""

    name: ClassVar[str] = "server"

    def applies(self, target: ProbeTarget) -> bool:
        return bool(target.base_url)

    def start(self, target: ProbeTarget) -> None:
        self._target = target
        self._urls = target.replica_urls or (target.base_url,)
        self._readings: list[Reading] = []  # the last ones, of each server or data-parallel engine
        self._first_readings: list[Reading] = []
        self._work_s = float("inf")  # least time that answering took the server
        self._answers_ms: list[float] = []
        self._connects_ms: list[float] = []
        self._first = self._previous = self._last = Reading()
        self._late = False  # whether there was no reading just before the load
        self._readable = bool(self._read())
        if self._timed_out:
            raise TimeoutError(f"/metrics did not answer within {TIMEOUT_S:g} s")
        self._answers_ms.clear()
        self._connects_ms.clear()

    def sample(self) -> Iterator[Sample]:
        if not self._readable:
            return
        self._last = self._read()
        if not self._first:
            self._late = self._late or not self._last
            self._first = self._previous = self._last
            self._first_readings = self._readings
        for quantity in GAUGES:
            if quantity.name in self._last.gauges:
                yield Sample(quantity.name, quantity.unit, self._last.gauges[quantity.name])
        if self._last:
            yield from totals_between(self._first, self._last)
            yield from self._recent()
            yield from self._by_replica()
        self._previous = self._last or self._previous

    def stop(self) -> Mapping[str, Any]:
        if self._first and not self._last:
            raise ConnectionError("/metrics did not answer after the load")
        if self._first and self._late:
            raise ConnectionError("/metrics did not answer just before the load, so its growth is unknown")
        if not self._first:
            return {}
        facts = facts_between(self._first, self._last)
        facts[READINGS] = len(self._answers_ms)
        facts[ANSWER_MS], facts[CONNECT_MS] = _median(self._answers_ms), _median(self._connects_ms)
        return facts

    def _by_replica(self) -> Iterator[Sample]:
        """Yield gauges and counters of each server, or data-parallel engine, as ``replica_NAME`` with its number.

        Nothing if there is only one, or if an engine has appeared since the load began.
        """
        if len(self._readings) < 2 or len(self._readings) != len(self._first_readings):
            return
        units = {quantity.name: quantity.unit for quantity in GAUGES}
        for number, (first, last) in enumerate(zip(self._first_readings, self._readings, strict=True)):
            label = {"replica": str(number)}
            for name, value in last.gauges.items():
                yield Sample(f"replica_{name}", units[name], value, label)
            for sample in totals_between(first, last):
                yield Sample(f"replica_{sample.name}", sample.unit, sample.value, {**sample.labels, **label})

    def _recent(self) -> Iterator[Sample]:
        """Yield the acceptance rate and the mean times since the previous sample."""
        growth = _growth(self._previous, self._last)
        drafted, accepted = growth.get(("draft_tokens", "")), growth.get(("accepted_tokens", ""))
        if drafted and accepted is not None:
            yield Sample("acceptance_fraction", "fraction", accepted / drafted)
        for name, (total_ms, count) in _times(self._previous, self._last).items():
            if count:
                yield Sample(f"{name}_ms", "ms", total_ms / count)

    def _read(self) -> Reading:
        """Return the current metrics; an empty reading if the server does not answer. Adapts the interval.

        A server does the work of answering in the thread that sends tokens (vLLM 0.32: 4.6 ms without a token). Time
        in which the answer waited for its turn, or for the network, is no work: so the least time counts.
        """
        self._timed_out = False
        try:
            answers = [_ask(self._target._replace(base_url=url)) for url in self._urls]
        except OSError as error:
            self._timed_out = isinstance(error, TimeoutError)
            return Reading()
        for answer in answers:
            self._answers_ms.append(answer.first_byte_s * 1e3)
            self._connects_ms.append(answer.connect_s * 1e3)
            self._work_s = min(self._work_s, max(0.0, answer.first_byte_s - answer.connect_s))
        self.min_interval_s = min(self._work_s / READING_FRACTION, LONGEST_INTERVAL_S)
        texts = [answer.body.decode(errors="replace") if answer.status == 200 else "" for answer in answers]
        self._readings = [reading for text in texts for reading in parse_engines(text)]
        return combined([parse_metrics(text) for text in texts] if len(self._readings) > len(texts) else self._readings)


def read_metrics(target: ProbeTarget) -> Reading:
    """Return a server's current metrics; an empty reading if ``/metrics`` does not answer 200.

    Raises OSError if there is no HTTP response within ``TIMEOUT_S``.
    """
    return _reading(_ask(target))


def _ask(target: ProbeTarget) -> HttpExchange:
    return exchange(
        f"{target.base_url}/metrics",
        headers=target.headers,
        timeout_s=TIMEOUT_S,
        verify_tls=target.verify_tls,
        ca_file=target.ca_file,
    )


def _reading(answer: HttpExchange) -> Reading:
    return parse_metrics(answer.body.decode(errors="replace")) if answer.status == 200 else Reading()


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def facts_between(first: Reading, last: Reading) -> dict[str, Any]:
    """Return the facts that two readings of one server give."""
    growth = _growth(first, last)
    facts: dict[str, Any] = {
        fact_name: growth[name, ""] for name, fact_name in COUNTER_FACTS.items() if (name, "") in growth
    }
    by_position = {int(label): value for (_, label), value in growth.items() if label.isdecimal()}
    if by_position:
        facts[ACCEPTED_BY_POSITION] = tuple(by_position[position] for position in sorted(by_position))
    facts[METRICS_ENGINE] = last.engine
    if last.block_tokens:
        facts[PREFIX_BLOCK_TOKENS] = last.block_tokens
    return facts


def totals_between(first: Reading, last: Reading) -> Iterator[Sample]:
    """Yield by how much counters, and sums and counts of times, have grown from one reading to a later one."""
    units = {quantity.name: (quantity.unit, quantity.by) for quantity in (*COUNTERS, *HISTOGRAMS)}
    for (name, label), value in _growth(first, last).items():
        unit, by = units[name]
        yield Sample(name, unit, value, {by: label} if by else {})
    for name, (total_ms, count) in _times(first, last).items():
        yield Sample(f"{name}_sum_ms", "ms", total_ms)
        yield Sample(f"{name}_count", units[name][0], count)


def _growth(first: Reading, last: Reading) -> dict[tuple[str, str], float]:
    """Return by how much each counter grew. One that went down (the server was restarted) is left out."""
    growth = {key: value - first.counters.get(key, 0.0) for key, value in last.counters.items()}
    return {key: value for key, value in growth.items() if value >= 0}


def _times(first: Reading, last: Reading) -> dict[str, tuple[float, float]]:
    """Return (sum in ms, count) of each histogram between two readings. One that went down is left out."""
    times = {}
    for name, (sum_ms, count) in last.times.items():
        sum_before_ms, count_before = first.times.get(name, (0.0, 0.0))
        if sum_ms >= sum_before_ms and count >= count_before:
            times[name] = (sum_ms - sum_before_ms, count - count_before)
    return times

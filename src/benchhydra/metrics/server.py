"""The server's own view of the window: where its time went, its queue, its caches; and what lies outside of it.

They are observations: they explain a change of a latency, and are no figure to improve by themselves. All come from the
series of the probe ``server``, and each is absent where the server does not publish what it needs.
"""

from __future__ import annotations

from collections.abc import Callable

from benchhydra.metrics import Compute, metric
from benchhydra.result import Better
from benchhydra.window import Window
from benchhydra.window_series import growth, highest, mean, named
from benchhydra.witnesses import server_mean, witnesses

#: Histogram of the server -> its meaning.
TIMES = {
    "queue": "time until the scheduler first ran a request",
    "prefill": "time from then to the first token",
    "decode": "time from the first to the last token",
    "ttft": "time to first token, from arrival at the API server",
    "itl": "time between two steps of a request",
    "e2el": "request latency, from arrival at the API server to the last token",
}
#: Latency that both witnesses know -> its meaning, its needs beside the server's figures.
OUTSIDE = {
    "ttft": ("mean time to first token", ("latency", "stream")),
    "itl": ("mean time between tokens", ("latency", "stream")),
    "e2el": ("mean request latency", ("latency",)),
}
#: Metric -> its gauge, its unit, the summary, its meaning.
GAUGES: dict[str, tuple[str, str, Callable[..., float | None], str]] = {
    "server_running": ("requests_running", "requests", mean, "mean number of requests that the server ran at once"),
    "server_max_running": ("requests_running", "requests", highest, "most requests that the server ran at once"),
    "server_waiting": ("requests_waiting", "requests", mean, "mean number of requests in the server's queue"),
    "server_max_waiting": ("requests_waiting", "requests", highest, "most requests in the server's queue"),
    "server_kv_cache_usage": ("kv_cache_usage_fraction", "fraction", mean, "mean used part of the KV cache"),
    "server_max_kv_cache_usage": ("kv_cache_usage_fraction", "fraction", highest, "largest used part of the KV cache"),
}
#: Metric -> counter above, counter below, unit, meaning.
RATIOS = {
    "server_prefix_hit_fraction": (
        "prefix_cache_hits",
        "prefix_cache_queries",
        "fraction",
        "prompt tokens found in the prefix cache / prompt tokens looked up",
    ),
    "server_drafted_fraction": (
        "draft_tokens",
        "generation_tokens",
        "ratio",
        "tokens drafted by speculative decoding / generated tokens",
    ),
    "server_step_tokens": (
        "step_tokens",
        "steps",
        "tokens",
        "mean tokens, of prompts and answers, that a step of the engine computed",
    ),
}
#: Metric -> counter, meaning; per second of the window.
RATES = {
    "server_prompt_throughput": ("prompt_tokens", "prompt tokens that the server counted, per second"),
    "server_generation_throughput": ("generation_tokens", "generated tokens that the server counted, per second"),
}


@metric(
    "server_frontend_ms",
    unit="ms",
    better=Better.OBSERVATION,
    doc="mean server_e2el_ms - queue - prefill - decode: the API server's own work (tokenization, event loop, text)",
    needs=("server.queue_count", "server.prefill_count", "server.decode_count", "server.e2el_count"),
)
def server_frontend_ms(window: Window) -> float | None:
    whole, *parts = (server_mean(window, name) for name in ("e2el", "queue", "prefill", "decode"))
    means_ms = [part.mean_ms for part in parts if part is not None]
    return whole.mean_ms - sum(means_ms) if whole is not None and len(means_ms) == len(parts) else None


@metric(
    "server_preemptions_per_minute",
    unit="requests/min",
    better=Better.OBSERVATION,
    doc="preemptions by the server's scheduler, per minute of the window",
    needs=("requests", "server.preemptions"),
)
def server_preemptions_per_minute(window: Window) -> float | None:
    per_second = _per_second(window, "preemptions")
    return None if per_second is None else per_second * 60


@metric(
    "server_acceptance_fraction",
    unit="fraction",
    better=Better.OBSERVATION,
    doc="accepted / drafted tokens of speculative decoding",
    needs=("requests", "server.acceptance_fraction"),
)
def server_acceptance_fraction(window: Window) -> float | None:
    of_tokens = _ratio(window, "accepted_tokens", "draft_tokens")
    published = mean(named(window.series, "server.acceptance_fraction"), window.span_ns)
    return published if of_tokens is None else of_tokens


@metric(
    "server_accepted_length",
    unit="tokens",
    better=Better.OBSERVATION,
    doc="mean tokens of a step of speculative decoding: 1 + accepted tokens / drafts",
    needs=("requests", "server.accepted_tokens", "server.drafts"),
)
def server_accepted_length(window: Window) -> float | None:
    accepted = _ratio(window, "accepted_tokens", "drafts")
    return None if accepted is None else 1 + accepted


def _growth(window: Window, counter: str) -> float | None:
    return growth(named(window.series, f"server.{counter}"), window.span_ns)


def _ratio(window: Window, above: str, below: str) -> float | None:
    numerator, denominator = _growth(window, above), _growth(window, below)
    return numerator / denominator if numerator is not None and denominator else None


def _per_second(window: Window, counter: str) -> float | None:
    total = _growth(window, counter)
    return total / window.duration_s if total is not None and window.duration_s else None


def _server_mean(name: str) -> Compute:
    def value(window: Window) -> float | None:
        server = server_mean(window, name)
        return None if server is None else server.mean_ms

    return value


def _outside(name: str) -> Compute:
    def value(window: Window) -> float | None:
        both = witnesses(window, name)
        return None if both is None else both.outside_ms

    return value


def _gauge(series: str, summary: Callable[..., float | None]) -> Compute:
    return lambda window: summary(named(window.series, f"server.{series}"), window.span_ns)


def _ratio_of(above: str, below: str) -> Compute:
    return lambda window: _ratio(window, above, below)


def _rate_of(counter: str) -> Compute:
    return lambda window: _per_second(window, counter)


def _declare(name: str, unit: str, doc: str, needs: tuple[str, ...], compute: Compute) -> None:
    metric(name, unit=unit, better=Better.OBSERVATION, doc=doc, needs=("requests", *needs))(compute)


def _declare_all() -> None:
    for name, doc in TIMES.items():
        _declare(f"server_{name}_ms", "ms", f"the server's mean {doc}", (f"server.{name}_count",), _server_mean(name))
    for name, (doc, needs) in OUTSIDE.items():
        text = f"{doc}: the client's - the server's, over the same requests (network, HTTP, the client)"
        _declare(f"outside_server_{name}_ms", "ms", text, (*needs, f"server.{name}_count"), _outside(name))
    for name, (series, unit, summary, doc) in GAUGES.items():
        _declare(name, unit, doc, (f"server.{series}",), _gauge(series, summary))
    for name, (above, below, unit, doc) in RATIOS.items():
        _declare(name, unit, doc, (f"server.{above}", f"server.{below}"), _ratio_of(above, below))
    for name, (counter, doc) in RATES.items():
        _declare(name, "tokens/s", doc, (f"server.{counter}",), _rate_of(counter))


_declare_all()

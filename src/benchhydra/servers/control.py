"""The control plane of an OpenAI-compatible server: health, models, cache resets that are proven, and its counters.

Names of the counters are vLLM's (0.32; the older ``gpu_`` names are read too).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from benchhydra.fetch import HttpResponse, fetch

#: Caches that vLLM can empty, with VLLM_SERVER_DEV_MODE=1. Only the first says in its body whether it did.
PREFIX_RESET = "/reset_prefix_cache"
OTHER_RESETS = ("/reset_mm_cache", "/reset_encoder_cache")
#: Requests that the client has just given up may hold blocks for a moment.
RESET_PATIENCE_S = 2.0
METRICS = {
    "prefix_cache_queries": ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
    "prefix_cache_hits": ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
    "preemptions": ("vllm:num_preemptions_total",),
    "draft_tokens": ("vllm:spec_decode_num_draft_tokens_total",),
    "accepted_tokens": ("vllm:spec_decode_num_accepted_tokens_total",),
    "prompt_tokens": ("vllm:prompt_tokens_total",),
    "generation_tokens": ("vllm:generation_tokens_total",),
}


@dataclass(frozen=True, kw_only=True)
class ServerCounters:
    """What a server has counted since its start, in tokens (preemptions: in requests). None is unknown."""

    prefix_cache_queries: float | None = None
    prefix_cache_hits: float | None = None
    preemptions: float | None = None
    draft_tokens: float | None = None
    accepted_tokens: float | None = None
    prompt_tokens: float | None = None
    generation_tokens: float | None = None

    @classmethod
    def of(cls, samples: Mapping[str, float]) -> ServerCounters:
        """Counters from metric values by name."""
        return cls(**{key: next((samples[n] for n in names if n in samples), None) for key, names in METRICS.items()})

    def since(self, before: ServerCounters) -> ServerCounters:
        """What was counted between ``before`` and this; unknown where either is, or where the server restarted."""
        return ServerCounters(**{f.name: _moved(getattr(before, f.name), getattr(self, f.name)) for f in fields(self)})


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    """A server's control plane. Questions that find no answer are None, not errors."""

    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify_tls: bool = True
    ca_file: str | None = None
    timeout_s: float = 5.0

    def ask(self, path: str, method: str = "GET") -> HttpResponse | None:
        """One exchange, or None where there is no answer."""
        try:
            return self.fetch(path, method)
        except OSError:
            return None

    def fetch(self, path: str, method: str = "GET") -> HttpResponse:
        """One exchange. Raises OSError where there is no answer."""
        return fetch(
            self.base_url + path,
            method=method,
            headers=self.headers,
            timeout_s=self.timeout_s,
            verify_tls=self.verify_tls,
            ca_file=self.ca_file,
        )

    def healthy(self) -> bool:
        """Whether ``/health`` answers with a success."""
        answer = self.ask("/health")
        return answer is not None and answer.ok

    def reset_caches(self, patience_s: float = RESET_PATIENCE_S) -> bool | None:
        """Empty every cache. True: proven by the body; False: not proven; None: the server offers no reset."""
        deadline = time.monotonic() + patience_s
        answer = self.ask(PREFIX_RESET, "POST")
        while _refuses(answer) and time.monotonic() < deadline:
            time.sleep(0.1)
            answer = self.ask(PREFIX_RESET, "POST")
        if answer is not None and answer.status in (404, 405):
            return None
        if _success(answer) is not True:
            return False
        others = [self.ask(path, "POST") for path in OTHER_RESETS]
        return all(answer is not None and (answer.ok or answer.status in (404, 405)) for answer in others)

    def scrape(self) -> ServerCounters | None:
        """The server's counters, or None where it has no readable ``/metrics``."""
        answer = self.ask("/metrics")
        if answer is None or not answer.ok:
            return None
        samples = parse_metrics(answer.body.decode(errors="replace"))
        return None if samples is None else ServerCounters.of(samples)


def _success(answer: HttpResponse | None) -> bool | None:
    """What the body says of itself; None where it says nothing."""
    body: Any = answer.json() if answer is not None and answer.ok else None
    said = body.get("success") if isinstance(body, dict) else None
    return said if isinstance(said, bool) else None


def _refuses(answer: HttpResponse | None) -> bool:
    """Whether asking again may help. A server that takes the reset and says nothing will not say more next time."""
    if answer is None:
        return True
    return _success(answer) is False if answer.ok else answer.status not in (404, 405)


def scrape(
    base_url: str, headers: Mapping[str, str], *, verify_tls: bool = True, ca_file: str | None = None
) -> ServerCounters | None:
    """A server's counters now, or None where it has no readable ``/metrics``."""
    return ControlPlane(base_url=base_url, headers=headers, verify_tls=verify_tls, ca_file=ca_file).scrape()


def parse_metrics(text: str) -> dict[str, float] | None:
    """Samples by name, summed over labels; None where the text is not in Prometheus' format."""
    from prometheus_client.parser import text_string_to_metric_families

    totals: dict[str, float] = {}
    try:
        for sample in _samples(text_string_to_metric_families(text)):
            totals[sample.name] = totals.get(sample.name, 0.0) + sample.value
    except (ValueError, IndexError, KeyError):
        return None
    return totals


def _samples(families: Iterable[Any]) -> Iterable[Any]:
    """Samples that may be summed: no buckets, no creation times."""
    for family in families:
        for sample in family.samples:
            if not sample.name.endswith(("_bucket", "_created")):
                yield sample


def _moved(before: float | None, after: float | None) -> float | None:
    if before is None or after is None or after < before:
        return None
    return after - before

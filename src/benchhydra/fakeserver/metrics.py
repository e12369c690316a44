"""The fake engine's counters and histograms, and their text at ``/metrics`` under vLLM's names.

They are recorded at the moments at which vLLM 0.32 records them (``vllm/v1/metrics/stats.py``): TTFT and the gaps when
a token is generated; queue, prefill, decode and E2E latency when the whole answer is.
"""

from __future__ import annotations

from collections import Counter

#: Histogram -> vLLM's name for it, without the unit.
_HISTOGRAMS = {
    "ttft": "time_to_first_token",
    "itl": "inter_token_latency",
    "e2el": "e2e_request_latency",
    "queue": "request_queue_time",
    "prefill": "request_prefill_time",
    "decode": "request_decode_time",
}


class Histogram:
    """The sum and the number of observed times."""

    def __init__(self) -> None:
        self.sum_ns = self.count = 0

    def observe(self, time_ns: int) -> None:
        """Add one time."""
        self.sum_ns += time_ns
        self.count += 1


class EngineMetrics:
    """What the engine has counted since its start. ``drafted``: whether it has speculative decoding."""

    def __init__(self, drafted: bool) -> None:
        self.histograms = {name: Histogram() for name in _HISTOGRAMS}
        self.preemptions = self.prompt_tokens = self.generation_tokens = 0
        self.drafts = self.draft_tokens = 0
        self.accepted_by_position: Counter[int] = Counter()
        self._drafted = drafted

    def record_draft(self, draft_tokens: int, accepted: int) -> None:
        """Count one verification of drafted tokens, the first ``accepted`` of which were right."""
        self.drafts += 1
        self.draft_tokens += draft_tokens
        for position in range(draft_tokens):
            self.accepted_by_position[position] += position < accepted

    def text(
        self, model: str, counters: dict[str, float], gauges: dict[str, float], block_tokens: int | None = None
    ) -> str:
        """Return Prometheus' text. ``counters``, ``gauges``: values that other parts of the server have, by name.

        block_tokens: length of a block of the prefix cache; None: there is none.
        """
        labels = f'engine="0",model_name="{model}"'
        lines = []
        for name, value in {**counters, **self._counters()}.items():
            lines += [*_head(name, "counter"), f"vllm:{name}_total{{{labels}}} {float(value)}"]
        for name, value in gauges.items():
            lines += [*_head(name, "gauge"), f"vllm:{name}{{{labels}}} {float(value)}"]
        if block_tokens is not None:
            name = "cache_config_info"
            lines += [*_head(name, "gauge"), f'vllm:{name}{{block_size="{block_tokens}",engine="0"}} 1.0']
        if self._drafted:
            name = "spec_decode_num_accepted_tokens_per_pos"
            lines += _head(name, "counter")
            for position, accepted in sorted(self.accepted_by_position.items()):
                lines.append(f'vllm:{name}_total{{{labels},position="{position}"}} {float(accepted)}')
        for short, name in _HISTOGRAMS.items():
            histogram, full = self.histograms[short], f"{name}_seconds"
            lines += [
                *_head(full, "histogram"),
                f'vllm:{full}_bucket{{{labels},le="+Inf"}} {float(histogram.count)}',
                f"vllm:{full}_count{{{labels}}} {float(histogram.count)}",
                f"vllm:{full}_sum{{{labels}}} {histogram.sum_ns / 1e9!r}",
            ]
        return "\n".join(lines) + "\n"

    def _counters(self) -> dict[str, float]:
        counters: dict[str, float] = {
            "num_preemptions": self.preemptions,
            "prompt_tokens": self.prompt_tokens,
            "generation_tokens": self.generation_tokens,
        }
        if self._drafted:
            counters["spec_decode_num_drafts"] = self.drafts
            counters["spec_decode_num_draft_tokens"] = self.draft_tokens
            counters["spec_decode_num_accepted_tokens"] = self.accepted_by_position.total()
        return counters


def _head(name: str, kind: str) -> list[str]:
    return [f"# HELP vllm:{name} As in vLLM.", f"# TYPE vllm:{name} {kind}"]

"""What inference servers publish at ``/metrics``: the one table of their names, and its parser.

A quantity has one name here and in series, whatever the server calls it. Names are those of vLLM 0.32 (older ones
follow), SGLang 0.5, llama.cpp's server of 2026 and text-generation-inference 3. Their definitions agree but for these:
SGLang counts gaps between tokens, vLLM between steps (several tokens with speculative decoding). llama.cpp has no
histograms, and counts cached prompt tokens apart from the others. TTFT and E2E latency begin when the request reaches
the API server (vLLM 0.32: before tokenization, ``renderers/base.py``; SGLang: in its tokenizer manager).

The probes' helper process imports this module: keep it light.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

#: vLLM's gauge whose labels are settings of the KV cache.
CACHE_CONFIG = "vllm:cache_config_info"
#: Servers -> how their names begin.
ENGINES = {"vllm": "vllm:", "sglang": "sglang:", "llamacpp": "llamacpp:", "tgi": "tgi_"}


#: Labels with the number of a data-parallel server's engine: of vLLM, and of SGLang.
ENGINE_LABELS = ("engine", "dp_rank")


class Quantity(NamedTuple):
    """A quantity and where servers publish it.

    vllm, sglang, ...: names, of which the first that is present is read; ``a + b`` is a sum of two. Label sets
    (the server's engines) are added up, or averaged for a ``mean`` quantity, or kept apart by the label ``by``.
    """

    name: str
    unit: str
    vllm: tuple[str, ...] = ()
    sglang: tuple[str, ...] = ()
    llamacpp: tuple[str, ...] = ()
    tgi: tuple[str, ...] = ()
    mean: bool = False
    by: str = ""

    def sources(self, engine: str) -> tuple[str, ...]:
        """Return an engine's names."""
        names: tuple[str, ...] = getattr(self, engine)
        return names


GAUGES = (
    Quantity(
        "requests_running",
        "requests",
        vllm=("vllm:num_requests_running",),
        sglang=("sglang:num_running_reqs",),
        llamacpp=("llamacpp:requests_processing",),
        tgi=("tgi_batch_current_size",),
    ),
    Quantity(
        "requests_waiting",
        "requests",
        vllm=("vllm:num_requests_waiting",),
        sglang=("sglang:num_queue_reqs",),
        llamacpp=("llamacpp:requests_deferred",),
        tgi=("tgi_queue_size",),
    ),
    Quantity("requests_swapped", "requests", vllm=("vllm:num_requests_swapped",)),
    Quantity(
        "kv_cache_usage_fraction",
        "fraction",
        vllm=("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
        sglang=("sglang:token_usage",),
        llamacpp=("llamacpp:kv_cache_usage_ratio",),
        mean=True,
    ),
    Quantity("acceptance_fraction", "fraction", sglang=("sglang:spec_accept_rate",), mean=True),
)
COUNTERS = (
    Quantity(
        "prompt_tokens",
        "tokens",
        vllm=("vllm:prompt_tokens_total",),
        sglang=("sglang:prompt_tokens_total",),
        llamacpp=("llamacpp:prompt_tokens_total + llamacpp:prompt_tokens_cached_total", "llamacpp:prompt_tokens_total"),
        tgi=("tgi_request_input_length_sum",),
    ),
    Quantity(
        "generation_tokens",
        "tokens",
        vllm=("vllm:generation_tokens_total",),
        sglang=("sglang:generation_tokens_total",),
        llamacpp=("llamacpp:tokens_predicted_total",),
        tgi=("tgi_request_generated_tokens_sum",),
    ),
    Quantity(
        "prefix_cache_queries",
        "tokens",
        vllm=("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"),
        sglang=("sglang:prompt_tokens_total",),
        llamacpp=("llamacpp:prompt_tokens_total + llamacpp:prompt_tokens_cached_total",),
    ),
    Quantity(
        "prefix_cache_hits",
        "tokens",
        vllm=("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"),
        sglang=("sglang:cached_tokens_total",),
        llamacpp=("llamacpp:prompt_tokens_cached_total",),
    ),
    Quantity(
        "preemptions",
        "requests",
        vllm=("vllm:num_preemptions_total",),
        sglang=("sglang:num_retracted_requests_total",),
    ),
    Quantity(
        "drafts",
        "drafts",
        vllm=("vllm:spec_decode_num_drafts_total",),
        sglang=("sglang:spec_verify_calls_total",),
        llamacpp=("llamacpp:spec_decode_num_drafts_total",),
    ),
    Quantity(
        "draft_tokens",
        "tokens",
        vllm=("vllm:spec_decode_num_draft_tokens_total",),
        llamacpp=("llamacpp:spec_decode_num_draft_tokens_total",),
    ),
    Quantity(
        "accepted_tokens",
        "tokens",
        vllm=("vllm:spec_decode_num_accepted_tokens_total",),
        llamacpp=("llamacpp:spec_decode_num_accepted_tokens_total",),
    ),
    Quantity(
        "accepted_tokens_by_position",
        "tokens",
        vllm=("vllm:spec_decode_num_accepted_tokens_per_pos_total",),
        by="position",
    ),
    Quantity("steps", "steps", vllm=("vllm:iteration_tokens_total_count",)),
    Quantity("step_tokens", "tokens", vllm=("vllm:iteration_tokens_total_sum",)),
)
#: Histograms of times in seconds; of each, the sum and the number of values are read.
HISTOGRAMS = (
    Quantity(
        "queue",
        "requests",
        vllm=("vllm:request_queue_time_seconds",),
        sglang=("sglang:queue_time_seconds",),
        tgi=("tgi_request_queue_duration",),
    ),
    Quantity("prefill", "requests", vllm=("vllm:request_prefill_time_seconds",)),
    Quantity("decode", "requests", vllm=("vllm:request_decode_time_seconds",)),
    Quantity(
        "ttft",
        "requests",
        vllm=("vllm:time_to_first_token_seconds",),
        sglang=("sglang:time_to_first_token_seconds",),
    ),
    Quantity(
        "itl",
        "intervals",
        vllm=("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
        sglang=("sglang:inter_token_latency_seconds",),
    ),
    Quantity(
        "e2el",
        "requests",
        vllm=("vllm:e2e_request_latency_seconds",),
        sglang=("sglang:e2e_request_latency_seconds",),
        tgi=("tgi_request_duration",),
    ),
)


class Reading(NamedTuple):
    """One reading of ``/metrics``. Keys are a quantity's name and the value of its label ``by`` ("" without one).

    times: of the histograms, (sum in ms, count) by name. block_tokens: length of a block of the prefix cache; 0 if
    it is unknown.
    """

    engine: str = ""
    gauges: Mapping[str, float] = {}
    counters: Mapping[tuple[str, str], float] = {}
    times: Mapping[str, tuple[float, float]] = {}
    block_tokens: int = 0

    def __bool__(self) -> bool:
        """Whether anything was read."""
        return bool(self.gauges or self.counters or self.times)


def combined(readings: Sequence[Reading]) -> Reading:
    """Return the reading of several servers as if they were one; an empty one if that of a server is missing.

    Counters, times and gauges are added up, fractions averaged. What one server does not publish is left out.
    """
    if not readings or not all(readings):
        return Reading()
    gauges = {name: [reading.gauges.get(name, math.nan) for reading in readings] for name in readings[0].gauges}
    means = {quantity.name for quantity in GAUGES if quantity.mean}
    counters = {key: sum(reading.counters.get(key, math.nan) for reading in readings) for key in readings[0].counters}
    in_all = [name for name in readings[0].times if all(name in reading.times for reading in readings)]
    times = {name: [reading.times[name] for reading in readings] for name in in_all}
    return Reading(
        readings[0].engine,
        {name: _total(values, mean=name in means) for name, values in gauges.items() if not math.isnan(sum(values))},
        {key: value for key, value in counters.items() if not math.isnan(value)},
        {name: (sum(ms for ms, _ in pairs), sum(count for _, count in pairs)) for name, pairs in times.items()},
        readings[0].block_tokens if len({reading.block_tokens for reading in readings}) == 1 else 0,
    )


def _total(values: Sequence[float], *, mean: bool) -> float:
    return sum(values) / (len(values) if mean else 1)


Values = Mapping[str, list[tuple[str, float]]]  # name in the text -> labels and value of each line


def parse_metrics(text: str) -> Reading:
    """Parse Prometheus' text format. Values that are not finite are unknown."""
    return reading_of(_values(text))


def parse_engines(text: str) -> list[Reading]:
    """Return the readings of a server's engines, in the order of their numbers: one unless it is data parallel.

    vLLM and SGLang give each metric a label with the engine's number. What has none is in no engine's reading.
    """
    values = _values(text)
    numbers = {_engine_number(labels) for lines in values.values() for labels, _ in lines} - {""}
    if len(numbers) < 2:
        return [reading_of(values)]
    by_engine: dict[str, dict[str, list[tuple[str, float]]]] = {number: {} for number in sorted(numbers, key=int)}
    for source, lines in values.items():
        for labels, value in lines:
            if number := _engine_number(labels):
                by_engine[number].setdefault(source, []).append((labels, value))
    return [reading_of(of_engine) for of_engine in by_engine.values()]


def _values(text: str) -> dict[str, list[tuple[str, float]]]:
    values: dict[str, list[tuple[str, float]]] = {}
    for source, labels, number in _line().findall(text):
        values.setdefault(source, []).append((labels, _number(number)))
    return values


def _engine_number(labels: str) -> str:
    """Return the number of the engine that a line is of; "" if it names none."""
    number = next(filter(None, (_label(labels, name) for name in ENGINE_LABELS)), "")
    return number if number.isdecimal() else ""


def parse_published(metrics: Mapping[str, float | Sequence[float]]) -> Reading:
    """Return the reading of metrics by name, as an offline engine gives them; a sequence is by position of a draft."""
    values: dict[str, list[tuple[str, float]]] = {}
    for name, value in metrics.items():
        by_position = [("", value)] if isinstance(value, (int, float)) else enumerate(value)
        values[name] = [(f'{{position="{position}"}}', float(number)) for position, number in by_position]
    return reading_of(values)


def reading_of(values: Values) -> Reading:
    """Return the quantities in the values of one server, by the names of the engine that it is."""
    engine = next((name for name, prefix in ENGINES.items() if any(source.startswith(prefix) for source in values)), "")
    if not engine:
        return Reading()
    gauges = {quantity.name: value for quantity in GAUGES for value in _read(quantity, engine, values).values()}
    counters = {
        (quantity.name, label): value
        for quantity in COUNTERS
        for label, value in _read(quantity, engine, values).items()
    }
    times = {}
    for quantity in HISTOGRAMS:
        sums, counts = (_read(quantity, engine, values, end=end) for end in ("_sum", "_count"))
        if sums and counts:
            times[quantity.name] = (sums[""] * 1e3, counts[""])
    return Reading(engine, gauges, counters, times, _block_tokens(values))


def _read(quantity: Quantity, engine: str, values: Values, end: str = "") -> dict[str, float]:
    """Return a quantity's value by label; {} if the engine does not publish it."""
    for source in quantity.sources(engine):
        terms = [values.get(f"{term}{end}") for term in source.split(" + ")]
        if None in terms:
            continue
        by_label: dict[str, list[float]] = {}
        for labels, number in (line for term in terms if term is not None for line in term):
            by_label.setdefault(_label(labels, quantity.by), []).append(number)
        return {
            label: sum(numbers) / (len(numbers) if quantity.mean else 1)
            for label, numbers in by_label.items()
            if all(map(math.isfinite, numbers))
        }
    return {}


def _block_tokens(values: Values) -> int:
    lengths = [_label(labels, "block_size") for labels, _ in values.get(CACHE_CONFIG, ())]
    return int(lengths[0]) if lengths and lengths[0].isdecimal() else 0


def _label(labels: str, name: str) -> str:
    match = re.search(rf'[{{,]{name}="([^"\\]*)"', labels) if name else None
    return match[1] if match else ""


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _names() -> list[str]:
    """Return every name that is looked for in the text."""
    names = {CACHE_CONFIG}
    for quantity in (*GAUGES, *COUNTERS, *HISTOGRAMS):
        ends = ("_sum", "_count") if quantity in HISTOGRAMS else ("",)
        for engine in ENGINES:
            for source in quantity.sources(engine):
                names |= {f"{term}{end}" for term in source.split(" + ") for end in ends}
    return sorted(names)


@cache
def _line() -> re.Pattern[str]:
    """Return the pattern of a line of one of the names. Only the helper process needs the 2 ms that it takes."""
    names = "|".join(map(re.escape, _names()))
    labels = r'(?:\{(?:[^"}]|"(?:[^"\\\n]|\\.)*")*\})?'
    return re.compile(rf"^({names})({labels})[ \t]+(\S+)", re.M)

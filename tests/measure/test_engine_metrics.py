"""What an offline engine counted itself becomes facts and series, as a server's metrics do."""

from __future__ import annotations

import numpy as np

from benchhydra.measure.offline import Batch, engine_facts, engine_series
from benchhydra.probes.server_metrics import Reading, parse_published
from benchhydra.records import Records
from benchhydra.window import Window
from benchhydra.witnesses import server_mean


def reading(requests: int) -> Reading:
    return parse_published(
        {
            "vllm:prefix_cache_hits_total": 16 * requests,
            "vllm:request_prefill_time_seconds_sum": 0.25 * requests,
            "vllm:request_prefill_time_seconds_count": requests,
        }
    )


def batch(start_ns: int, before: int, after: int) -> Batch:
    metrics = (reading(before), reading(after))
    return Batch(
        start_ns=start_ns, end_ns=start_ns + 50, prompt_tokens=[8], output_tokens=[4], texts=(), metrics=metrics
    )


def test_counters_grow_from_batch_to_batch() -> None:
    batches = [batch(100, 2, 4), batch(200, 4, 6)]
    assert engine_facts(batches) == {"prefix_cache_hits": 64.0, "server_metrics_engine": "vllm"}
    series = {single.name: single for single in engine_series(batches)}
    assert series["server.prefix_cache_hits"].values.tolist() == [0, 32, 32, 64]
    assert series["server.prefix_cache_hits"].times_ns.tolist() == [100, 150, 200, 250]
    rows = Records.of_spans([100, 200], [150, 250])
    prefill = server_mean(Window.of(rows, series=tuple(series.values())), "prefill")
    assert prefill is not None and np.isclose(prefill.mean_ms, 250.0)


def test_an_engine_without_metrics_has_neither() -> None:
    silent = Batch(start_ns=1, end_ns=2, prompt_tokens=[8], output_tokens=[4], texts=())
    assert engine_facts([silent]) == {}
    assert engine_series([silent]) == ()

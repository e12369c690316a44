"""What a load over HTTP has for metrics and rules: its capabilities, and the metadata of nm-vllm's results."""

from __future__ import annotations

from typing import Any

from benchhydra.client.apis import RequestOptions
from benchhydra.loadgen.client_behaviour import TRIES
from benchhydra.loads import LoadShape
from benchhydra.loads.sessions import SessionLoad
from benchhydra.measure import Point
from benchhydra.output_check import CORRECT
from benchhydra.records import ADAPTER, Records


def capabilities(point: Point, options: RequestOptions, records: Records) -> frozenset[str]:
    """Return what the measurement of a load has, for metrics that need it (``Metric.needs``)."""
    api, load = point.api, point.load
    has = {"requests", "latency", "tokens"}
    has |= {"output_check"} if CORRECT in records.labels else set()
    has |= {"retries"} if TRIES in records.labels else set()
    has |= {"cancellations"} if load.cancel_fraction else set()
    has |= {"adapters"} if ADAPTER in records.labels else set()
    has |= {"schedule"} if load.open_loop or load.has_schedule else set()
    has |= {"sessions"} if isinstance(load, SessionLoad) else set()
    has |= {"generated"} if api.generates else set()
    has |= api.capabilities() | ({"images"} if point.dataset.media == "image" else set())
    has |= {"stream"} if api.streamed(options) else set()
    return frozenset(has)


def nm_vllm_metadata(records: Records, load: LoadShape, planned: int) -> dict[str, Any]:
    """Return the metadata that nm-vllm's serving benchmark has. planned: number of requests of the load."""
    rows = records.measured()
    completed = rows.where(rows.completed)
    metadata: dict[str, Any] = {
        "completed": len(completed),
        "num_prompts": planned,
        "request_rate": load.qps if load.open_loop else "inf",
    }
    for key, tokens in {"total_input": completed.prompt_tokens, "total_output": completed.output_tokens}.items():
        if len(tokens) and (tokens >= 0).all():
            metadata[key] = int(tokens.sum())
    return metadata

"""``script=throughput``: all prompts in one batch on the offline engine, without a server."""

from __future__ import annotations

from benchhydra.engines import Engine, ServerSpec
from benchhydra.measure.offline import OfflineLoad, OfflineOptions
from benchhydra.registry import option
from benchhydra.scripts import Measurement, Point, Script
from benchhydra.servers import Lease
from benchhydra.target import Target

DEFAULT_PROMPTS = 100


@option("script", "throughput")
class Throughput(OfflineOptions, Script):
    """All prompts in one batch on the offline engine: request and token throughput."""

    key_metrics = ("request_throughput", "output_throughput", "total_token_throughput")

    def spec(self, engine: Engine, target: Target) -> ServerSpec:
        return engine.offline(target)

    def measure(self, point: Point, lease: Lease | None) -> Measurement:
        count = DEFAULT_PROMPTS if point.num_prompts is None else point.num_prompts
        return OfflineLoad(self, point, lease).measure(count)

"""``script=serving``: send a load of a given shape to an HTTP server, and stream the answers."""

from __future__ import annotations

from benchhydra.engines import Engine, ServerSpec
from benchhydra.measure.http_load import HttpLoad, HttpLoadOptions
from benchhydra.registry import option
from benchhydra.scripts import Measurement, Point, Script
from benchhydra.servers import Lease
from benchhydra.target import Target


@option("script", "serving")
class Serving(HttpLoadOptions, Script):
    """A load on an HTTP server with streamed answers: TTFT, TPOT, ITL, E2E latency and throughput."""

    key_metrics = (
        "request_throughput",
        "output_throughput",
        "mean_ttft_ms",
        "p99_ttft_ms",
        "mean_tpot_ms",
        "p99_e2el_ms",
    )
    charts = (
        ("achieved_rps", "p99_ttft_ms"),
        ("output_throughput", "mean_tpot_ms"),
        ("achieved_rps", "mean_e2el_ms"),
    )

    def spec(self, engine: Engine, target: Target) -> ServerSpec:
        return engine.server(target)

    def measure(self, point: Point, lease: Lease | None) -> Measurement:
        return HttpLoad(self, point, lease).measure()

"""Scripts: the benchmarks. Each is one file with a dataclass: ``spec`` names the server, ``measure`` runs the steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchhydra.engines import Engine, ServerSpec
from benchhydra.measure import Measurement, Point
from benchhydra.registry import check_choices, knob
from benchhydra.servers import Lease
from benchhydra.target import Target

__all__ = ["Measurement", "Point", "Script"]


@dataclass(kw_only=True)
class Script:
    """Base of the ``script`` group."""

    #: The metrics that tables and charts show first.
    key_metrics: ClassVar[tuple[str, ...]] = ()
    #: Whether the script sends requests to the endpoint of ``api``.
    uses_api: ClassVar[bool] = False
    #: Pairs of metrics for charts: (x, y).
    charts: ClassVar[tuple[tuple[str, str], ...]] = ()

    fail_on: str = knob("invalid", "exit non-zero at this verdict", choices=("invalid", "suspect", "never"))

    def __post_init__(self) -> None:
        check_choices(self)

    def load_label(self, point: Point) -> str:
        """Return a short label of the load (``qps=5``); "" if the script has no load."""
        return ""

    def load_s(self, point: Point) -> float | None:
        """Return about how long the load of a point lasts, in seconds; None if that is not known before."""
        return None

    def check(self, point: Point) -> None:
        """Raise ConfigError if the point cannot be run. Called before anything is started."""

    def spec(self, engine: Engine, target: Target) -> ServerSpec | None:
        """Return the server or offline engine that the point needs, or None. Points with equal specs share one."""
        raise NotImplementedError

    def measure(self, point: Point, lease: Lease | None) -> Measurement:
        """Run the benchmark once. Failed requests are rows; raise only if nothing could be measured."""
        raise NotImplementedError

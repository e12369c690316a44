"""Base of the searches that look for a limit with probes of a chosen length: their common knobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchhydra.errors import ConfigError
from benchhydra.points import Outcome, PlannedPoint, override_key
from benchhydra.registry import check_choices, knob
from benchhydra.search import Search
from benchhydra.search.limit_fit import NORMAL, START_TO_START

#: No interval is narrower than what starts of a server differ by. This is reached with the usual number of probes.
LEAST_PRECISION = 0.03


@dataclass(kw_only=True)
class ProbingSearch(Search):
    """A search that ends at a precision, or with the most probes."""

    precision: float = knob(
        0.05, "half width of the 95 % interval, relative to the answer, at which the search ends", unit="fraction"
    )
    max_probes: int = knob(15, "most points that the search adds; it then answers with what it knows", unit="points")
    min_requests: int = knob(300, "fewest requests of a probe", unit="requests")
    max_requests: int = knob(50_000, "most requests of a probe", unit="requests")
    max_probe_s: float = knob(900.0, "longest load of a probe, at its rate", unit="s")

    finds_limits = True
    #: The least value of each knob that is a whole number.
    least: ClassVar[Mapping[str, int]]

    def __post_init__(self) -> None:
        check_choices(self)
        for name, least in self.least.items():
            value = getattr(self, name)
            if isinstance(value, int) and value < least:
                raise ConfigError(f"search.{name}={value} must be at least {least}")
        if isinstance(self.precision, float) and not LEAST_PRECISION <= self.precision < 1:
            narrowest = f"{NORMAL * START_TO_START:.0%}"
            raise ConfigError(
                f"search.precision={self.precision:g} must be between {LEAST_PRECISION:g} and 1: no interval is "
                f"narrower than {narrowest}, because that is how much starts of a server may differ",
                hint="search.precision=0.05",
            )
        most, fewest = self.max_requests, self.min_requests
        if isinstance(most, int) and isinstance(fewest, int) and most < fewest:
            raise ConfigError(f"search.max_requests={most} must be at least search.min_requests={fewest}")
        if isinstance(self.max_probe_s, float) and not self.max_probe_s > 0:
            raise ConfigError(f"search.max_probe_s={self.max_probe_s:g} must be above 0")
        if isinstance(self.max_probes, int) and isinstance(self.max_points, int):
            self.max_points = min(self.max_points, self.max_probes)
        super().__post_init__()


def next_seed(points: Sequence[PlannedPoint], outcomes: Sequence[Outcome]) -> int:
    """Return the seed of the next probe: they count on from the planned point's, so that each has its own arrivals."""
    seeds = [word.partition("=")[2] for word in points[0].overrides if override_key(word) == "seed"]
    return (int(seeds[-1]) if seeds and seeds[-1].isdecimal() else 0) + len(outcomes)

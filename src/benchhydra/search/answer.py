"""The answer of a search, with the probes and the fit behind it, as plain values that journals and sweeps store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from benchhydra.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A further figure that belongs to the answer: throughput, cost. name: of the metric, if there is one."""

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeFinding:
    """What the search made of one point.

    key_value: the value of the key that the search varies. decision: ``met``, ``missed``, ``unclear`` (the point alone
    does not decide) or ``unusable``. value: of the fit's metric. ratio: the worst of the point's ratios to its limits.
    """

    key_value: float
    decision: str
    point_key: str
    repeat: int = 0
    requests: int | None = None
    value: float | None = None
    ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The curve that was fitted through the probes: y of ``metric`` over x of ``key``, and its 95 % band.

    limit: the bound of ``metric``, in its unit; None if the search has none.
    """

    key: str
    metric: str
    unit: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    limit: float | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer of a search: a value, the bounds of its interval (None: unknown), and their unit.

    name: what the value is, if the unit does not tell. confidence: 0.95 of a 95 % interval; None if the bounds are only
    the values that were tried. limited_by: the limit that keeps the value from being better,
    as text. probes: the number of measured points behind it. bound: ``at least`` or ``at most`` if the value is only
    that. note: a sentence about what the search could not find out. optimum: the trials behind the best configuration,
    as ``search.optimization`` leaves them. Raises ConfigError for a number that is not finite.
    """

    value: float
    unit: str
    name: str = ""
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    limited_by: str = ""
    probes: int = 0
    bound: str = ""
    note: str = ""
    figures: tuple[Figure, ...] = ()
    evidence: tuple[ProbeFinding, ...] = ()
    fit: Fit | None = None
    optimum: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                raise ConfigError(f"the answer's {name} is {number}, which is not a finite number")

    def to_json(self) -> dict[str, Any]:
        """Return the answer as a JSON object, without what is None or empty."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "", ())}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``; other keys of ``data`` are ignored."""
        fields = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        fields["figures"] = tuple(Figure(**figure) for figure in data.get("figures", ()))
        fields["evidence"] = tuple(ProbeFinding(**probe) for probe in data.get("evidence", ()))
        if fields.get("fit"):
            fit: dict[str, Any] = {}
            for key, value in data["fit"].items():
                fit[key] = tuple(value) if isinstance(value, list) else value
            fields["fit"] = Fit(**fit)
        return cls(**fields)

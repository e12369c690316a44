"""Shrinks a case that fails: knobs go back to their defaults, numbers become small and round, while it still fails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from tests.lying.behaviour import Case, Fault


def shrunk(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Return a case that still fails, and no longer does with any single further step."""
    while True:
        smaller = next((smaller for smaller in _smaller(case) if fails(smaller)), None)
        if smaller is None:
            return case
        case = smaller


def _smaller(case: Case) -> Iterator[Case]:
    for part in ("behaviour", "load"):
        knobs = getattr(case, part)
        for field in dataclasses.fields(knobs):
            value = getattr(knobs, field.name)
            for simpler in _simpler(field.name, value, field.default):
                changed = dataclasses.replace(knobs, **{field.name: simpler})
                yield dataclasses.replace(case, features=(), **{part: changed})


def _simpler(name: str, value: Any, default: Any) -> Iterator[Any]:
    if value == default:
        return
    yield default
    if name == "faults":
        for i, fault in enumerate(value):
            yield value[:i] + value[i + 1 :]
            if fault.fraction < 1:
                yield (*value[:i], dataclasses.replace(fault, fraction=1.0), *value[i + 1 :])
            for variant in range(min(fault.variant, 8)):
                yield (*value[:i], Fault(name=fault.name, fraction=fault.fraction, variant=variant), *value[i + 1 :])
    elif isinstance(value, float) and value != round(value, 1):
        yield round(value, 1)
    elif name == "count" and value > 12:
        yield 12

"""The simulated gates of docs/statistics.md, fewer of them: bounds are four standard errors off the full trials."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / "benchmarks/gate_trials.py"
GATES = 300


@pytest.fixture(scope="module")
def trials() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gate_trials", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def reach(share: float) -> float:
    """Four standard errors of a share over ``GATES`` gates."""
    return 4 * math.sqrt(share * (1 - share) / GATES)


@pytest.mark.parametrize(
    ("kind", "against_history", "found"),
    [("independent", False, 0.86), ("independent", True, 0.99), ("correlated heavy outlier runs", False, 0.97)],
)
def test_the_two_stage_gate(trials: ModuleType, kind: str, against_history: bool, found: float) -> None:
    score = trials.trial(kind, GATES, against_history=against_history, seed=7)
    assert score.false_alarms <= 0.011 + reach(0.011)
    assert score.found >= found - reach(found)


def test_one_run_against_the_previous_one_cannot_tell(trials: ModuleType) -> None:
    score = trials.one_against_one("independent", GATES, seed=7)
    assert score.false_alarms > 0.5
    assert score.found < 0.15

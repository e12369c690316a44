"""No wrong figure of any endpoint is VALID, whatever the lie; those of honest servers are right and VALID."""

from __future__ import annotations

import numpy as np
import pytest
from tests.lying.endpoints import APIS, HABITS, LIES, STREAMS, Case, fractions_of, outcome_of
from tests.lying.virtual import virtual_time

from benchhydra.result import Verdict

SEEDS = 1


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("api", APIS)
def test_honest_servers_are_measured_rightly_and_valid(api: str, stream: bool) -> None:
    with virtual_time():
        for number, habit in enumerate(HABITS):
            outcome = outcome_of(Case(api=api, habit=habit, stream=stream, seed=number))
            assert not outcome.wrong and outcome.verdict == Verdict.VALID, str(outcome)


@pytest.mark.parametrize("lie", LIES)
def test_no_wrong_figure_is_valid(lie: str) -> None:
    with virtual_time():
        for api in LIES[lie]:
            for fraction in fractions_of(lie, api):
                for seed in range(SEEDS):
                    _refuse_belief(Case(api=api, lie=lie, fraction=fraction, seed=seed))
                if api in STREAMS and lie != "twice":
                    _refuse_belief(Case(api=api, lie=lie, fraction=fraction, stream=False, seed=7))


def test_every_lie_is_noticed_if_all_answers_have_it() -> None:
    """Otherwise the lies above may not be lies at all."""
    with virtual_time():
        for lie, apis in LIES.items():
            for api in apis:
                outcome = outcome_of(Case(api=api, lie=lie, fraction=fractions_of(lie, api)[0]))
                assert outcome.verdict != Verdict.VALID, str(outcome)


def test_random_draws() -> None:
    """Lies with habits, at random."""
    rng = np.random.default_rng(20261126)
    with virtual_time():
        for seed in range(60):
            lie = str(rng.choice(list(LIES)))
            api, habit = str(rng.choice(LIES[lie])), str(rng.choice(HABITS))
            fraction = float(rng.choice(fractions_of(lie, api)))
            stream = lie == "twice" or bool(rng.random() < 0.7)
            _refuse_belief(Case(api=api, lie=lie, habit=habit, fraction=fraction, stream=stream, seed=seed))


def _refuse_belief(case: Case) -> None:
    outcome = outcome_of(case)
    assert outcome.verdict != Verdict.VALID or not outcome.wrong, str(outcome)

"""No wrong figure of any endpoint is VALID, whatever the lie; those of honest servers are right and VALID."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest
from tests.lying.behaviour import TEXT_APIS
from tests.lying.endpoints import APIS, HABITS, LIES, STREAMS, Case, fractions_of, outcome_of
from tests.lying.virtual import virtual_time

from benchhydra import registry
from benchhydra.client.apis import Api
from benchhydra.client.apis.rerank import Rerank
from benchhydra.result import Verdict

SEEDS = 1
#: Options of APIs that no case sets: they change what is sent, and no answer shows it.
UNSEEN_KNOBS = {"chat.token_limit", "completions.token_limit", "transcription.token_limit"}


def not_covered(apis: Mapping[str, type[Api]]) -> set[str]:
    """Return which of the APIs have no lies, and which of their options no case has another value for.

    It is enough if a case of another API that shares the option has one.
    """
    cases = [*APIS.values(), *TEXT_APIS.values()]
    missing = {name for name, kind in apis.items() if not any(type(api) is kind for api in cases)}
    for name, kind in apis.items():
        for field in dataclasses.fields(kind):
            owner = next(base for base in kind.__mro__ if field.name in vars(base).get("__annotations__", {}))
            values = [getattr(api, field.name) for api in cases if isinstance(api, owner)]
            if all(value == getattr(kind(), field.name) for value in values):
                missing.add(f"{name}.{field.name}")
    return missing - UNSEEN_KNOBS


def test_every_api_and_each_of_its_options_has_lies() -> None:
    assert not not_covered(registry.options("api"))


def test_a_new_api_or_option_without_lies_is_noticed() -> None:
    @dataclasses.dataclass(kw_only=True)
    class Ranks(Rerank):
        top: int = 0

    assert not_covered({**registry.options("api"), "ranks": Ranks}) == {"ranks", "ranks.top"}
    assert not not_covered({"rerank": Rerank})


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

"""Adapters and priorities are dealt to requests by weight, the same for a seed."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from benchhydra.datasets import Prompt
from benchhydra.datasets.conversations import NO_PREFIX, Dialogue, Turn
from benchhydra.datasets.request_mix import adapter_models, mix_of, mixed, mixed_sessions
from benchhydra.errors import ConfigError

ADAPTERS = {"sql": 3.0, "law": 1.0, "base": 1.0}
PRIORITIES = {10: 1.0, 0: 1.0}


def dealt(count: int = 5000, seed: int = 1) -> list[Prompt]:
    prompts = [Prompt(f"p{i}", 1, 1, body={"cache_salt": str(i)}) for i in range(count)]
    return list(mixed(prompts, mix_of(ADAPTERS, PRIORITIES), np.random.default_rng(seed)))


def test_requests_are_dealt_by_weight() -> None:
    prompts = dealt()
    counts = Counter(prompt.body.get("model") for prompt in prompts)
    for name, share in (("sql", 0.6), ("law", 0.2), (None, 0.2)):
        assert abs(counts[name] / 5000 - share) < 4 * math.sqrt(share * (1 - share) / 5000), name
    assert Counter((p.labels["adapter"], p.body.get("model")) for p in prompts).keys() == {
        (0, "sql"),
        (1, "law"),
        (2, None),
    }
    assert {(p.labels["priority"], p.body["priority"]) for p in prompts} == {(0, 0), (1, 10)}
    assert [prompt.body["cache_salt"] for prompt in prompts] == [str(i) for i in range(5000)]


def test_a_seed_deals_the_same_and_each_mix_by_itself() -> None:
    assert dealt() == dealt() != dealt(seed=2)
    both = Counter((p.labels["adapter"], p.labels["priority"]) for p in dealt())
    assert all(abs(both[0, priority] / 5000 - 0.3) < 0.03 for priority in (0, 1))


def test_nothing_is_mixed_by_default() -> None:
    prompts = [Prompt("p", 1, 1)]
    assert mixed(prompts, mix_of({}, {}), np.random.default_rng(1)) is prompts


@pytest.mark.parametrize("weights", [{"a": -1.0}, {"a": math.inf}, {"a": 0.0, "b": 0.0}, {"a": math.nan}])
def test_a_weight_that_is_none_is_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"dataset\.adapters"):
        mix_of(weights, {})


def test_answers_must_have_the_name_of_their_adapter() -> None:
    assert adapter_models(ADAPTERS, "llama") == ("sql", "law", "llama")
    assert adapter_models(ADAPTERS, "") == adapter_models({}, "llama") == ()


def test_a_session_is_dealt_one_choice_and_shares_its_system_prompt_only_with_its_adapter() -> None:
    turns = (Turn(({"role": "user", "content": "a"},), 1), Turn(({"role": "user", "content": "b"},), 1, 0))
    plain = [Dialogue(turns, i % 2, {"cache_salt": "x"}, {"own": i}) for i in range(40)] + [Dialogue(turns)]
    sessions = list(mixed_sessions(plain, mix_of(ADAPTERS, PRIORITIES), np.random.default_rng(1)))
    assert [session.turns for session in sessions] == [turns] * 41
    assert all(session.body["cache_salt"] == "x" and "priority" in session.body for session in sessions[:40])
    assert [session.labels["own"] for session in sessions[:40]] == [*range(40)]
    shared = {(session.prefix, session.labels["adapter"]) for session in sessions[:40]}
    assert len(shared) == len({prefix for prefix, _ in shared}) == 6  # two system prompts, three models
    assert sessions[40].prefix == NO_PREFIX
    assert mixed_sessions(plain, (), np.random.default_rng(1)) is plain

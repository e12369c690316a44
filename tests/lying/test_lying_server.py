"""No wrong figure is VALID: random servers, honest and lying, whose truth is known; and honest ones are VALID.

The draws come from a fixed distribution, so that false alarms and the coverage of each fault are counted too. A draw
that fails is shrunk, and printed as a ``Case(...)`` to be added to ``WRONG`` or ``HONEST_CASES``.
``benchmarks/lying_server.py`` makes more draws.
"""

from __future__ import annotations

import pytest
from tests.lying.behaviour import FAULTS, Behaviour, Case, Fault, Load
from tests.lying.draws import DrawStatistics, draw_many
from tests.lying.features import HONEST, LIES, case_of
from tests.lying.truth import outcome_of
from tests.lying.virtual import virtual_time

from benchhydra.result import Verdict

DRAWS = 2000
SEED = 20261126

#: Shrunk draws that were VALID once, each with a wrong figure.
WRONG = {
    "half of the answers are gathered": Case(
        behaviour=Behaviour(faults=(Fault(name="gathered", fraction=0.5),)), load=Load()
    ),
    "every fifth answer is empty": Case(
        behaviour=Behaviour(faults=(Fault(name="empty", fraction=0.2),)), load=Load(ignore_eos=False)
    ),
    "three choices of one token": Case(
        behaviour=Behaviour(faults=(Fault(name="several_choices"),)), load=Load(output_tokens=(1, 1))
    ),
    "three choices of one or two tokens": Case(
        behaviour=Behaviour(faults=(Fault(name="several_choices"),)), load=Load(output_tokens=(1, 2))
    ),
    "three choices, fast": Case(
        behaviour=Behaviour(prefill_ms=81.9, decode_ms=2.2, faults=(Fault(name="several_choices"),)), load=Load()
    ),
    "events sent twice, short answers": Case(
        behaviour=Behaviour(faults=(Fault(name="repeated_events"),)), load=Load(output_tokens=(1, 2))
    ),
    "events sent twice, half of the answers": Case(
        behaviour=Behaviour(faults=(Fault(name="repeated_events", fraction=0.5),), seed=207891720), load=Load(count=12)
    ),
    "short answers in one piece": Case(
        behaviour=Behaviour(faults=(Fault(name="one_piece"),)), load=Load(output_tokens=(2, 2))
    ),
    "every fifth answer in one piece": Case(behaviour=Behaviour(faults=(Fault(name="one_piece", fraction=0.2),))),
    "a repeated answer in one piece": Case(
        behaviour=Behaviour(
            faults=(Fault(name="repeated_answer"), Fault(name="one_piece", fraction=0.06)), seed=1636200190
        )
    ),
    "usage is right by chance": Case(
        behaviour=Behaviour(faults=(Fault(name="usage_low"), Fault(name="too_many"))), load=Load()
    ),
    "usage leaves tokens out": Case(
        behaviour=Behaviour(faults=(Fault(name="usage_low"),)), load=Load(ignore_eos=False)
    ),
    "a space before the first token": Case(
        behaviour=Behaviour(prefill_ms=100.0, decode_ms=20.0, faults=(Fault(name="early_space"),))
    ),
    "three slots for ten": Case(behaviour=Behaviour(slots=3), load=Load(output_tokens=(32, 64))),
    "24 requests at 1.7 times the capacity": Case(
        behaviour=Behaviour(prefill_ms=106.1, slots=3), load=Load(qps=31.8, count=24)
    ),
}
#: Shrunk draws of honest servers that were measured wrongly once, or not VALID.
HONEST_CASES = {
    "content in parts": Case(behaviour=Behaviour(text_as="parts"), load=Load(api="chat")),
    "a byte order mark": Case(behaviour=Behaviour(bom=True), load=Load(output_tokens=(1, 2))),
    "empty data": Case(behaviour=Behaviour(empty_data=True), load=Load()),
    "no [DONE]": Case(behaviour=Behaviour(done=False), load=Load()),
    "an end of sequence that usage counts": Case(
        behaviour=Behaviour(decode_ms=30.0, natural_end=0.5, eos=True), load=Load(ignore_eos=False)
    ),
}


@pytest.fixture(scope="module")
def drawn() -> DrawStatistics:
    with virtual_time():
        return draw_many(DRAWS, SEED)


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_figures_that_were_wrong_once_are_not_valid(case: Case) -> None:
    with virtual_time():
        outcome = outcome_of(case)
    assert outcome.verdict != Verdict.VALID, str(outcome)


@pytest.mark.parametrize("case", HONEST_CASES.values(), ids=HONEST_CASES)
def test_honest_servers_that_were_misread_once_are_valid(case: Case) -> None:
    with virtual_time():
        outcome = outcome_of(case)
    assert not outcome.wrong and outcome.verdict == Verdict.VALID, str(outcome)


@pytest.mark.parametrize("name", HONEST)
def test_a_plain_server_with_one_habit_is_valid(name: str) -> None:
    with virtual_time():
        outcome = outcome_of(case_of([name], seed=2))
    assert not outcome.wrong and outcome.verdict == Verdict.VALID, str(outcome)


@pytest.mark.parametrize("name", FAULTS)
def test_every_variant_of_a_fault_is_seen(name: str) -> None:
    with virtual_time():
        for variant in range(12):
            behaviour = Behaviour(faults=(Fault(name=name, variant=variant),))
            outcome = outcome_of(Case(behaviour=behaviour, load=Load(api=("completions", "chat")[variant % 2])))
            assert outcome.verdict != Verdict.VALID or not outcome.wrong, str(outcome)


@pytest.mark.timeout(300)
def test_no_wrong_figure_is_valid(drawn: DrawStatistics) -> None:
    assert not drawn.lies_believed, "\n\n".join(map(str, drawn.lies_believed[:3]))


def test_honest_servers_are_valid(drawn: DrawStatistics) -> None:
    alarms = len(drawn.false_alarms)
    assert drawn.honest >= 0.4 * DRAWS
    assert alarms <= 0.01 * drawn.honest, "\n\n".join(map(str, drawn.false_alarms[:3]))


def test_every_habit_and_fault_is_drawn_often(drawn: DrawStatistics) -> None:
    assert {name for name in HONEST | LIES if drawn.features[name] < DRAWS // 100} == set()
    assert drawn.features.keys() == HONEST.keys() | LIES.keys()
    assert FAULTS.keys() <= LIES.keys()
    assert min(alone.draws for alone in drawn.alone.values()) >= 5

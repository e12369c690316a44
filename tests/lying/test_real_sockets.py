"""Virtual time is faithful: over real sockets, in real time, every answer is read alike, and the times agree."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.lying.behaviour import Case
from tests.lying.features import draw
from tests.lying.server import LyingServer
from tests.lying.sockets import served_by
from tests.lying.truth import compared, load_shape, make_plan, outcome_of
from tests.lying.virtual import virtual_time

from benchhydra.loadgen import run_load
from benchhydra.progress import Progress
from benchhydra.records import NEVER, Records, Status

pytestmark = pytest.mark.alone

DRAWS = 40
SEED = 20261126
#: How much later than planned a busy machine may send and read, in the median of a load.
LATE_MS = 25.0


def brief(case: Case) -> Case:
    """Return the case with a load of a fraction of a second."""
    load = dataclasses.replace(case.load, count=10, qps=100.0, in_flight=4, output_tokens=(2, 6), timeout_s=0.4)
    behaviour = dataclasses.replace(case.behaviour, prefill_ms=15.0, decode_ms=8.0, network_ms=0.0, gather_ms=None)
    return dataclasses.replace(case, load=load, behaviour=behaviour)


def cases() -> list[Case]:
    rng = np.random.default_rng(SEED)
    drawn = [brief(draw(rng, honest=number % 2 == 0)) for number in range(DRAWS)]
    # what is sent again after the end of an answer arrives before or after the next request, as it happens
    return [case for case in drawn if case.behaviour.fault("repeated_message") is None]


def readings(rows: Records) -> list[tuple[int, int, int, int, int]]:
    """What was read of each answer, times apart: status, tokens, chunks, anomalies."""
    chunks = np.where(rows.first_ns != NEVER, np.diff(rows.gap_offsets) + 1, 0)
    columns = (rows.status, rows.prompt_tokens, rows.output_tokens, chunks, rows.anomalies)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def late_ms(real: Records, virtual: Records) -> float:
    """How much slower the answers were in real time, in the median."""
    both = real.completed & virtual.completed
    if not both.any():
        return 0.0
    real_ns, virtual_ns = ((rows.last_ns - rows.sent_ns)[both] for rows in (real, virtual))
    return float(np.median(real_ns - virtual_ns)) / 1e6


@pytest.mark.parametrize("case", cases(), ids=lambda case: "+".join(case.features)[:60] or "plain")
def test_real_sockets_and_virtual_time_agree(case: Case) -> None:
    with virtual_time():
        virtual = outcome_of(case)
    shape, server = load_shape(case), LyingServer(case.behaviour)
    with served_by(server) as base_url:
        plan = make_plan(case, shape, base_url)
        real = compared(case, shape, plan, run_load(plan, Progress()), server)
    order = np.argsort(virtual.result.records.sent_ns, kind="stable")
    assert len(real.result.records) == len(order) == case.load.count
    assert sorted(readings(real.result.records)) == sorted(readings(virtual.result.records))
    if case.load.shape != "at_once" and not case.behaviour.slots:
        assert abs(late_ms(real.result.records, virtual.result.records)) < LATE_MS
    assert Status.CANCELLED not in real.result.records.status

"""A queue that is fitted to latencies, on latencies of queues that are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchhydra.emulation.queue_model import QueueModel
from benchhydra.emulation.server_model import Arrivals, Latencies

COUNT = 3000


def server(slots: int | None = 8, each_s: float = 0.0) -> QueueModel:
    rng = np.random.default_rng(1)
    return QueueModel(
        slots=slots,
        first_s=(0.02, 0.0005),
        decode_s=(0.02, each_s),
        first_factors=np.exp(0.1 * rng.standard_normal(100)),
        decode_factors=np.exp(0.05 * rng.standard_normal(100)),
    )


def requests(rate: float, count: int = COUNT, seed: int = 2) -> Arrivals:
    rng = np.random.default_rng(seed)
    sent_s = np.cumsum(rng.exponential(1 / rate, count))
    return Arrivals(sent_s, rng.uniform(50, 150, count).round(), rng.uniform(20, 60, count).round())


def latencies(model: QueueModel, load: Arrivals) -> Latencies:
    return model.latencies(load, np.random.default_rng(3))


@pytest.mark.parametrize("slots", [1, 8, 40])
def test_slots_and_times_are_those_of_the_queue(slots: int) -> None:
    load = requests(rate=0.95 * slots / 0.85)
    fitted = QueueModel.fit(load, latencies(server(slots), load))
    assert fitted.slots == slots
    assert fitted.first_s == pytest.approx((0.02, 0.0005), rel=0.15)
    assert fitted.decode_s == pytest.approx((0.02, 0.0), rel=0.02)
    assert fitted.first_factors.std() == pytest.approx(0.1, rel=0.2)


def test_all_at_once_shows_the_slots() -> None:
    load = requests(rate=1e9, count=100)
    assert QueueModel.fit(load, latencies(server(16), load)).slots == 16


def test_without_waiting_there_are_no_slots() -> None:
    load = requests(rate=1.0)
    assert QueueModel.fit(load, latencies(server(40), load)).slots is None


@pytest.mark.parametrize("slots", [None, 16])
def test_decoding_that_slows_down_is_seen(slots: int | None) -> None:
    model = server(slots, each_s=0.002)
    load = requests(rate=7.0)
    fitted = QueueModel.fit(load, latencies(model, load))
    assert fitted.shares_decoding
    assert fitted.decode_s == pytest.approx((0.02, 0.002), rel=0.1)


def test_requests_wait_for_a_slot_in_order() -> None:
    ones = np.ones(1)
    model = QueueModel(slots=2, first_s=(1.0, 0.0), decode_s=(0.5, 0.0), first_factors=ones, decode_factors=ones)
    load = Arrivals(np.array([0.0, 0.0, 0.5, 0.6]), np.ones(4), np.array([1.0, 3.0, 1.0, 1.0]))
    ttft_ms, tpot_ms, e2el_ms = latencies(model, load)
    assert ttft_ms.tolist() == pytest.approx([1000, 1000, 1500, 2400])
    assert e2el_ms.tolist() == pytest.approx([1000, 2000, 1500, 2400])
    assert np.isnan(tpot_ms[[0, 2, 3]]).all() and tpot_ms[1] == pytest.approx(500)


def test_shared_decoding_is_slower_only_while_another_request_runs() -> None:
    ones = np.ones(1)
    model = QueueModel(slots=None, first_s=(1.0, 0.0), decode_s=(1.0, 1.0), first_factors=ones, decode_factors=ones)
    load = Arrivals(np.array([0.0, 3.0]), np.ones(2), np.array([5.0, 1.0]))
    _, _, e2el_ms = latencies(model, load)
    # 2 tokens until the other request comes, half a token during its second, and the rest alone
    assert e2el_ms.tolist() == pytest.approx([1000 + 2000 + 1000 + 1500, 1000])

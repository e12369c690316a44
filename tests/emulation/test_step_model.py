"""An engine that works in steps: its latencies, and the fit to those of engines that are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra.emulation.load_emulation import LoadEmulation
from benchhydra.emulation.model_choice import fit_server, fit_server_to_burst
from benchhydra.emulation.queue_model import QueueModel
from benchhydra.emulation.server_model import Arrivals, Floats, Latencies, ServerModel
from benchhydra.emulation.step_model import StepModel

Fit = Callable[[Arrivals, Latencies, np.random.Generator], ServerModel]
COUNT = 2000
ENGINE = StepModel(slots=8, step_s=(0.02, 0.001, 0.0001), token_budget=512)


def load(rate: float, count: int = COUNT, seed: int = 1, prompt_tokens: tuple[int, int] = (50, 350)) -> Arrivals:
    rng = np.random.default_rng(seed)
    sent_s = np.cumsum(rng.exponential(1 / rate, count))
    return Arrivals(sent_s, rng.integers(*prompt_tokens, count).astype(float), rng.integers(5, 40, count).astype(float))


def latencies(model: StepModel, requests: Arrivals, seed: int = 3) -> Latencies:
    return model.latencies(requests, np.random.default_rng(seed))


def fitted_to(requests: Arrivals, measured: Latencies) -> StepModel | None:
    return StepModel.fit(requests, measured, QueueModel.fit(requests, measured).slots)


def arrivals(sent_s: list[float], prompt_tokens: list[int], output_tokens: list[int]) -> Arrivals:
    return Arrivals(*(np.array(each, dtype=float) for each in (sent_s, prompt_tokens, output_tokens)))


def step_by_step(model: StepModel, requests: Arrivals) -> tuple[Floats, Floats]:
    """When first and last tokens come, with every step by itself."""
    constant_s, answer_s, prompt_token_s = model.step_s
    count = len(requests.sent_s)
    unread, ungenerated = requests.prompt_tokens.copy(), requests.output_tokens.copy()
    first_s, end_s = np.zeros(count), np.zeros(count)
    waiting, running = list(range(count)), list[int]()
    now = 0.0
    while waiting or running:
        if not running:
            now = max(now, requests.sent_s[waiting[0]])
        while waiting and requests.sent_s[waiting[0]] <= now and len(running) < (model.slots or count):
            running.append(waiting.pop(0))
        going_on = [row for row in running if not unread[row]]
        budget, read = max(model.token_budget - len(going_on), 0), 0.0
        read_to_end = []
        for row in running:
            if unread[row]:
                piece = min(unread[row], budget - read)
                unread[row], read = unread[row] - piece, read + piece
                if not unread[row]:
                    read_to_end.append(row)
        now += constant_s + answer_s * len(going_on) + prompt_token_s * read
        for row in [*going_on, *read_to_end]:
            ungenerated[row] -= 1
            end_s[row] = now
            if row in read_to_end:
                first_s[row] = now
        running = [row for row in running if ungenerated[row] > 0]
    return first_s, end_s


def test_requests_wait_for_the_step_in_progress_for_a_slot_and_for_one_another() -> None:
    model = StepModel(slots=2, step_s=(1.0, 0.0, 0.1), token_budget=10)
    requests = arrivals([0.0, 0.5, 0.6], prompt_tokens=[5, 10, 1], output_tokens=[3, 2, 1])
    ttft_ms, tpot_ms, e2el_ms = latencies(model, requests)
    # steps end at 1.5 (5 tokens of a prompt), 3.4 (9), 4.5 (1 more), 5.6 (1)
    assert ttft_ms.tolist() == pytest.approx([1500, 4000, 5000])
    assert e2el_ms.tolist() == pytest.approx([4500, 5100, 5000])
    assert tpot_ms[:2].tolist() == pytest.approx([1500, 1100])
    assert math.isnan(tpot_ms[2])


@given(
    slots=st.none() | st.integers(1, 6),
    budget=st.integers(3, 40),
    constant_s=st.floats(0.01, 0.2),
    requests=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 60), st.integers(1, 12)), min_size=1, max_size=20),
)
def test_steps_taken_together_are_those_taken_one_by_one(
    slots: int | None, budget: int, constant_s: float, requests: list[tuple[float, int, int]]
) -> None:
    model = StepModel(slots=slots, step_s=(constant_s, 0.003, 0.0007), token_budget=budget)
    sent_s, prompt_tokens, output_tokens = zip(*sorted(requests), strict=True)
    columns = arrivals(list(sent_s), list(prompt_tokens), list(output_tokens))
    first_s, end_s = step_by_step(model, columns)
    computed = latencies(model, columns)
    assert (computed.ttft_ms / 1e3 + columns.sent_s).tolist() == pytest.approx(first_s.tolist())
    assert (computed.e2el_ms / 1e3 + columns.sent_s).tolist() == pytest.approx(end_s.tolist())


@pytest.mark.parametrize("slots", [8, None])
@pytest.mark.parametrize("offset_s", [-0.004, 0.0, 0.01])
def test_the_times_of_steps_are_those_of_the_engine(slots: int | None, offset_s: float) -> None:
    engine = StepModel(slots=slots, step_s=(0.02, 0.001, 0.0001), token_budget=512, noise=0.05, offset_s=offset_s)
    requests = load(rate=8.5 if slots else 14.0)
    fitted = fitted_to(requests, latencies(engine, requests))
    assert fitted is not None
    assert fitted.slots == slots
    assert fitted.token_budget == 512
    assert fitted.step_s == pytest.approx(engine.step_s, rel=0.1)
    assert fitted.offset_s == pytest.approx(offset_s, abs=0.005)  # a fifth of a step
    assert 0.02 < fitted.noise < 0.1


def test_a_budget_that_no_step_used_up_does_not_matter() -> None:
    requests = load(rate=8.5, prompt_tokens=(5, 20))
    fitted = fitted_to(requests, latencies(ENGINE, requests))
    assert fitted is not None
    difference_ms = np.abs(latencies(fitted, requests).ttft_ms - latencies(ENGINE, requests).ttft_ms)
    assert np.median(difference_ms) < 2


@pytest.mark.parametrize("slots", [1, 8, None])
@pytest.mark.parametrize("budget", [64, 4096])
def test_saturation_is_the_throughput_of_an_engine_that_is_never_idle(slots: int | None, budget: int) -> None:
    engine = StepModel(slots=slots, step_s=(0.02, 0.001, 0.0001), token_budget=budget)
    requests = load(rate=1e6, count=4000)
    throughput = len(requests.sent_s) / (latencies(engine, requests).e2el_ms.max() / 1e3)
    if slots is None:  # answers hold a step's whole budget only while enough of them go on
        assert engine.saturation(requests) > throughput * 0.95
    else:
        assert engine.saturation(requests) == pytest.approx(throughput, rel=0.08)


def test_answers_of_one_token_tell_nothing_of_the_steps() -> None:
    requests = load(rate=8.5)._replace(output_tokens=np.ones(COUNT))
    assert fitted_to(requests, latencies(ENGINE, requests)) is None


def test_the_requests_that_are_computed_have_answers_of_several_tokens() -> None:
    """Without them the noise of the steps is unknown, whatever comes later."""
    requests = load(rate=8.5, count=COUNT + 200)
    requests = requests._replace(output_tokens=np.where(np.arange(COUNT + 200) < COUNT, 1.0, requests.output_tokens))
    assert fitted_to(requests, latencies(ENGINE, requests)) is None


@pytest.mark.parametrize(("fit", "rate", "count"), [(fit_server, 8.5, COUNT), (fit_server_to_burst, 1e6, 100)])
def test_an_engine_with_steps_is_one(fit: Fit, rate: float, count: int) -> None:
    requests = load(rate, count)
    assert isinstance(fit(requests, latencies(ENGINE, requests), np.random.default_rng(2)), StepModel)


@pytest.mark.parametrize(("fit", "utilization", "count"), [(fit_server, 0.6, 300), (fit_server_to_burst, 1e6, 100)])
@pytest.mark.parametrize("token_s", [0.001, 0.02])
@pytest.mark.parametrize("seed", range(4))
def test_a_queue_is_one(fit: Fit, utilization: float, count: int, token_s: float, seed: int) -> None:
    """Its noise is its own: a model without any is nearer to it in the mean, and gives no slow requests."""
    factors = np.exp(0.5 * np.random.default_rng(1).standard_normal(1000))
    queue = QueueModel(
        slots=4, first_s=(0.03, 0.0), decode_s=(token_s, 0.0), first_factors=factors, decode_factors=factors
    )
    rng = np.random.default_rng([seed, 2])
    requests = load(1.0, count, seed)
    requests = requests._replace(sent_s=requests.sent_s / utilization / queue.saturation(requests))
    assert isinstance(fit(requests, queue.latencies(requests, rng), rng), QueueModel)


def test_a_burst_tells_the_engine_although_its_connections_raced_and_were_accepted_late() -> None:
    requests = load(rate=1e6, count=100)
    order = np.random.default_rng(4).permutation(100)
    times = latencies(ENGINE, requests._replace(sent_s=np.zeros(100)))
    late = Latencies(times.ttft_ms + 80, times.tpot_ms, times.e2el_ms + 80)
    model = fit_server_to_burst(
        Arrivals(np.sort(requests.sent_s), *(column[order] for column in requests[1:])),
        Latencies(*(column[order] for column in late)),
        np.random.default_rng(5),
    )
    assert isinstance(model, StepModel)
    assert model.slots == ENGINE.slots
    assert model.offset_s == 0
    assert model.saturation(requests) == pytest.approx(ENGINE.saturation(requests), rel=0.1)


def test_the_luck_of_arrivals_of_an_engine_with_steps_is_taken_out() -> None:
    """What is left of the scatter is less than a quarter, and no more than is stated."""

    def beyond(latencies: Latencies) -> Floats:
        return (latencies.ttft_ms > 700).astype(np.float64)

    measured, adjusted = [], []
    rows = np.arange(COUNT // 10, COUNT)
    for seed in range(8):
        requests = load(rate=8.0, seed=seed)
        times = latencies(ENGINE, requests)
        emulation = LoadEmulation(requests, times, rate=8.0, gap_variation=1.0, seed=seed)
        limit = emulation.limit("p90_ttft_ms", 0.1, rows, beyond)
        assert limit.adjusted is not None
        measured.append(float(beyond(times)[rows].mean()))
        adjusted.append(limit.adjusted)
    scatter = np.std([each.mean for each in adjusted], ddof=1)
    assert scatter < 0.25 * np.std(measured, ddof=1)
    assert scatter < 1.5 * math.sqrt(np.mean([each.variance for each in adjusted]))

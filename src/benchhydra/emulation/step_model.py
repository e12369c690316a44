"""A model of an engine that works in steps (continuous batching), fitted to the requests of one load.

A step generates a token of each answer that goes on, and reads prompts in the order of arrival, in pieces of at most
``token_budget`` tokens less those of the answers (chunked prefill). It takes a constant time, and more for each of its
tokens. A request starts with the first step that begins after it came and while one of ``slots`` is free; its first
token comes at the end of the step that reads the end of its prompt. All requests of a step wait for one another: that
is what ``queue_model`` has not.

The times of a step are first fitted by least squares to the time that each answer took from its first token to its
last: so many steps, in which so many tokens were generated, and so many tokens of prompts read. The budget, whether
there are slots, and then the times once more (J. A. Nelder and R. Mead, "A simplex method for function minimization",
1965) are those with which the computed latencies are most like the measured ones.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from benchhydra.emulation.server_model import Arrivals, Floats, Latencies, latencies_of

#: Budgets in tokens that are tried; the largest stands for all above. A mean prompt is read in at most so many pieces.
BUDGETS, MOST_PIECES = (16384, 8192, 4096, 2048, 1024, 512, 256, 128), 32
#: Slots, or a smaller budget, must make the difference so much smaller.
CLEARLY = 0.98
#: The budget is chosen, and the times are improved, with so many requests, so many computations, and first steps of
#: this size.
FITTED_REQUESTS, COMPUTATIONS, FIRST_CHANGE = 2000, 60, 0.04
#: Fewest answers of more than one token, among the requests that are computed. What is less than this part of a step's
#: time counts as nothing.
LEAST_ANSWERS, LEAST_PART = 30, 1e-6
#: Median of the absolute value of a standard normal number.
NORMAL_MEDIAN = 0.6745


@dataclass(frozen=True, kw_only=True)
class StepModel:
    """A fitted engine. slots: None if no request waited for one.

    step_s: seconds that a step takes, (constant, for each answer that goes on, for each token of a prompt).
    noise: standard deviation of the time of one step, relative to it. offset_s: from the end of a step to the time at
    which the client has its token; it may be negative.
    """

    slots: int | None
    step_s: tuple[float, float, float]
    token_budget: int
    noise: float = 0.0
    offset_s: float = 0.0

    @classmethod
    def fit(cls, requests: Arrivals, latencies: Latencies, slots: int | None) -> StepModel | None:
        """Fit a model to measured requests, all of which were completed; None if too few have several tokens.

        slots: their number, if there are any.
        """
        few = Arrivals(*(column[:FITTED_REQUESTS] for column in requests))
        measured = Latencies(*(column[:FITTED_REQUESTS] for column in latencies))
        if ((few.output_tokens > 1) & (measured.e2el_ms > measured.ttft_ms)).sum() < LEAST_ANSWERS:
            return None
        step_s = _regress(requests, latencies)
        if step_s is None:
            return None
        best, least = None, math.inf
        budgets = [each for each in BUDGETS if requests.prompt_tokens.mean() <= MOST_PIECES * each] or BUDGETS[:1]
        for budget, each in product(budgets, dict.fromkeys((None, slots))):
            model = cls(slots=each, step_s=step_s, token_budget=budget)
            difference = _difference(model, few, measured)
            if difference < CLEARLY * least:
                best, least = model, difference
        return None if best is None else _with_noise(_improved(best, few, measured), few, measured)

    @property
    def is_slow(self) -> bool:
        return True

    def expected_s(self, requests: Arrivals) -> Floats:
        """What each adds to the steps, and its part of a busy engine's constant times: of slots, or of the budget."""
        constant_s, answer_s, prompt_token_s = self.step_s
        prompt, more = requests.prompt_tokens, np.maximum(requests.output_tokens - 1, 0)
        of_budget = (prompt + more) / self.token_budget
        of_slots = (np.ceil(prompt / self.token_budget) + more) / (self.slots or math.inf)
        steps = of_slots if of_slots.mean() > of_budget.mean() else of_budget
        return np.asarray(prompt_token_s * prompt + answer_s * more + constant_s * steps)

    def saturation(self, requests: Arrivals) -> float:
        busy_s = float(self.expected_s(requests).mean())
        return 1 / busy_s if busy_s > 0 else math.inf

    def latencies(self, requests: Arrivals, rng: np.random.Generator) -> Latencies:
        first_s, end_s = self._run(requests, rng)
        return latencies_of(requests, first_s + self.offset_s, end_s + self.offset_s)

    def _run(self, requests: Arrivals, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Return at which times in s the first and the last token of each request are there.

        Steps without a prompt are taken together until one of them ends an answer, or a request comes.
        """
        constant_s, answer_s, prompt_token_s = self.step_s
        count = len(requests.sent_s)
        slots = self.slots or count
        arrivals, answers = requests.sent_s.tolist(), requests.output_tokens.astype(int).tolist()
        left = requests.prompt_tokens.astype(int).tolist()
        normal = rng.standard_normal(4 * count).tolist() if self.noise else []
        first_at, end_at = [0.0] * count, [0.0] * count
        reading: deque[int] = deque()
        ends: list[tuple[int, int]] = []  # the step after which an answer is complete
        now, step, next_row, drawn = 0.0, 0, 0, 0
        while next_row < count or reading or ends:
            if not (reading or ends):
                now = max(now, arrivals[next_row])
            while next_row < count and arrivals[next_row] <= now and len(reading) + len(ends) < slots:
                reading.append(next_row)
                next_row += 1
            steps_taken = 1
            read: list[int] = []
            step_s = constant_s + answer_s * len(ends)
            if reading:
                read, tokens = _read_prompts(reading, left, self.token_budget - len(ends))
                step_s += prompt_token_s * tokens
            else:
                steps_taken = ends[0][0] - step
                if next_row < count and len(ends) < slots:
                    steps_taken = min(steps_taken, max(1, math.ceil((arrivals[next_row] - now) / step_s)))
            if normal:
                step_s *= max(0.5, 1 + self.noise * normal[drawn % len(normal)] / math.sqrt(steps_taken))
                drawn += 1
            now, step = now + steps_taken * step_s, step + steps_taken
            while ends and ends[0][0] <= step:
                end_at[heapq.heappop(ends)[1]] = now
            for row in read:
                first_at[row] = now
                if answers[row] > 1:
                    heapq.heappush(ends, (step + answers[row] - 1, row))
                else:
                    end_at[row] = now
        return np.array(first_at), np.array(end_at)


def _read_prompts(reading: deque[int], left: list[int], budget: int) -> tuple[list[int], int]:
    """Read so many tokens of prompts; return the rows that were read to their end, and the tokens.

    left: tokens that are still to be read, of each row.
    """
    read, tokens = [], 0
    while reading and tokens < budget:
        piece = min(budget - tokens, left[reading[0]])
        tokens += piece
        left[reading[0]] -= piece
        if not left[reading[0]]:
            read.append(reading.popleft())
    return read, tokens


def _difference(model: StepModel, requests: Arrivals, measured: Latencies) -> float:
    """How far computed latencies are from the measured ones, but for a constant: TTFT in ms times E2E latency in ms."""
    computed = model.latencies(requests, np.random.default_rng(0))
    late_ms = measured.ttft_ms - computed.ttft_ms
    offset_ms = np.median(late_ms)
    ttft_ms = np.abs(late_ms - offset_ms).mean()
    return float(ttft_ms * np.abs(measured.e2el_ms - computed.e2el_ms - offset_ms).mean())


def _improved(model: StepModel, requests: Arrivals, measured: Latencies) -> StepModel:
    """The model with the times of steps that make it most like the measured latencies."""
    from scipy.optimize import minimize  # start-up time: only points with limits need it

    step_s = np.array(model.step_s)
    free = np.flatnonzero(step_s)

    def changed(change: Floats) -> StepModel:
        times = step_s.copy()
        times[free] *= np.exp(change)
        return replace(model, step_s=tuple(times.tolist()))

    simplex = np.vstack((np.zeros(len(free)), FIRST_CHANGE * np.eye(len(free))))
    best = minimize(
        lambda change: math.log(_difference(changed(change), requests, measured) + 1e-9),
        simplex[0],
        method="Nelder-Mead",
        options={"initial_simplex": simplex, "maxfev": COMPUTATIONS, "xatol": 1e-4, "fatol": 1e-3},
    )
    return changed(best.x)


def _with_noise(model: StepModel, requests: Arrivals, measured: Latencies) -> StepModel:
    """The model with what it does not explain: the offset, and the noise of steps."""
    computed = model.latencies(requests, np.random.default_rng(0))
    steps = np.maximum(requests.output_tokens - 1, 0)
    with np.errstate(invalid="ignore"):
        scatter = np.abs(measured.tpot_ms / computed.tpot_ms - 1) * np.sqrt(steps)
    noise = float(np.nanmedian(scatter)) / NORMAL_MEDIAN
    return replace(model, noise=noise, offset_s=float(np.median(measured.ttft_ms - computed.ttft_ms)) / 1e3)


def _regress(requests: Arrivals, latencies: Latencies) -> tuple[float, float, float] | None:
    """Return the seconds of a step: constant, for each answer, for each token of a prompt.

    None if answers take no time.
    """
    from scipy.optimize import nnls  # start-up time, as above

    first_s = requests.sent_s + latencies.ttft_ms / 1e3
    end_s = requests.sent_s + latencies.e2el_ms / 1e3
    steps = requests.output_tokens - 1
    rows = (steps > 0) & (end_s > first_s)
    steps, took_s = steps[rows], (end_s - first_s)[rows]
    tokens = _generated(first_s[rows], end_s[rows], steps)
    # half a step earlier, so that prompts of the step that ends with a first token are not read after it
    read_s = first_s - float(np.median(took_s / steps)) / 2
    prompts = _prompt_tokens(read_s, requests.prompt_tokens, first_s[rows], end_s[rows])
    columns = np.stack((np.ones(len(steps)), tokens / steps, prompts / steps), axis=1)
    scale = np.maximum(columns.mean(axis=0), 1e-9)
    weights = np.sqrt(steps)
    solution, _ = nnls(columns / scale * weights[:, None], took_s / steps * weights)
    solution[solution < LEAST_PART * solution.sum()] = 0.0
    constant_s, answer_s, prompt_token_s = (float(each) for each in solution / scale)
    return (constant_s, answer_s, prompt_token_s) if constant_s + answer_s > 0 else None


def _generated(first_s: Floats, end_s: Floats, steps: Floats) -> Floats:
    """How many tokens all answers got between the first and the last token of each, if each got them evenly."""
    speed = steps / (end_s - first_s)
    at = np.concatenate((first_s, end_s))
    order = np.argsort(at, kind="stable")
    speeds = np.cumsum(np.concatenate((speed, -speed))[order])
    tokens = np.concatenate(([0.0], np.cumsum(speeds[:-1] * np.diff(at[order]))))
    return np.asarray(np.interp(end_s, at[order], tokens) - np.interp(first_s, at[order], tokens))


def _prompt_tokens(read_s: Floats, prompt_tokens: Floats, from_s: Floats, until_s: Floats) -> Floats:
    """How many tokens of prompts were read after ``from_s``, until ``until_s``. read_s: when each prompt was read."""
    order = np.argsort(read_s, kind="stable")
    total = np.concatenate(([0.0], np.cumsum(prompt_tokens[order])))
    ordered_s = read_s[order]
    before, after = (np.searchsorted(ordered_s, each, side="right") for each in (from_s, until_s))
    return np.asarray(total[after] - total[before])

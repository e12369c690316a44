"""The figures of a load as the server knows them, beside those that benchhydra measured, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from tests.lying.behaviour import TEXT_APIS, Case
from tests.lying.server import MODEL, LyingServer, TrueAnswer
from tests.lying.virtual import run_virtually

from benchhydra import registry
from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import RequestOptions
from benchhydra.client.request_encoding import encode_request
from benchhydra.datasets import Prompt
from benchhydra.facts import Facts
from benchhydra.loadgen import LoadPlan, LoadResult
from benchhydra.loads import LoadShape
from benchhydra.loads.burst import Burst
from benchhydra.loads.concurrency import Concurrency
from benchhydra.loads.constant import Constant
from benchhydra.loads.poisson import Poisson
from benchhydra.metrics import summarize
from benchhydra.records import Records
from benchhydra.result import Reason, Verdict
from benchhydra.series import Series
from benchhydra.validity import ValidityLimits, judge
from benchhydra.window import Window, mark_phases

registry.discover()  # rules read facts that other packages declare

RELATIVE, ABSOLUTE_MS = 0.02, 1.0
COUNTS = ("completed", "failed")
LATENCIES = tuple(f"{statistic}_{name}_ms" for name in ("ttft", "tpot", "itl", "e2el") for statistic in
                  ("mean", "median", "p99"))  # fmt: skip
RATES = ("request_throughput", "output_throughput", "mean_output_tokens")
#: How long the simulated server takes to answer ``/metrics``, beside the network.
METRICS_MS = 0.5
#: Where more than this much of the capacity is offered, latencies depend on how long the load lasts. Below, a short
#: load of random arrivals may not show it.
OVERLOADED = 1.9


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One draw. figures: as measured; truth: as the server knows them; wrong: figure -> (measured, true)."""

    case: Case
    verdict: Verdict
    reasons: tuple[Reason, ...]
    figures: Mapping[str, float]
    truth: Mapping[str, float]
    wrong: Mapping[str, tuple[float | None, float | None]]
    result: LoadResult

    @property
    def lied(self) -> bool:
        """Whether the result is VALID with a wrong figure."""
        return self.verdict == Verdict.VALID and bool(self.wrong)

    def __str__(self) -> str:
        lines = [str(self.case), f"features: {', '.join(self.case.features)}", f"verdict: {self.verdict}"]
        lines += [f"  {reason.check}: {reason.text}" for reason in self.reasons]
        lines += [f"  {name}: measured {measured}, true {true}" for name, (measured, true) in self.wrong.items()]
        lines += [f"  failures: {self.result.records.failures()} {self.result.records.errors[:3]}"]
        return "\n".join(lines)


def load_shape(case: Case) -> LoadShape:
    """Return the load of a case as benchhydra's option."""
    load = case.load
    if load.shape == "closed":
        return Concurrency(max_in_flight=load.in_flight, qps=float("inf"))
    if load.shape == "at_once":
        return Poisson(qps=float("inf"))
    if load.shape == "burst":
        return Burst(qps=load.qps, size=4)
    return Constant(qps=load.qps) if load.shape == "constant" else Poisson(qps=load.qps)


def make_plan(case: Case, shape: LoadShape, base_url: str = "http://127.0.0.1:1") -> LoadPlan:
    """Return the requests of a case; the prompt of a request is its number."""
    load, rng = case.load, np.random.default_rng(case.load.seed)
    api = TEXT_APIS[load.api]
    endpoint = Endpoint(base_url=base_url, api=api, model=MODEL, answer_model=MODEL)
    options = RequestOptions(stream=load.stream, ignore_eos=load.ignore_eos)
    requests = Requests(prompt_key=api.prompt_key)
    low, high = load.output_tokens
    for row in range(load.count):
        prompt = Prompt(str(row), 8, int(rng.integers(low, high + 1)))
        requests.add(encode_request(endpoint, prompt, prompt.output_tokens, options), 8, prompt.output_tokens)
    send_times_s = shape.send_times_s(load.count, rng)
    return LoadPlan(
        endpoint=endpoint,
        requests=requests,
        send_times_s=send_times_s,
        pacing=shape.pacing(send_times_s),
        max_in_flight=shape.max_in_flight,
        options=options,
        timeout_s=load.timeout_s,
        processes="1",
    )


def outcome_of(case: Case) -> Outcome:
    """Run a case in virtual time (inside ``virtual_time``) and compare."""
    shape, server = load_shape(case), LyingServer(case.behaviour)
    plan = make_plan(case, shape)
    return compared(case, shape, plan, run_virtually(plan, server), server)


def compared(case: Case, shape: LoadShape, plan: LoadPlan, result: LoadResult, server: LyingServer) -> Outcome:
    """Judge a result and compare its figures with the server's."""
    offered_rps = shape.offered_rps(plan.send_times_s)
    facts = {
        **result.facts,
        "offered_rps": offered_rps,
        "stationary": shape.open_loop and shape.stationary and offered_rps is not None,
        "max_in_flight": shape.max_in_flight,
        "ignore_eos": case.load.ignore_eos,
        "prefix_cache_intended": False,
        "client_cpu_fraction": 0.1,
        "client_wait_fraction": 0.0,
    }
    round_trip_ms = 2 * float(server.behaviour.network_ms)
    facts |= {"server_connect_ms": round_trip_ms, "server_answer_ms": round_trip_ms + METRICS_MS}
    series = published_series(server.truth, result.records, streamed=case.load.stream)
    window = Window.of(mark_phases(result.records, 0.0, 0.0), facts=Facts(facts), series=series)
    verdict, reasons = judge(window, ValidityLimits())
    has = {"requests", "latency", "tokens", "generated"}
    has |= {"stream"} if plan.streamed else set()
    has |= {"schedule"} if shape.open_loop else set()
    figures = {value.key: value.value for value in summarize(window, has)}
    truth = true_figures(case, server.truth, float(server.behaviour.network_ms))
    wrong = {name: pair for name in truth if not _agree(name, *(pair := (figures.get(name), truth[name])))}
    if case.behaviour.fault("repeated_message") and figures.get("failed", 0.0) <= 0.01 * case.load.count:
        for name in COUNTS:  # the request whose answer was preceded by a repeated one is rightly counted as failed
            wrong.pop(name, None)
    if case.utilization > OVERLOADED:
        wrong["overload"] = (case.utilization, None)
    return Outcome(
        case=case,
        verdict=verdict,
        reasons=reasons,
        figures=figures,
        truth={name: value for name, value in truth.items() if value is not None},
        wrong=wrong,
        result=result,
    )


def published_series(answers: Mapping[int, TrueAnswer], records: Records, *, streamed: bool) -> tuple[Series, ...]:
    """Return what the server would publish of its latencies at ``/metrics``, read before and after the load."""
    completed = [answer for answer in answers.values() if answer.completed]
    latencies_ms = {"e2el": [(_true_end_ns(answer, streamed) - answer.received_ns) / 1e6 for answer in completed]}
    if streamed:
        latencies_ms["ttft"] = [(answer.steps_ns[0][0] - answer.received_ns) / 1e6 for answer in completed]
        latencies_ms["itl"] = [
            float(gap) / 1e6 for answer in completed for steps in answer.steps_ns for gap in np.diff(np.array(steps))
        ]
    times_ns = np.array([records.scheduled_ns.min() - 1, records.done_ns.max() + 1])
    totals = {f"{name}_sum_ms": sum(values) for name, values in latencies_ms.items()}
    totals |= {f"{name}_count": len(values) for name, values in latencies_ms.items()}
    return tuple(
        Series(name=f"server.{name}", unit="", times_ns=times_ns, values=np.array([0.0, total]))
        for name, total in totals.items()
    )


def true_figures(case: Case, answers: Mapping[int, TrueAnswer], network_ms: float) -> dict[str, float | None]:
    """Return the main figures by the server's own account; None where there is none."""
    completed = [answer for answer in answers.values() if answer.completed]
    figures: dict[str, float | None] = {
        "completed": float(len(completed)),
        "failed": float(case.load.count - len(completed)),
    }
    streamed = case.load.stream
    e2el = [(_true_end_ns(answer, streamed) - answer.received_ns) / 1e6 for answer in completed]
    figures |= _statistics("e2el", e2el)
    first = [(answer.steps_ns[0][0] - answer.received_ns) / 1e6 for answer in completed] if streamed else []
    figures |= _statistics("ttft", first)
    figures |= _statistics("tpot", _true_tpot_ms(completed) if streamed else [])
    steps = [steps_ns for answer in completed for steps_ns in answer.steps_ns] if streamed else []
    figures |= _statistics("itl", np.concatenate([np.diff(np.array(step)) / 1e6 for step in steps]) if steps else [])
    if completed:
        ends = [a.end_ns if a.end_ns >= 0 else a.received_ns + int(case.load.timeout_s * 1e9) for a in answers.values()]
        starts = [answer.received_ns for answer in answers.values()]
        span_s = (max(ends) - min(starts)) / 1e9 + 2 * network_ms / 1e3
        tokens = sum(answer.tokens for answer in completed)
        figures["request_throughput"] = len(completed) / span_s
        figures["output_throughput"] = tokens / span_s
        figures["mean_output_tokens"] = tokens / len(completed)
    return figures


def _true_end_ns(answer: TrueAnswer, streamed: bool) -> int:
    """Return the last step of generation. (Without text it does not count after a single chunk: decision 2.)"""
    single = streamed and len(answer.steps_ns[0]) == 1
    return answer.steps_ns[0][-1] if single else answer.generated_ns


def _true_tpot_ms(answers: list[TrueAnswer]) -> list[float]:
    return [
        (answer.generated_ns - steps_ns[0]) / 1e6 / (answer.tokens / len(answer.steps_ns) - 1)
        for answer in answers
        for steps_ns in answer.steps_ns
        if len(steps_ns) > 1
    ]


def _statistics(name: str, values: object) -> dict[str, float | None]:
    column = np.asarray(values, dtype=np.float64)
    if not len(column):
        return {f"{statistic}_{name}_ms": None for statistic in ("mean", "median", "p99")}
    median, p99 = np.percentile(column, (50, 99)).tolist()
    return {f"mean_{name}_ms": float(column.mean()), f"median_{name}_ms": median, f"p99_{name}_ms": p99}


def _agree(name: str, measured: float | None, true: float | None) -> bool:
    if measured is None or true is None:
        return measured is None and true is None
    return abs(measured - true) <= RELATIVE * abs(true) + (ABSOLUTE_MS if name.endswith("_ms") else 1e-9)

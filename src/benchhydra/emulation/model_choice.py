"""Which model describes a server better: both are fitted, and compared by the latencies that they compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchhydra.emulation.queue_model import QueueModel
from benchhydra.emulation.server_model import Arrivals, Latencies, ServerModel
from benchhydra.emulation.step_model import StepModel

#: Models are compared by so many computations of so many requests.
COMPARED_REPLICAS, COMPARED_REQUESTS = 8, 2000


def fit_server(requests: Arrivals, latencies: Latencies, rng: np.random.Generator) -> ServerModel:
    """The model whose latencies are most like the measured ones. requests: in the order of sending."""
    few = Arrivals(*(column[:COMPARED_REQUESTS] for column in requests))
    measured = Latencies(*(column[:COMPARED_REQUESTS] for column in latencies))
    return min(
        _models(requests, latencies),
        key=lambda model: _unlike([model.latencies(few, rng) for _ in range(COMPARED_REPLICAS)], measured),
    )


def fit_server_to_burst(requests: Arrivals, latencies: Latencies, rng: np.random.Generator) -> ServerModel:
    """The model of requests that were sent all at once: connections race each other, and are accepted one by one.

    So the server may take the requests in the order of their answers, and a delay of all of them is that of the burst.
    """
    requests = requests._replace(sent_s=np.zeros(len(requests.sent_s)))
    order = np.argsort(latencies.ttft_ms, kind="stable")
    ordered, measured = Arrivals(*(column[order] for column in requests)), _by_answer(latencies)
    model = min(
        [QueueModel.fit(requests, latencies), *_models(ordered, measured)],
        key=lambda model: _unlike(
            [_by_answer(model.latencies(ordered, rng)) for _ in range(COMPARED_REPLICAS)], measured
        ),
    )
    return replace(model, offset_s=0.0) if isinstance(model, StepModel) else model


def _models(requests: Arrivals, latencies: Latencies) -> list[ServerModel]:
    queue = QueueModel.fit(requests, latencies)
    stepped = StepModel.fit(requests, latencies, queue.slots)
    return [queue] if stepped is None else [queue, stepped]


def _by_answer(latencies: Latencies) -> Latencies:
    order = np.argsort(latencies.ttft_ms, kind="stable")
    return Latencies(*(column[order] for column in latencies))


def _unlike(replicas: Sequence[Latencies], measured: Latencies) -> float:
    """How unlike computed and measured latencies are: a product of scores of TTFT and of E2E latency.

    It is the continuous ranked probability score, which is least for the model that gives the right mean and the right
    scatter (T. Gneiting and A. E. Raftery, "Strictly proper scoring rules, prediction, and estimation", 2007).
    """
    score, count = 1.0, len(replicas)
    for name in ("ttft_ms", "e2el_ms"):
        computed = np.sort([getattr(replica, name) for replica in replicas], axis=0)
        ranks = 2 * np.arange(count) + 1 - count
        apart = 2 * (ranks[:, None] * computed).sum(axis=0) / (count * (count - 1))  # mean difference of two replicas
        score *= max(float((np.abs(computed - getattr(measured, name)).mean(axis=0) - apart / 2).mean()), 0.0)
    return score

"""``load=exchanges``: pairs of requests, the second one a think time after the answer to the first one."""

import numpy as np

from benchhydra.loadgen.pacing import Pacing, Seconds
from benchhydra.loadgen.pacing.dynamic_schedule import DynamicSchedule
from benchhydra.loads import LoadShape
from benchhydra.registry import knob, option


@option("load", "exchanges")
class Exchanges(LoadShape):
    """Pairs of requests that wait for each other, qps / 2 of them per second."""

    think_s: float = knob(0.1, "time between an answer and the next request", unit="s")

    open_loop = False

    def send_times_s(self, count: int, rng: np.random.Generator, recorded_s: Seconds | None = None) -> Seconds:
        return np.asarray(np.arange(count) // 2 * (2 / self.qps), dtype=np.float64)

    def pacing(self, send_times_s: Seconds) -> Pacing:
        pacing = ExchangePacing(send_times_s, self.max_in_flight)
        pacing.think_ns = round(self.think_s * 1e9)
        return pacing


class ExchangePacing(DynamicSchedule):
    think_ns = 0

    def plan_first(self, start_ns: int) -> None:
        for row in range(0, len(self.send_times_s), 2):
            self.plan(row, start_ns + int(self.send_times_s[row] * 1e9))

    def plan_after(self, row: int, ended_ns: int) -> None:
        if row % 2 == 0 and row + 1 < len(self.send_times_s):
            self.plan(row + 1, ended_ns + self.think_ns)

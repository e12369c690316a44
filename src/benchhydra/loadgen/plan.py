"""The load generator's input (``LoadPlan``) and output (``LoadResult``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchhydra.client import Endpoint
from benchhydra.client.apis import RequestOptions
from benchhydra.client.request_store import RequestStore
from benchhydra.loadgen.client_behaviour import ClientBehaviour
from benchhydra.loadgen.early_stop import EarlyStop
from benchhydra.loadgen.pacing import Pacing, Seconds
from benchhydra.loadgen.pacing.default import default_pacing
from benchhydra.records import Records
from benchhydra.series import Series

#: The label of a request, and of its row, that says which of several servers it is for.
REPLICA = "replica"


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """The requests and their send times. send_times_s: seconds from the start, shape (n,), not decreasing.

    pacing: decides which request is sent next; None: ``default_pacing``, which is a closed loop if all send times are
    equal and ``max_in_flight`` is set, and otherwise the schedule ``send_times_s``.
    """

    endpoint: Endpoint
    requests: RequestStore
    send_times_s: Seconds
    pacing: Pacing | None = None
    max_in_flight: int | None = None
    options: RequestOptions = field(default_factory=RequestOptions)  # the options that the requests were encoded with
    timeout_s: float = 600.0  # for each request, from its send time
    processes: str = "auto"
    executor: str = "local"  # "ray": processes on the nodes of a Ray cluster
    keep_text: bool = False
    early_stop: EarlyStop | None = None  # only with one client process
    behaviour: ClientBehaviour = field(default_factory=ClientBehaviour)

    @property
    def streamed(self) -> bool:
        """Whether answers come as streams of events."""
        return self.endpoint.api.streamed(self.options)

    def make_pacing(self) -> Pacing:
        """Return the plan's pacing, or a new default one."""
        return self.pacing or default_pacing(self.send_times_s, self.max_in_flight)


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """The outcome of a plan.

    facts and series: about the load generator itself, see ``client_facts``. texts: the generated text of each request
    of the plan ("" if none was received); None without ``keep_text``.
    """

    records: Records
    facts: Mapping[str, Any]
    series: tuple[Series, ...] = ()
    texts: tuple[str, ...] | None = None

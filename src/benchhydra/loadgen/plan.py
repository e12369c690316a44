"""What to send, and what came of it: the two types between the load generator and those who use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import RequestOptions
from benchhydra.loadgen.pacing import Pacing, Seconds
from benchhydra.loadgen.pacing.default import default_pacing
from benchhydra.records import Records


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """What to send and when. send_times_s: seconds from the start, shape (n,), not decreasing.

    pacing: decides which request is sent next. Where it is None and all send times are equal and ``max_in_flight`` is
    given, the load is a closed loop; in all other cases each request is scheduled at its send time, and waiting for
    room counts as waiting.
    """

    endpoint: Endpoint
    requests: Requests
    send_times_s: Seconds
    pacing: Pacing | None = None
    max_in_flight: int | None = None
    options: RequestOptions = field(default_factory=RequestOptions)  # what the requests were encoded with
    timeout_s: float = 600.0  # of one request, from its sending
    processes: str = "auto"
    executor: str = "local"  # "ray": processes on the nodes of a Ray cluster
    keep_text: bool = False

    @property
    def streamed(self) -> bool:
        """Whether answers come as streams of events."""
        return self.endpoint.api.streamed(self.options)

    def make_pacing(self) -> Pacing:
        """The plan's own pacing, or a new one of the default kind."""
        return self.pacing or default_pacing(self.send_times_s, self.max_in_flight)


@dataclass(frozen=True, kw_only=True)
class LoadResult:
    """What came of a plan.

    facts: what the load generator knows of itself, see ``client_facts``. texts: generated texts with ``keep_text``, by
    request of the plan ("" where none came), else None.
    """

    records: Records
    facts: Mapping[str, Any]
    texts: tuple[str, ...] | None = None

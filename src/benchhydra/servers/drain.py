"""Wait until a server is empty after an overload: it may still work on requests whose client no longer waits for them.

A point that begins before that measures what the point before it has left, and a search would find a lower capacity
on the way down than on the way up. The server's gauges of running and waiting requests tell; for a server without them,
short requests are sent until two in a row take equally long.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace

from benchhydra.progress import Progress
from benchhydra.servers import Drain
from benchhydra.servers.health import ControlPlane
from benchhydra.servers.prefix_probe import one_token_request

DRAIN_TIMEOUT_S = 120.0
POLL_S = 0.1
#: Gauges of requests that a server works on or keeps in its queue: vLLM's, SGLang's, llama.cpp's, TGI's.
_LOAD = re.compile(
    r"^(?:vllm:num_requests_(?:running|waiting)|sglang:num_(?:running|queue)_reqs"
    r"|llamacpp:requests_(?:processing|deferred)|tgi_(?:batch_current|queue)_size)"
    r"(?:\{[^}\n]*\})?[ \t]+([\d.eE+-]+)",
    re.M,
)
#: Two short requests take equally long if the later one is not faster by more than this.
SAME_FRACTION, SAME_S = 0.2, 0.005


def wait_until_empty(control: ControlPlane, progress: Progress, timeout_s: float = DRAIN_TIMEOUT_S) -> Drain:
    """Wait until a server has no request left, at most ``timeout_s``."""
    started_s = time.monotonic()
    deadline_s = started_s + timeout_s
    requests = requests_on_server(control)
    empty = _answers_steadily(control, deadline_s) if requests is None else requests == 0
    while not empty and requests is not None and time.monotonic() < deadline_s:
        progress.status(f"waiting until the overloaded server is empty: {requests:g} requests left")
        time.sleep(POLL_S)
        requests = requests_on_server(control)
        empty = requests == 0
    return Drain(wall_s=time.monotonic() - started_s, empty=empty)


def requests_on_server(control: ControlPlane) -> float | None:
    """The number of requests that a server runs or keeps waiting, by its metrics; None if it does not say."""
    answer = control.ask("/metrics")
    if answer is None or not answer.ok:
        return None
    values = _LOAD.findall(answer.body.decode(errors="replace"))
    return sum(map(float, values)) if values else None


def _answers_steadily(control: ControlPlane, deadline_s: float) -> bool:
    """Whether two short requests in a row took equally long before the deadline; True if none can be sent."""
    body = one_token_request(control, words=1)
    if body is None:
        return True
    before_s = float("inf")
    while (left_s := deadline_s - time.monotonic()) > 0:
        started_s = time.monotonic()
        answer = replace(control, timeout_s=left_s).ask(control.api("/completions"), "POST", json=body)
        took_s = time.monotonic() - started_s
        if answer is not None and not answer.ok:
            return True  # it refuses such requests, at once
        if answer is not None and took_s > before_s * (1 - SAME_FRACTION) - SAME_S:
            return True
        before_s = took_s if answer is not None else before_s
    return False

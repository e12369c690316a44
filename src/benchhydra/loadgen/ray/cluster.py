"""Ray: a cluster that is there (RAY_ADDRESS), or one of our own on this machine, which listens on loopback alone.

A process connects once and stays connected until it leaves or ends, because starting a cluster takes seconds.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from benchhydra import interruption
from benchhydra.errors import ConfigError, EngineError

ADDRESS = "RAY_ADDRESS"
_FREEING_S = 10.0
_POLL_S = 0.1
#: Nothing is reported to anybody; and the future of a default, of which Ray warns, is chosen now.
_ALWAYS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
#: Ray's own switch for machines that are no cluster: every port is on loopback. With it go tokens, without a notice.
_ALONE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
_QUIET = {"include_dashboard": False, "log_to_driver": False, "configure_logging": False}


def require_ray(what: str) -> None:
    """Raise ConfigError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(f"{what} needs Ray, which is not installed", hint="pip install 'benchhydra[ray]'")


def connect(cpus: int, options: Mapping[str, Any] | None = None) -> bool:
    """Connect this process, where it is not yet: to RAY_ADDRESS, or to a new cluster of this machine with ``cpus``.

    options: arguments of ``ray.init`` that the user has chosen. Returns whether this machine is all there is.
    Raises EngineError where there is no connection.
    """
    chosen = {key: value for key, value in (options or {}).items() if value is not None}
    address = chosen.get("address") or os.environ.get(ADDRESS) or "local"
    alone = address == "local"
    for name, value in (_ALWAYS | (_ALONE if alone else {})).items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return alone
    settings = {**_QUIET, **({"num_cpus": cpus} if alone else {}), **chosen, "address": address}
    try:
        with _signals_wait():
            ray.init(**settings)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())[:300]
        hint = "" if alone else f"{ADDRESS}=HOST:6379 of a running cluster, or unset it"
        raise EngineError(f"no connection to Ray at {address}: {text}", hint=hint) from error
    return alone


def nodes() -> list[dict[str, float]]:
    """The resources of each node that lives: CPU, GPU and others."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def disconnect() -> None:
    """Disconnect; a cluster of our own ends."""
    import ray

    ray.shutdown()


def free_cpus(wanted: int) -> int:
    """CPUs of the cluster that nobody holds: waits a little for so many, because actors that ended give theirs back."""
    import ray

    deadline_s = time.monotonic() + _FREEING_S
    while (free := int(ray.available_resources().get("CPU", 0))) < wanted and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)
    return free


@contextmanager
def _signals_wait() -> Iterator[None]:
    """What comes while Ray starts unwinds when it has: raised inside, it was seen to leave locks that stay taken.

    Ray would take SIGTERM for itself, and exit.
    """
    from ray._private import utils

    theirs, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda handler: None
    asked: list[int] = []
    try:
        with interruption.stop_on_signal(lambda: None) as asked:
            yield
    finally:
        utils.set_sigterm_handler = theirs
        if asked:
            signal.alarm(0)  # Ray's native handler, where it came first, has set one that aborts
            interruption.unwind(asked[0])

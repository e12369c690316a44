"""The connection to Ray: a running cluster (RAY_ADDRESS), or a new one on this machine that listens only on loopback.

A process connects once and stays connected until it disconnects or exits, because starting a cluster takes seconds.
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
from benchhydra.escaping import printable
from benchhydra.redaction import excerpt

ADDRESS = "RAY_ADDRESS"
_FREEING_S = 10.0
_POLL_S = 0.1
#: No usage reports. The second is the future default of a setting; without it Ray prints a warning.
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
#: The first makes Ray listen only on loopback (its switch for single machines); the second sets token authentication.
_LOCAL_ENVIRONMENT = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
_QUIET = {"include_dashboard": False, "log_to_driver": False, "configure_logging": False}


def require_ray(what: str) -> None:
    """Raise ConfigError if Ray is not installed. what: the setting that needs it."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(f"{what} needs Ray, which is not installed", hint="pip install 'benchhydra[ray]'")


def connect(cpus: int, options: Mapping[str, Any] | None = None) -> bool:
    """Connect this process, unless it is connected: to RAY_ADDRESS, or to a new cluster on this machine with ``cpus``.

    options: the user's arguments for ``ray.init``. Returns whether the cluster is local to this machine. Raises
    EngineError if the connection fails.
    """
    chosen = {key: value for key, value in (options or {}).items() if value is not None}
    address = chosen.get("address") or os.environ.get(ADDRESS) or "local"
    local = address == "local"
    for name, value in (_ENVIRONMENT | (_LOCAL_ENVIRONMENT if local else {})).items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        return local
    settings = {**_QUIET, **({"num_cpus": cpus} if local else {}), **chosen, "address": address}
    try:
        with _signals_deferred():
            ray.init(**settings)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        text = excerpt(printable(str(error)), 300)
        hint = "" if local else f"{ADDRESS}=HOST:6379 of a running cluster, or unset it"
        raise EngineError(f"cannot connect to Ray at {address}: {text}", hint=hint) from error
    return local


def nodes() -> list[dict[str, float]]:
    """Return the resources of each live node: CPU, GPU and others."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def disconnect() -> None:
    """Disconnect; this also stops a cluster that ``connect`` started."""
    import ray

    ray.shutdown()


def free_cpus(wanted: int) -> int:
    """Return the free CPUs of the cluster. Waits up to 10 s for ``wanted``, as ended actors release theirs late."""
    import ray

    deadline_s = time.monotonic() + _FREEING_S
    while (free := int(ray.available_resources().get("CPU", 0))) < wanted and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)
    return free


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Defer signals until the block (``ray.init``) ends: an exception inside was seen to leave locks held forever.

    Also keeps Ray from installing its SIGTERM handler, which exits the process.
    """
    from ray._private import utils

    set_sigterm_handler, utils.set_sigterm_handler = utils.set_sigterm_handler, lambda handler: None
    signals: list[int] = []
    try:
        with interruption.stop_on_signal(lambda: None) as signals:
            yield
    finally:
        utils.set_sigterm_handler = set_sigterm_handler
        if signals:
            signal.alarm(0)  # Ray's native handler, if it ran first, has set an alarm that aborts the process
            interruption.unwind(signals[0])

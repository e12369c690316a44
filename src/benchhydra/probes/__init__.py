"""Probes: what is observed while a load runs. A new one is one file here, or in ``benchhydra_plugins``.

A probe is a subclass of ``Probe`` with a name. All probes of a point run in one helper process (``probes/helper.py``),
so that they take neither the client's core nor its interpreter lock. This module is imported there: keep it light
(no ``dataclasses``, ``pathlib`` or ``urllib``: 24 ms together).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, ClassVar, NamedTuple

from benchhydra.errors import ConfigError


class Sample(NamedTuple):
    """One value of one series. ``labels`` tell several series of one name apart: ``{"gpu": "0"}``.

    The series is called after its probe too: ``requests_running`` of the probe ``server`` becomes
    ``server.requests_running``.
    """

    name: str
    unit: str
    value: float
    labels: Mapping[str, str] = {}


class ProbeTarget(NamedTuple):
    """What the probes of one point may observe while its load runs.

    ``base_url``: the HTTP server's, "" for an offline engine. ``server_pid``: the root of its process tree, None for a
    server that benchhydra did not start. ``gpus``: NVML indices. ``client_pid``: the process that sends the load.
    ``replica_urls``, ``server_pids``: of all servers, if there are several; ``server_pid`` is the first then.
    ``client_thread``: the native id of the thread that sends, None for an offline engine (the client sends nothing).
    """

    client_pid: int
    client_thread: int | None = None
    base_url: str = ""
    headers: Mapping[str, str] = {}
    verify_tls: bool = True
    ca_file: str | None = None
    server_pid: int | None = None
    gpus: tuple[int, ...] = ()
    replica_urls: tuple[str, ...] = ()
    server_pids: tuple[int, ...] = ()

    def __repr__(self) -> str:
        """Return the fields without the headers, which may contain a key."""
        fields = (f"{name}={value!r}" for name, value in self._asdict().items() if name != "headers")
        return f"ProbeTarget({', '.join(fields)})"


class Probe:
    """Base of all probes. One object watches one point, in a thread of its own in the helper process.

    The helper calls ``applies``, ``start``, ``sample`` just before the load, again every ``probes.interval_s`` while it
    runs, once more just after it, and ``stop``. An exception switches the probe off for this point, with a warning.
    """

    #: The probe's name in ``probes.off`` and in warnings; also the prefix of its series' names.
    name: ClassVar[str] = ""
    #: Minimum time between two samples, for a probe whose sampling slows down the server or the client. A probe may
    #: change it while it samples.
    min_interval_s: float = 0.0
    #: Whether its facts and series are valid only if a single process sends the whole load.
    single_client_only: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.name:
            _register(cls)

    def applies(self, target: ProbeTarget) -> bool:
        """Return whether the probe can observe this target. If False, it is left out without a warning."""
        return True

    def start(self, target: ProbeTarget) -> None:
        """Open the files and connections that sampling needs; called while the load is being prepared."""

    def sample(self) -> Iterable[Sample]:
        """Return the current values. Values that are not finite are dropped."""
        return ()

    def stop(self) -> Mapping[str, Any]:
        """Return facts (see ``benchhydra.facts``) about the time between the first and the last sample.

        Values are numbers, strings, booleans and tuples of these. Omit a fact whose value could not be determined.
        """
        return {}


_probes: dict[str, type[Probe]] = {}


def probes() -> dict[str, type[Probe]]:
    """All probes, by name: of this package and of ``benchhydra_plugins``."""
    _discover()
    return dict(sorted(_probes.items()))


@cache
def _discover() -> None:
    from benchhydra import registry  # start-up time: the helper process imports its probes by name

    registry.import_modules(__name__)
    registry.import_plugins()


def _register(cls: type[Probe]) -> None:
    other = _probes.setdefault(cls.name, cls)
    if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ConfigError(f"two probes are called {cls.name}: {other.__module__} and {cls.__module__}")
    _probes[cls.name] = cls

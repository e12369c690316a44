"""Probes: what is observed while a load runs. A new one is one file here, or in ``benchhydra_plugins``.

A probe is a subclass of ``Probe`` with a name. All probes of a point run in one helper process (``probes/helper.py``),
so that they take neither the client's core nor its interpreter lock. This module is imported there: keep it light.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple


class Sample(NamedTuple):
    """One value of one series. ``labels`` tell several series of one name apart: ``{"gpu": "0"}``.

    The series is called after its probe too: ``requests_running`` of the probe ``server`` becomes
    ``server.requests_running``.
    """

    name: str
    unit: str
    value: float
    labels: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class ProbeTarget:
    """What there is to look at while a load runs.

    ``base_url``: the HTTP server's, "" for an offline engine. ``server_pid``: the root of its process tree, None for a
    server that we did not start. ``gpus``: NVML indices. ``client_pid``: the process that drives the load.
    ``client_thread``: the native id of the thread that sends, None where the client sends nothing (an offline engine).
    """

    client_pid: int
    client_thread: int | None = None
    base_url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify_tls: bool = True
    ca_file: str | None = None
    server_pid: int | None = None
    gpus: tuple[int, ...] = ()


class Probe:
    """Base of all probes. One object watches one point, in a thread of its own in the helper process.

    The helper calls ``applies``, ``start``, ``sample`` just before the load, again every ``probes.interval_s`` while it
    runs, once more just after it, and ``stop``. An exception switches the probe off for this point, with a warning.
    """

    #: Of the probe: in ``probes.off``, in warnings, and the first part of its series' names.
    name: ClassVar[str] = ""
    #: Least time between two samples, for a probe whose sampling costs those that it watches something.
    min_interval_s: ClassVar[float] = 0.0
    #: Whether what it finds holds only where one process, the one that watches, is the whole client.
    single_client_only: ClassVar[bool] = False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.name:
            _register(cls)

    def applies(self, target: ProbeTarget) -> bool:
        """Whether there is anything to look at. Where there is not, the probe is left out in silence."""
        return True

    def start(self, target: ProbeTarget) -> None:
        """Open what sampling needs, while the load is still being prepared."""

    def sample(self) -> Iterable[Sample]:
        """What is seen now. Values that are not finite are left out."""
        return ()

    def stop(self) -> Mapping[str, Any]:
        """Facts (see ``benchhydra.facts``) on the time between the first and the last sample. Unknown is absent.

        Values are numbers, texts, booleans and tuples of these.
        """
        return {}


_probes: dict[str, type[Probe]] = {}


def probes() -> dict[str, type[Probe]]:
    """All probes that have been imported, by name."""
    return dict(sorted(_probes.items()))


def _register(cls: type[Probe]) -> None:
    other = _probes.setdefault(cls.name, cls)
    if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        from benchhydra.errors import ConfigError  # start-up time: 0.15 s, in the helper process

        raise ConfigError(f"two probes are called {cls.name}: {other.__module__} and {cls.__module__}")
    _probes[cls.name] = cls

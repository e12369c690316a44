"""``Watch``: the probes of one point, from before its load to after it.

    with Watch.start(target_of(lease), settings) as watch:
        ...                      # make the prompts, warm up: the helper process starts meanwhile
        watch.begin()            # the probes' first samples
        ...                      # the load
        observation = watch.end(client_processes=1)

An error in a probe or in the helper process never fails the run: the facts and series of the probe are missing, and a
warning gives the reason.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from benchhydra.facts import declared_facts
from benchhydra.probes import Probe, ProbeTarget, probes
from benchhydra.probes.helper_process import (
    HelperLost,
    HelperProcess,
    helper_is_idle,
    idle_or_new_helper,
    keep_for_next_point,
)
from benchhydra.probes.settings import ProbeSettings
from benchhydra.series import Series
from benchhydra.servers import Lease

#: How long ``begin`` and ``end`` wait for the probes; a probe that takes longer is abandoned.
PATIENCE_S = 1.5
#: So much longer they wait for the helper itself.
ANSWER_S = 0.5
_VALUE_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The probes' results: facts by declared name, series on the client's monotonic clock, and reasons for gaps."""

    facts: Mapping[str, Any]
    series: tuple[Series, ...]
    warnings: tuple[str, ...] = ()


def target_of(lease: Lease, headers: Mapping[str, str] | None = None, *, client_sends: bool = True) -> ProbeTarget:
    """Return what the probes observe for a point on this server whose load is sent by the calling thread.

    ``client_sends``: False for an offline engine, to which this process sends no requests during the load.
    """
    return ProbeTarget(
        client_pid=os.getpid(),
        client_thread=threading.get_native_id() if client_sends else None,
        base_url=lease.base_url,
        headers=dict(headers or {}),
        verify_tls=lease.verify_tls,
        ca_file=lease.ca_file,
        server_pid=lease.pid,
        gpus=lease.gpus,
        replica_urls=lease.replica_urls,
        server_pids=lease.pids,
    )


def start_helper(settings: ProbeSettings) -> None:
    """Start the helper process of the next ``Watch`` while a server starts, because its imports take 60 ms.

    Errors are ignored here: ``Watch.start`` meets them again and warns.
    """
    with contextlib.suppress(OSError, HelperLost):
        enabled = _enabled_probes(settings)
        if enabled and not helper_is_idle():
            helper = idle_or_new_helper()
            keep_for_next_point(helper)
            helper.send({"do": "import", "path": sys.path, "modules": [probe.__module__ for probe in enabled]})


class Watch:
    """The probes of one point. Use it once; the next point's ``Watch`` reuses the helper process."""

    def __init__(self, helper: HelperProcess | None) -> None:
        self._helper = helper  # None: all probes are off, or the helper was lost
        self._warnings: list[str] = []

    @classmethod
    def start(cls, target: ProbeTarget, settings: ProbeSettings) -> Watch:
        """Start the probes, without waiting for them. For a target without GPUs, those of the settings are watched."""
        target = target._replace(gpus=target.gpus or tuple(settings.gpus))
        enabled = _enabled_probes(settings)
        watch = cls(None)
        if not enabled:
            return watch
        try:
            watch._helper = idle_or_new_helper()
            watch._helper.send(
                {
                    "do": "start",
                    "path": sys.path,
                    "probes": [_description(probe) for probe in enabled],
                    "target": target._asdict(),
                    "interval_s": settings.interval_s,
                    "patience_s": PATIENCE_S,
                }
            )
        except (HelperLost, OSError) as error:
            watch._lose(error)
        return watch

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the helper if the point was not ended: an interrupted one may leave unread answers in the pipe."""
        if self._helper is not None:
            self._helper.close()
            self._helper = None

    def begin(self) -> None:
        """Take the first samples, just before the load."""
        if self._helper is None:
            return
        try:
            self._helper.ask({"do": "begin"}, time.monotonic() + PATIENCE_S + ANSWER_S)
        except HelperLost as error:
            self._lose(error)

    def end(self, *, client_processes: int) -> Observation:
        """Take the last samples, just after the load, and return facts, series and warnings.

        ``client_processes``: how many processes sent the load; if over 1, ``single_client_only`` probes are dropped.
        """
        findings: list[_Findings] = []
        if self._helper is not None:
            try:
                findings = _collect(self._helper, time.monotonic() + PATIENCE_S + ANSWER_S)
            except HelperLost as error:
                self._lose(error)
        self._release_helper(reusable=not any(finding.stuck for finding in findings))
        self._warnings += [
            f"the probe {finding.probe} was switched off: {finding.error}" for finding in findings if finding.error
        ]
        valid = [f for f in findings if client_processes == 1 or not probes()[f.probe].single_client_only]
        facts = {name: value for finding in valid for name, value in finding.facts.items()}
        return Observation(
            facts=self._declared(facts),
            series=tuple(series for finding in valid for series in finding.series),
            warnings=tuple(self._warnings),
        )

    def _lose(self, error: Exception) -> None:
        text = (error.strerror if isinstance(error, OSError) else None) or str(error)
        self._warnings.append(f"the helper process of the probes was lost ({text}): their facts and series are unknown")
        if self._helper is not None:
            self._helper.kill()
            self._helper = None

    def _release_helper(self, *, reusable: bool) -> None:
        helper, self._helper = self._helper, None
        if helper is not None and reusable:
            keep_for_next_point(helper)
        elif helper is not None:
            helper.close()

    def _declared(self, facts: dict[str, Any]) -> dict[str, Any]:
        undeclared = facts.keys() - declared_facts().keys()
        if undeclared:
            names = ", ".join(sorted(undeclared))
            self._warnings.append(f"probes returned facts that are not declared with fact(...): {names}")
        return {name: value for name, value in facts.items() if name not in undeclared}


@dataclass(frozen=True, kw_only=True)
class _Findings:
    """The results of one probe. ``stuck``: its thread hangs."""

    probe: str
    facts: dict[str, Any]
    series: list[Series]
    error: str | None
    stuck: bool


def _collect(helper: HelperProcess, deadline_s: float) -> list[_Findings]:
    """End the point and return the findings of every probe. Raises HelperLost."""
    answer = helper.ask({"do": "end"}, deadline_s)
    return [
        _Findings(
            probe=document["name"],
            facts={name: _with_tuples(value) for name, value in document["facts"].items()},
            series=[_read_series(helper, document["name"], head, deadline_s) for head in document["series"]],
            error=document["error"],
            stuck=document["stuck"],
        )
        for document in answer["probes"]
    ]


def _read_series(helper: HelperProcess, probe: str, head: Mapping[str, Any], deadline_s: float) -> Series:
    size = head["count"] * _VALUE_BYTES
    return Series(
        name=f"{probe}.{head['name']}",
        unit=head["unit"],
        labels=head["labels"],
        times_ns=np.frombuffer(helper.read(size, deadline_s), np.int64),
        values=np.frombuffer(helper.read(size, deadline_s), np.float64),
    )


def _with_tuples(value: Any) -> Any:
    """Turn lists into tuples, recursively: JSON has turned the tuples of a fact into lists."""
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _enabled_probes(settings: ProbeSettings) -> list[type[Probe]]:
    return [probe for name, probe in probes().items() if name not in settings.off]


def _description(probe: type[Probe]) -> dict[str, str]:
    return {"name": probe.name, "module": probe.__module__, "class": probe.__qualname__}

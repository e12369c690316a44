"""A run as comparisons see it: who, where, when, and its metrics. Small, so that tens of thousands fit in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from benchhydra.artifacts import RESULT_FILE
from benchhydra.result import Better, Result, Verdict

UNKNOWN_MACHINE = "unknown"


class MetricKind(msgspec.Struct, frozen=True):
    """Unit and direction of a metric."""

    unit: str
    better: Better


class Run(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One ``result.json``, without its config and texts. ``source`` is its file, or where it was downloaded from."""

    run_id: str
    point_key: str
    verdict: Verdict
    status: str
    epoch_time: float
    machine: str = UNKNOWN_MACHINE
    sweep_id: str = ""
    script: str = ""
    model: str = ""
    dataset: str = ""
    qps: str = ""
    description: str = ""
    engine_version: str = ""
    commit: str = ""
    source: str = ""
    reasons: tuple[str, ...] = ()
    metrics: dict[str, float] = {}

    @property
    def usable(self) -> bool:
        """Whether its figures may take part in a comparison."""
        return self.verdict is not Verdict.INVALID and self.status == "ok"

    @property
    def label(self) -> str:
        """What a reader calls its point: script, model, dataset, rate."""
        parts = (self.script, self.model, self.dataset, f"qps={self.qps}" if self.qps else "")
        return " ".join(part for part in parts if part) or self.point_key

    @property
    def directory(self) -> Path | None:
        """Its point directory, where it was read from a file."""
        return Path(self.source).parent if self.source.endswith(RESULT_FILE) else None


class Runs(msgspec.Struct):
    """Runs of one source, oldest first, and what their metrics are. ``faults``: files that were left out, and why."""

    runs: list[Run]
    kinds: dict[str, MetricKind]
    faults: list[str] = []

    @classmethod
    def joined(cls, parts: list[Runs]) -> Runs:
        """All runs of several sources, each once, oldest first."""
        found = {run.run_id: run for part in parts for run in part.runs}
        kinds: dict[str, MetricKind] = {}
        for part in parts:
            kinds |= part.kinds
        faults = [fault for part in parts for fault in part.faults]
        return cls(sorted(found.values(), key=lambda run: run.epoch_time), kinds, faults)


def runs_of_results(results: list[Result], source: str = "") -> Runs:
    """Runs of results that are in memory."""
    runs = [run_of_result(result, source) for result in results]
    kinds = {key: MetricKind(m.unit, m.better) for result in results for key, m in result.metrics.items()}
    return Runs.joined([Runs(runs, kinds)])


def run_of_result(result: Result, source: str = "") -> Run:
    """The run of a result."""
    environment: dict[str, Any] = result.environment
    return Run(
        run_id=result.run_id,
        point_key=result.point_key,
        verdict=result.verdict,
        status=result.status,
        epoch_time=result.epoch_time,
        machine=str(environment.get("machine_class") or UNKNOWN_MACHINE),
        sweep_id=result.sweep_id or "",
        script=result.script,
        model=result.model,
        dataset=result.dataset,
        qps=_rate(result.config.get("qps")),
        description=result.description,
        engine_version=result.engine_version or "",
        commit=str((environment.get("git") or {}).get("commit", "")),
        source=source,
        reasons=tuple(reason.text for reason in result.reasons),
        metrics={key: m.value for key, m in result.metrics.items()},
    )


def _rate(qps: object) -> str:
    return f"{qps:g}" if isinstance(qps, (int, float)) else str(qps or "")

"""A run as comparisons see it: who, where, when, and its metrics. Small, so that tens of thousands fit in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from benchhydra.artifacts import RESULT_FILE
from benchhydra.result import Better, Result, Verdict, point_settings
from benchhydra.result_files import is_tracker_copy

UNKNOWN_MACHINE = "unknown"


class MetricKind(msgspec.Struct, frozen=True):
    """Unit and direction of a metric."""

    unit: str
    better: Better


class ScriptHighlights(msgspec.Struct, frozen=True):
    """What the results of one script say that a reader looks at first. charts: pairs of metrics, x and y."""

    key_metrics: tuple[str, ...] = ()
    charts: tuple[tuple[str, str], ...] = ()

    def __or__(self, more: ScriptHighlights) -> ScriptHighlights:
        """These and more, each once, in order."""
        if self == more:
            return self
        return ScriptHighlights(
            tuple(dict.fromkeys((*self.key_metrics, *more.key_metrics))),
            tuple(dict.fromkeys((*self.charts, *more.charts))),
        )


class Run(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One ``result.json``, without its config and texts. ``source`` is its file, or where it was downloaded from.

    checks: the rule of each reason; invalid_checks: the rules of those that make it INVALID. settings: what identifies
    its point, if it was not read from a file (pairing.point_settings_of reads it there).
    """

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
    load_label: str = ""
    description: str = ""
    engine_version: str = ""
    commit: str = ""
    source: str = ""
    reasons: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    invalid_checks: tuple[str, ...] = ()
    metrics: dict[str, float] = {}
    settings: dict[str, Any] = {}

    @property
    def usable(self) -> bool:
        """Whether its figures may take part in a comparison."""
        return self.verdict is not Verdict.INVALID and self.status == "ok"

    @property
    def load(self) -> str:
        """The load in a few words: what its script called it, or the rate in results that do not say."""
        return self.load_label or (f"qps={self.qps}" if self.qps else "")

    @property
    def label(self) -> str:
        """What a reader calls its point: script, model, dataset, load."""
        return " ".join(part for part in (self.script, self.model, self.dataset, self.load) if part) or self.point_key

    @property
    def directory(self) -> Path | None:
        """Its point directory, where it was read from a file."""
        return Path(self.source).parent if self.source.endswith(RESULT_FILE) else None

    def file(self, name: str) -> Path | None:
        """The path of a file of its point directory, where it was read from one."""
        return self.directory / name if self.directory else None


class Runs(msgspec.Struct):
    """Runs of one source, oldest first, what their metrics are, and what each script's results highlight.

    faults: files that were left out, and why.
    """

    runs: list[Run]
    kinds: dict[str, MetricKind]
    faults: list[str] = []
    scripts: dict[str, ScriptHighlights] = {}

    @classmethod
    def joined(cls, parts: list[Runs]) -> Runs:
        """All runs of several sources, each once, oldest first; a run itself rather than the tracker's copy of it."""
        runs: dict[str, Run] = {}
        for run in (run for part in parts for run in part.runs):
            if run.run_id not in runs or _completeness(run) > _completeness(runs[run.run_id]):
                runs[run.run_id] = run
        joined = cls(sorted(runs.values(), key=lambda run: run.epoch_time), {})
        for part in parts:
            joined.kinds |= part.kinds
            joined.faults += part.faults
            for script, highlights in part.scripts.items():
                add_highlights(joined.scripts, script, highlights)
        return joined


def _completeness(run: Run) -> int:
    """How much of a run its source holds: all of its files (2), the tracker's copy of them (1), the figures (0)."""
    if run.directory is None:
        return 0
    return 1 if is_tracker_copy(run.directory) else 2


def add_highlights(scripts: dict[str, ScriptHighlights], script: str, highlights: ScriptHighlights) -> None:
    """Add what a result highlights to what its script's other results do."""
    scripts[script] = scripts.get(script, highlights) | highlights


def runs_of_results(results: list[Result], source: str = "") -> Runs:
    """Runs of results that are in memory."""
    kinds = {key: MetricKind(m.unit, m.better) for result in results for key, m in result.metrics.items()}
    scripts: dict[str, ScriptHighlights] = {}
    for result in results:
        add_highlights(scripts, result.script, ScriptHighlights(result.key_metrics, result.charts))
    return Runs.joined([Runs([run_of_result(result, source) for result in results], kinds, [], scripts)])


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
        qps=rate_text(result.config.get("qps")),
        load_label=result.load_label,
        description=result.description,
        engine_version=result.engine_version or "",
        commit=str((environment.get("git") or {}).get("commit", "")),
        source=source,
        reasons=tuple(reason.text for reason in result.reasons),
        checks=tuple(reason.check for reason in result.reasons),
        invalid_checks=tuple(reason.check for reason in result.reasons if reason.severity is Verdict.INVALID),
        metrics={key: m.value for key, m in result.metrics.items()},
        settings={} if source.endswith(RESULT_FILE) else point_settings(result.config),
    )


def rate_text(qps: object) -> str:
    """A rate of a config as text: ``8``, ``inf``, or empty."""
    return f"{qps:g}" if isinstance(qps, (int, float)) else str(qps or "")

"""Runs as table rows: what tells them apart, their metrics, their verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchhydra.analysis.pairing import varying_settings
from benchhydra.analysis.runs import Run, Runs, ScriptHighlights
from benchhydra.render.comparison_summary import matrix_head
from benchhydra.render.figures import ARROWS, count, number, setting_text
from benchhydra.render.shared_lines import shared_lines
from benchhydra.result import Verdict
from benchhydra.similar_texts import natural_order

#: The most metrics of a table if no result names its key metrics.
MOST_COLUMNS = 6
#: Fields of a run that are columns where they differ between runs.
FIELDS = ("script", "model", "dataset", "machine", "engine_version")


@dataclass(frozen=True, kw_only=True)
class RunRows:
    """Runs, and the metrics to show of them (none: the key metrics of their scripts). quiet: only the figures.

    answers: a line for each answer of the searches of the sweeps that were named.
    """

    runs: Runs
    metrics: tuple[str, ...] = ()
    quiet: bool = False
    answers: tuple[str, ...] = ()

    @cached_property
    def rows(self) -> list[tuple[Run, dict[str, Any]]]:
        """(run, the settings in which the runs differ), ordered by what tells them apart; repeats by time."""
        rows = list(zip(self.runs.runs, varying_settings(self.runs.runs), strict=True))
        keys = _distinguishing_keys(rows)
        return sorted(rows, key=lambda row: natural_order(" ".join(_names(row[0], row[1], keys))))

    @cached_property
    def keys(self) -> list[str]:
        """The names of the columns before the metrics: fields and settings in which the runs differ."""
        return _distinguishing_keys(self.rows) or ["run_id"]

    @cached_property
    def columns(self) -> list[str]:
        """The metrics that are shown."""
        measured = dict.fromkeys(name for run, _ in self.rows for name in run.metrics)
        scripts = dict.fromkeys(run.script for run, _ in self.rows)
        key_metrics = [
            name for script in scripts for name in self.runs.scripts.get(script, ScriptHighlights()).key_metrics
        ]
        chosen = dict.fromkeys(self.metrics or key_metrics)
        return [name for name in chosen if name in measured] or list(measured)[:MOST_COLUMNS]

    def names(self, run: Run, settings: dict[str, Any]) -> list[str]:
        """The cells before the metrics."""
        return _names(run, settings, self.keys)

    def figures(self, run: Run) -> list[str]:
        """The formatted metrics of a run; empty where it does not have one."""
        return [number(run.metrics[name]) if name in run.metrics else "" for name in self.columns]

    def heads(self) -> list[tuple[str, str, str]]:
        """Three lines above each metric: quantity, statistic, unit with an arrow for its direction."""
        return [(*matrix_head(name), self.unit(name)) for name in self.columns]

    def unit(self, metric: str) -> str:
        """The unit of a metric with an arrow for its direction: ``ms ↓``."""
        kind = self.runs.kinds[metric]
        return f"{kind.unit}{ARROWS[kind.better]}"

    def reasons(self) -> list[str]:
        """Why runs are not VALID: one line for each reason, with the runs that share it."""
        labels = [" ".join([run.label, *map(str, self.names(run, settings))]) for run, settings in self.rows]
        remarks = [(at, text) for at, (run, _) in enumerate(self.rows) for text in run.reasons]
        return shared_lines(remarks, labels, "run")

    def counts(self) -> str:
        """``36 runs, 35 VALID, 1 INVALID``."""
        parts = [count(len(self.rows), "run")]
        for verdict in Verdict:
            of_verdict = sum(run.verdict is verdict for run, _ in self.rows)
            parts += [f"{of_verdict} {verdict}"] if of_verdict else []
        return ", ".join(parts)


def _distinguishing_keys(rows: Sequence[tuple[Run, dict[str, Any]]]) -> list[str]:
    """Fields and settings in which runs differ; a field is left out if settings say the same in more words."""
    fields = [name for name in FIELDS if len({getattr(run, name) for run, _ in rows}) > 1]
    settings = dict.fromkeys(key for _, of_run in rows for key in of_run)
    roots = {key.partition(".")[0] for key in settings}
    return [*(name for name in fields if name not in roots), *settings]


def _names(run: Run, settings: dict[str, Any], keys: Sequence[str]) -> list[str]:
    return [setting_text(settings[key]) if key in settings else str(getattr(run, key)) for key in keys]

"""Threshold files: the smallest change of each metric that matters, which metrics are judged, and how sure to be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from benchhydra.errors import ConfigError
from benchhydra.registry import CONF_DIR
from benchhydra.result import Better
from benchhydra.yaml_files import load_yaml

#: The metrics that an A/B test decides on where a file names none.
MAIN_METRICS = ("mean_ttft_ms", "mean_tpot_ms", "mean_e2el_ms", "request_throughput")


class MetricThreshold(msgspec.Struct, forbid_unknown_fields=True):
    """What a pattern of metrics has of its own. ``better``: judge an observation in this direction."""

    min_effect_percent: float | None = None
    better: Better | None = None


class Thresholds(msgspec.Struct, forbid_unknown_fields=True):
    """A threshold file, as in conf/gate/. main: patterns of the metrics that decide (none: those of the script)."""

    min_effect_percent: float = 2.0
    false_alarm_percent: float = 1.0
    metrics: dict[str, MetricThreshold] = {}
    ignore: list[str] = []
    main: list[str] = []

    @property
    def alpha(self) -> float:
        """Chance of any false alarm in a whole comparison, in one direction."""
        return self.false_alarm_percent / 100

    def smallest_effect(self, metric: str) -> float:
        """The smallest log ratio of a metric that matters; the last pattern that matches decides."""
        percent = self.min_effect_percent
        for pattern, own in self.metrics.items():
            if own.min_effect_percent is not None and fnmatchcase(metric, pattern):
                percent = own.min_effect_percent
        return math.log1p(percent / 100)

    def direction(self, metric: str, declared: Better) -> Better:
        """The direction in which a metric is judged; OBSERVATION: it is not judged."""
        if any(fnmatchcase(metric, pattern) for pattern in self.ignore):
            return Better.OBSERVATION
        for pattern, own in self.metrics.items():
            if own.better is not None and fnmatchcase(metric, pattern):
                declared = own.better
        return declared

    def judges(self, metric: str, declared: Better) -> bool:
        """Whether a metric is judged at all."""
        return self.direction(metric, declared) is not Better.OBSERVATION

    def is_main(self, metric: str, patterns: Sequence[str] = ()) -> bool:
        """Whether a metric is a main one of an A/B test: by these patterns, those of the file, or ``MAIN_METRICS``."""
        return any(fnmatchcase(metric, pattern) for pattern in patterns or self.main or MAIN_METRICS)


def read_thresholds(name: str = "default") -> Thresholds:
    """A threshold file by path, or by name from conf/gate. Raises ConfigError."""
    path = Path(name) if Path(name).suffix in (".yaml", ".yml") else CONF_DIR / "gate" / f"{name}.yaml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in (CONF_DIR / "gate").glob("*.yaml")))
        raise ConfigError(f"cannot read thresholds {path}: no such file", hint=f"a YAML file, or: {names}")
    try:
        thresholds = msgspec.convert(load_yaml(path), Thresholds)
    except msgspec.ValidationError as error:
        raise ConfigError(f"thresholds {path}: {error}") from error
    own = [m.min_effect_percent for m in thresholds.metrics.values() if m.min_effect_percent is not None]
    if min([thresholds.min_effect_percent, *own]) < 0 or not 0 < thresholds.false_alarm_percent < 50:
        raise ConfigError(f"thresholds {path}: min_effect_percent from 0 up, false_alarm_percent between 0 and 50")
    return thresholds

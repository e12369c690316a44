from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchhydra.analysis import thresholds
from benchhydra.errors import ConfigError
from benchhydra.result import Better


def written(directory: Path, text: str) -> str:
    file = directory / "limits.yaml"
    file.write_text(text)
    return str(file)


def percent(limits: thresholds.Thresholds, metric: str) -> float:
    return round(math.expm1(limits.smallest_effect(metric)) * 100, 6)


def test_the_default_file() -> None:
    limits = thresholds.read_thresholds()
    expected = {"mean_ttft_ms": 2, "p99_ttft_ms": 5, "scheduled_p90_ms": 5}
    assert {name: percent(limits, name) for name in expected} == expected
    assert limits.alpha == 0.01
    assert limits.direction("max_ttft_ms", Better.SMALLER) is Better.OBSERVATION
    assert limits.direction("mean_ttft_ms", Better.SMALLER) is Better.SMALLER


def test_the_last_pattern_that_matches_wins(tmp_path: Path) -> None:
    text = """
    min_effect_percent: 1
    metrics:
      "*_ms": {min_effect_percent: 3}
      mean_*: {min_effect_percent: 4}
      mean_tpot_ms: {better: BiggerIsBetter}
    ignore: [mean_itl_ms]
    """
    limits = thresholds.read_thresholds(written(tmp_path, text))
    expected = {"request_throughput": 1, "p99_ttft_ms": 3, "mean_ttft_ms": 4, "mean_tpot_ms": 4}
    assert {name: percent(limits, name) for name in expected} == expected
    assert limits.direction("mean_tpot_ms", Better.SMALLER) is Better.BIGGER
    assert limits.direction("mean_itl_ms", Better.SMALLER) is Better.OBSERVATION


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("min_effect: 2", "unknown field"),
        ("metrics: {a: {min_effect_percent: two}}", "float"),
        ("min_effect_percent: -1", "from 0 up"),
        ("metrics: {a: {min_effect_percent: -1}}", "from 0 up"),
        ("false_alarm_percent: 0", "between 0 and 50"),
        ("a: [", "limits.yaml"),
    ],
)
def test_a_wrong_file_is_named_with_its_error(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        thresholds.read_thresholds(written(tmp_path, text))
    assert "limits.yaml" in str(raised.value)


def test_an_unknown_name_lists_the_files() -> None:
    with pytest.raises(ConfigError, match="or: default"):
        thresholds.read_thresholds("strict")

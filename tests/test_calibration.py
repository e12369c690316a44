"""Calibration: kept by class of machine, and a short real one."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from benchhydra import calibration, environment
from benchhydra.calibration import CalibrationStep
from benchhydra.commands import load_command as command
from benchhydra.errors import BenchhydraError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def step(
    offered: float, p99_error_ms: float = 0.2, *, achieved: float | None = None, failed: int = 0
) -> CalibrationStep:
    return CalibrationStep(
        offered_rps=offered,
        achieved_rps=offered if achieved is None else achieved,
        requests=100,
        failed=failed,
        mean_error_ms=p99_error_ms / 2,
        p99_error_ms=p99_error_ms,
        lag_p99_ms=0.1,
    )


def arguments(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command("calibrate").add_arguments(parser)
    return parser.parse_args(argv)


def test_a_calibration_is_stored_by_machine_class(cache: Path) -> None:
    path = calibration.save_calibration("xeon-2c", 400.0)
    assert path.is_relative_to(cache)
    assert calibration.load_calibration("xeon-2c") == 400.0
    assert calibration.load_calibration("xeon-4c") is None
    calibration.save_calibration("xeon-2c", 800.0)
    assert calibration.load_calibration("xeon-2c") == 800.0
    assert [found.name for found in path.parent.iterdir()] == ["xeon-2c.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"exact_up_to_rps": null}', '{"exact_up_to_rps": "fast"}', "\x00"])
def test_a_broken_calibration_file_is_ignored(text: str) -> None:
    calibration.save_calibration("xeon-2c", 1.0).write_text(text, encoding="utf-8")
    assert calibration.load_calibration("xeon-2c") is None


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], None),
        ([step(50, 1.0)], None),
        ([step(50), step(100)], 100),
        ([step(50), step(100, 1.5), step(200)], 50),
        ([step(50), step(100, achieved=90)], 50),
        ([step(50), step(100, failed=1)], 50),
        ([step(50), step(100, float("nan"))], 50),
    ],
)
def test_the_highest_rate_below_the_first_that_is_not_exact(
    steps: list[CalibrationStep], expected: float | None
) -> None:
    assert calibration.exact_up_to_rps(steps) == expected


@pytest.mark.alone
def test_a_short_real_calibration() -> None:
    seen = list(calibration.measure_rates((40.0, 80.0), seconds=0.5))
    assert [one.offered_rps for one in seen] == [40.0, 80.0][: len(seen)]
    for one in seen:
        assert (one.requests, one.failed) == (one.offered_rps * 0.5, 0)
        assert one.achieved_rps == pytest.approx(one.offered_rps, rel=0.3)
        assert -1 < one.mean_error_ms < 20  # far more than ever, far less than the 50 ms that it is the error of


def test_the_command_saves_the_rate_it_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        calibration, "measure_rates", lambda rates, seconds: iter([step(50), step(100), step(200, 3.0)])
    )
    assert command("calibrate").run(arguments()) == 0
    assert calibration.load_calibration(environment.this_machine_class()) == 100
    assert "up to 100 requests/s" in capsys.readouterr().out


def test_the_command_saves_nothing_if_no_rate_is_accurate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration, "measure_rates", lambda rates, seconds: iter([step(50, 3.0)]))
    assert command("calibrate").run(arguments()) == 1
    assert calibration.load_calibration(environment.this_machine_class()) is None
    assert "no rate was exact" in capsys.readouterr().out


def test_settings_without_anything_to_measure_are_refused() -> None:
    with pytest.raises(BenchhydraError, match="nothing to measure"):
        command("calibrate").run(arguments("--max-rate", "10"))

"""The probe ``gpu``, on a stand-in for NVML that replays readings, real ones and made-up ones (tests/nvml)."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests import nvml
from tests.nvml import A100, H100, P40, STEP_S, V100, Card, RecordedCard

from benchhydra import registry
from benchhydra.gpu_throttling import causes, is_throttled
from benchhydra.probes import ProbeTarget, probes
from benchhydra.probes.gpu import GpuProbe
from benchhydra.probes.helper_process import close_idle_helpers
from benchhydra.probes.settings import ProbeSettings
from benchhydra.probes.watch import Observation, Watch
from benchhydra.series import Series

INTERVAL_S = 0.1
#: Two cards: the first one hot from 1 s on, the second one at its power limit.
HOT = Card(reasons=[(1.0, 1e9, nvml.SW_THERMAL | nvml.SW_POWER_CAP)])
CAPPED = Card(**{**vars(P40), "reasons": [(0.0, 1e9, nvml.SW_POWER_CAP)]})


@contextmanager
def server() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


def watched(
    directory: Path,
    cards: Sequence[Card] | Sequence[RecordedCard],
    seconds: float,
    processes: Callable[[int], str] = lambda pid: f"0 {pid} 68000\n",
    attached_to: tuple[int, ...] = (),
    interval_s: float = INTERVAL_S,
    **more: float,
) -> Observation:
    """Watch all cards for some seconds, or those of an attached server.

    processes: the text of the stand-in's list, given the server's pid.
    """
    close_idle_helpers()  # the next helper gets this test's environment
    write = nvml.write_real_recording if isinstance(cards[0], RecordedCard) else nvml.write_recording
    recording = write(directory / "recording.txt", cards, seconds + 5)  # type: ignore[arg-type]
    registry.import_modules("benchhydra.probes")
    with server() as pid, pytest.MonkeyPatch.context() as patch:
        (directory / "processes.txt").write_text(processes(pid))
        for name, value in nvml.environment(recording, directory / "processes.txt", **more).items():
            patch.setenv(name, value)
        target = ProbeTarget(client_pid=os.getpid(), server_pid=pid, gpus=tuple(range(len(cards))))
        if attached_to:
            target = ProbeTarget(client_pid=os.getpid())
        off = [name for name in probes() if name not in ("gpu", "host")]
        settings = ProbeSettings(interval_s=interval_s, off=off, gpus=list(attached_to))
        with Watch.start(target, settings) as watch:
            watch.begin()
            time.sleep(seconds)
            observation = watch.end(client_processes=1)
    close_idle_helpers()
    return observation


@pytest.fixture(scope="module")
def observation(tmp_path_factory: pytest.TempPathFactory) -> Observation:
    """Two cards, watched for 3 s; a process of somebody else is on both, and one of ours on both."""

    def processes(pid: int) -> str:
        return f"0 {pid} 68000\n0 999999 1500\n1 {os.getpid()} 19500\n1 1 300\n"

    return watched(tmp_path_factory.mktemp("gpus"), [HOT, CAPPED], 3.0, processes)


def of(observation: Observation, name: str, gpu: int) -> Series:
    (series,) = [s for s in observation.series if s.name == f"gpu.{name}" and s.labels == {"gpu": str(gpu)}]
    return series


def integral_j(power: Series) -> float:
    return float(np.trapezoid(power.values, power.times_ns / 1e9))


def test_each_card_has_its_series(observation: Observation) -> None:
    assert observation.warnings == ()
    units = {series.name: series.unit for series in observation.series if series.name.startswith("gpu.")}
    assert units == {
        "gpu.power_w": "W",
        "gpu.energy_j": "J",
        "gpu.utilization_fraction": "fraction",
        "gpu.memory_busy_fraction": "fraction",
        "gpu.memory_used_mib": "MiB",
        "gpu.sm_clock_mhz": "MHz",
        "gpu.memory_clock_mhz": "MHz",
        "gpu.temperature_c": "C",
        "gpu.throttle_reasons": "bits",
        "gpu.throttled": "fraction",
        "gpu.power_capped": "fraction",
    }
    for gpu in (0, 1):
        assert {len(of(observation, name.removeprefix("gpu."), gpu)) for name in units} == {
            len(of(observation, "power_w", gpu))
        }
    assert of(observation, "utilization_fraction", 0).values.tolist() == [0.97] * len(of(observation, "power_w", 0))
    assert of(observation, "memory_used_mib", 0).values[0] == H100.used_mib
    assert of(observation, "memory_clock_mhz", 1).values[0] == P40.memory_clock_mhz
    assert np.all(np.diff(of(observation, "temperature_c", 0).values) >= 0)


def test_the_counter_is_within_5_percent_of_the_integral_of_power(observation: Observation) -> None:
    energy, power = of(observation, "energy_j", 0), of(observation, "power_w", 0)
    assert energy.values[0] == 0 and np.all(np.diff(energy.values) >= 0)
    assert energy.values[-1] == pytest.approx(integral_j(power), rel=0.05)
    assert energy.values[-1] > 3 * 600


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Observation:
    """The readings of a real A100 and a real V100, watched as often as in a run: idle, a load of 6 s, idle."""
    return watched(tmp_path_factory.mktemp("recorded"), [A100, V100], 7.5, interval_s=0.25)


@pytest.mark.parametrize(("gpu", "card"), [(0, A100), (1, V100)], ids=["A100", "V100"])
def test_the_series_are_the_recorded_readings(recorded: Observation, gpu: int, card: RecordedCard) -> None:
    """At one offset of the clocks, the readings of nearly all samples are those that the recording has at that time."""
    readings = card.readings()
    times_s = of(recorded, "power_w", gpu).times_ns / 1e9
    seen = {name: of(recorded, name, gpu).values for name in ("power_w", "sm_clock_mhz", "temperature_c")}
    seen["utilization_percent"] = of(recorded, "utilization_fraction", gpu).values * 100

    def equal_fraction(start_s: float) -> float:
        """The fraction of samples that are equal in all series if the first one was read at this time."""
        at_s = times_s - times_s[0] + start_s
        row = np.searchsorted(readings["time_s"], at_s - at_s % STEP_S + 1e-9, side="right") - 1
        same = [np.isclose(values, readings[name][row]) for name, values in seen.items()]
        return float(np.mean(np.all(same, axis=0)))

    assert max(equal_fraction(float(start_s)) for start_s in np.arange(0, 3, STEP_S / 4)) >= 0.9
    assert len(set(seen["power_w"])) > 2


def test_the_counted_energy_of_a_recorded_load_is_the_integral_of_its_power(recorded: Observation) -> None:
    energy, power = of(recorded, "energy_j", 0), of(recorded, "power_w", 0)
    assert power.values.min() < 65 and power.values.max() > 185
    assert energy.values[-1] == pytest.approx(integral_j(power), rel=0.05)
    assert recorded.facts["gpu_energy_source"] == "counter"


def test_a_card_without_a_counter_has_the_integral_and_the_result_says_so(observation: Observation) -> None:
    energy, power = of(observation, "energy_j", 1), of(observation, "power_w", 1)
    assert energy.values[-1] == pytest.approx(integral_j(power), rel=0.05)
    watched_s = (energy.times_ns[-1] - energy.times_ns[0]) / 1e9
    assert energy.values[-1] == pytest.approx(P40.load_w * 1.025 * watched_s, rel=0.05)  # a quarter is at + 10 %
    assert observation.facts["gpu_energy_source"] == "counter, integral of power"
    assert observation.facts["gpu_power_limits_w"] == (700.0, 250.0)
    assert observation.facts["gpu_powers_w"] == pytest.approx((650, P40.load_w * 1.025), rel=0.05)


def test_heat_is_throttling_and_a_power_limit_is_not(observation: Observation) -> None:
    throttled, clock = of(observation, "throttled", 0).values, of(observation, "sm_clock_mhz", 0).values
    assert 0.3 < throttled.mean() < 1.0
    assert set(clock[throttled == 1]) == {H100.clocks_mhz[1]} and set(clock[throttled == 0]) == {H100.clocks_mhz[0]}
    assert of(observation, "throttled", 1).values.max() == 0
    assert of(observation, "power_capped", 1).values.min() == 1
    assert of(observation, "throttle_reasons", 1).values[0] == nvml.SW_POWER_CAP


def test_others_on_our_gpus_are_named_and_our_own_processes_are_not(observation: Observation) -> None:
    assert observation.facts["other_gpu_pids"] == (1, 999_999)
    assert observation.facts["other_gpu_memory_mib"] == 2000  # 70,000 in use, 68,000 by the server


@pytest.mark.parametrize(
    "processes", [lambda pid: "", lambda pid: "0 12345678 68000\n"], ids=["none listed", "pids of the host"]
)
def test_in_a_container_others_are_unknown(tmp_path: Path, processes: Callable[[int], str]) -> None:
    observation = watched(tmp_path, [H100], 0.2, processes)
    assert observation.warnings == ()
    assert not {"other_gpu_pids", "other_gpu_memory_mib"} & observation.facts.keys()
    assert len(of(observation, "power_w", 0)) >= 2


def test_a_gpu_that_is_lost_ends_its_series_and_no_other_probe(tmp_path: Path) -> None:
    observation = watched(tmp_path, [H100], 2.0, lost_at_s=1.2)
    assert observation.warnings == ("the probe gpu was switched off: NVMLError_GpuIsLost: GPU is lost",)
    power = of(observation, "power_w", 0)
    (memory,) = [series for series in observation.series if series.name == "host.memory_available_mib"]
    assert 2 <= len(power) < len(memory)
    assert power.times_ns[-1] < memory.times_ns[-1] - 0.3e9
    assert "gpu_energy_source" not in observation.facts


@pytest.mark.usefixtures("usual_patience")
def test_an_nvml_that_hangs_stops_no_other_probe(tmp_path: Path) -> None:
    begin_s = time.monotonic()
    observation = watched(tmp_path, [H100], 2.0, hang_at_s=1.2)
    assert time.monotonic() - begin_s < 30  # it would hang for ever
    assert observation.warnings == ("the probe gpu was switched off: it did not answer within 1.5 s after the load",)
    (memory,) = [series for series in observation.series if series.name == "host.memory_available_mib"]
    assert len(memory) >= 8


def test_a_driver_that_cannot_be_loaded_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = nvml.write_recording
    monkeypatch.setattr(nvml, "write_recording", lambda *arguments: write(*arguments).rename(tmp_path / "elsewhere"))
    monkeypatch.setattr(nvml, "environment", lambda *_: {"LD_LIBRARY_PATH": str(nvml.stand_in_directory())})
    (warning,) = watched(tmp_path, [H100], 0.1).warnings
    assert warning.startswith("the probe gpu was switched off: NVMLError_LibraryNotFound")


def test_the_probe_needs_gpus() -> None:
    assert not GpuProbe().applies(ProbeTarget(client_pid=1, server_pid=2))
    assert GpuProbe().applies(ProbeTarget(client_pid=1, gpus=(0,)))


def test_a_gpu_that_does_not_exist_is_a_warning(tmp_path: Path) -> None:
    assert watched(tmp_path, [H100, P40], 0.1, attached_to=(1, 2)).warnings == (
        "the probe gpu was switched off: IndexError: there is no GPU 2: this machine has 2",
    )


def test_gpus_of_an_attached_server_are_watched_if_they_are_named_and_others_on_them_are_unknown(
    tmp_path: Path,
) -> None:
    observation = watched(tmp_path, [P40, H100], 0.3, attached_to=(1,))
    assert {series.labels["gpu"] for series in observation.series if series.name.startswith("gpu.")} == {"1"}
    assert observation.facts["gpu_energy_source"] == "counter"
    assert "other_gpu_pids" not in observation.facts


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (nvml.IDLE | nvml.SW_POWER_CAP, ()),
        (nvml.SW_THERMAL, ("temperature (software slowdown)",)),
        (nvml.HW_SLOWDOWN | nvml.HW_THERMAL, ("temperature (hardware slowdown)",)),
        (nvml.HW_SLOWDOWN | nvml.POWER_BRAKE, ("the power brake, a signal of the power supply",)),
        (nvml.HW_SLOWDOWN, ("a hardware slowdown",)),
    ],
)
def test_the_causes_of_throttling_have_words(bits: int, words: tuple[str, ...]) -> None:
    assert causes(bits) == words
    assert is_throttled(bits) == bool(words)

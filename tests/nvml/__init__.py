"""A stand-in for NVML without a GPU: a shared library in C that replays a recording, loaded by pynvml as NVML is.

``write_real_recording`` replays readings of a real A100 and V100 (recordings/README.md). They lack memory, processes,
reasons of throttling and an energy counter. ``write_recording`` makes all readings up, in the size that an H100 and a
P40 have.
"""

from __future__ import annotations

import csv
import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from benchhydra.records import Float64

SOURCE = Path(__file__).with_name("libnvidia_ml.c")
STEP_S = 0.02
#: A card's energy counter is updated this often.
COUNTER_STEP_S = 0.1
IDLE, SW_POWER_CAP, SW_THERMAL, HW_SLOWDOWN, HW_THERMAL, POWER_BRAKE = 0x1, 0x4, 0x20, 0x8, 0x40, 0x80


@dataclass(frozen=True, kw_only=True)
class Card:
    """A GPU of a recording. busy: (begin, end) of the load in s; reasons: (begin, end, bits) of throttling in it."""

    name: str = "NVIDIA H100 80GB HBM3"
    memory_mib: int = 81559
    counter: bool = True
    instant: bool = True
    limit_w: float = 700.0
    idle_w: float = 72.0
    load_w: float = 620.0
    clocks_mhz: tuple[int, int] = (1980, 1605)  # highest, throttled
    memory_clock_mhz: int = 2619
    used_mib: int = 70_000
    busy: tuple[float, float] = (0.0, 1e9)
    reasons: Sequence[tuple[float, float, int]] = ()


H100 = Card()
#: A card without an energy counter (before Volta) and without a reading of its power at this moment.
P40 = Card(
    name="Tesla P40",
    memory_mib=24576,
    counter=False,
    instant=False,
    limit_w=250.0,
    idle_w=50.0,
    load_w=190.0,
    clocks_mhz=(1531, 1303),
    memory_clock_mhz=3615,
    used_mib=20_000,
)


@functools.cache
def stand_in_directory() -> Path:
    """The directory with the stand-in, for ``LD_LIBRARY_PATH``. Skips the test without a C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    directory = Path(tempfile.mkdtemp(prefix="fake-nvml-"))
    command = [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(directory / "libnvidia-ml.so.1")]
    subprocess.run([*command, str(SOURCE)], check=True)
    return directory


def environment(recording: Path, processes: Path | None = None, /, **more: float) -> dict[str, str]:
    """Environment variables of a process that is to find the stand-in. more: ``lost_at_s=2``, ``speed=10``.

    Its claims of GPUs are beside the recording: tests that run at the same time have the same cards.
    """
    variables = {"LD_LIBRARY_PATH": str(stand_in_directory()), "FAKE_NVML_RECORDING": str(recording)}
    variables["XDG_RUNTIME_DIR"] = str(recording.parent)
    variables |= {} if processes is None else {"FAKE_NVML_PROCESSES": str(processes)}
    return variables | {f"FAKE_NVML_{name.upper()}": str(value) for name, value in more.items()}


@dataclass(frozen=True)
class RecordedCard:
    """A GPU with a file of real readings. The memory and the power limit are not among them."""

    file: str
    name: str
    memory_mib: int = 40960
    limit_w: float = 400.0

    def readings(self) -> dict[str, Float64]:
        """The columns of the file: ``time_s`` since its first row, and the readings that hold from then on."""
        with (RECORDINGS / self.file).open() as file:
            rows = list(csv.DictReader(file, skipinitialspace=True))
        times = [datetime.strptime(row["timestamp"], "%Y/%m/%d %H:%M:%S.%f") for row in rows]
        columns = {name: np.array([float(row[title]) for row in rows]) for name, title in COLUMNS.items()}
        return {"time_s": np.array([(time - times[0]).total_seconds() for time in times]), **columns}


#: The names of our series, and those of nvidia-smi's columns.
COLUMNS = {
    "power_w": "power.draw.instant [W]",
    "utilization_percent": "utilization.gpu [%]",
    "sm_clock_mhz": "clocks.current.sm [MHz]",
    "temperature_c": "temperature.gpu",
}
RECORDINGS = Path(__file__).with_name("recordings")
A100 = RecordedCard("a100.csv", "NVIDIA A100")
V100 = RecordedCard("v100.csv", "NVIDIA V100", memory_mib=16384, limit_w=300.0)


def write_real_recording(path: Path, cards: Sequence[RecordedCard], seconds: float) -> Path:
    """Write real readings in steps of ``STEP_S``, with a counter of their energy; the last ones hold on."""
    times_s: Float64 = np.arange(0, seconds, STEP_S, dtype=np.float64)
    lines = [_card_line(index, card, counter=True, instant=True) for index, card in enumerate(cards)]
    for index, card in enumerate(cards):
        readings = card.readings()
        row = np.searchsorted(readings["time_s"], times_s + 1e-9, side="right") - 1
        power_w, percent, clock_mhz, celsius = (readings[name][row] for name in COLUMNS)
        counted_mj = _counted_mj(power_w)
        for k, time_s in enumerate(times_s):
            reading = f"{power_w[k] * 1e3:.0f} {counted_mj[k]:.0f} {percent[k]:.0f} 0 4"
            lines.append(f"at {time_s:.3f} {index} {reading} {clock_mhz[k]:.0f} 0 {celsius[k]:.0f} 0")
    path.write_text("\n".join(lines) + "\n")
    return path


def _card_line(index: int, card: Card | RecordedCard, *, counter: bool, instant: bool) -> str:
    return (
        f"gpu {index} {card.memory_mib} {counter:d} {instant:d} {card.limit_w * 1e3:.0f} "
        f"GPU-{index:08d}-0000-0000-0000-000000000000 {card.name}"
    )


def _counted_mj(power_w: Float64) -> Float64:
    """What the counter of a card says at each step: mJ since the driver was loaded, updated each COUNTER_STEP_S."""
    energy_mj = np.cumsum(power_w) * STEP_S * 1e3 + 8.5e9
    rows = np.arange(len(power_w))
    return energy_mj[rows - rows % round(COUNTER_STEP_S / STEP_S)]


def write_recording(path: Path, cards: Sequence[Card], seconds: float, seed: int = 0) -> Path:
    """Write a recording of some seconds, a line each ``STEP_S`` and card."""
    rng = np.random.default_rng(seed)
    lines = [_card_line(k, card, counter=card.counter, instant=card.instant) for k, card in enumerate(cards)]
    for index, card in enumerate(cards):
        lines += _samples(index, card, seconds, rng)
    path.write_text("\n".join(lines) + "\n")
    return path


def power_w(card: Card, times_s: Float64, rng: np.random.Generator) -> Float64:
    """Idle, and under load: decoding with a prefill of more power every 0.4 s, and noise."""
    busy = (times_s >= card.busy[0]) & (times_s < card.busy[1])
    prefill = np.where(times_s % 0.4 < 0.1, 0.1, 0.0)
    load_w = card.load_w * (1 + prefill + rng.normal(0, 0.02, len(times_s)))
    return np.where(busy, np.minimum(load_w, card.limit_w), card.idle_w)


def _samples(index: int, card: Card, seconds: float, rng: np.random.Generator) -> Iterator[str]:
    times_s: Float64 = np.arange(0, seconds, STEP_S, dtype=np.float64)
    powers_w = power_w(card, times_s, rng)
    counted_mj = _counted_mj(powers_w)
    temperature_c = 34.0
    for row, (time_s, watts) in enumerate(zip(times_s, powers_w, strict=True)):
        is_busy = card.busy[0] <= time_s < card.busy[1]
        temperature_c += ((78.0 if is_busy else 34.0) - temperature_c) * STEP_S / 8
        bits = next((bits for begin, end, bits in card.reasons if begin <= time_s < end), 0 if is_busy else IDLE)
        clock_mhz = card.clocks_mhz[bool(bits & ~IDLE)]
        use = f"{97 if is_busy else 0} {61 if is_busy else 0} {card.used_mib if is_busy else 4}"
        clocks = f"{clock_mhz} {card.memory_clock_mhz} {temperature_c:.0f}"
        yield f"at {time_s:.3f} {index} {watts * 1e3:.0f} {counted_mj[row]:.0f} {use} {clocks} {bits}"

"""``probes``: the root config key for the sampling interval and the probes to leave out."""

from __future__ import annotations

from dataclasses import dataclass

from benchhydra.errors import ConfigError
from benchhydra.probes import probes
from benchhydra.registry import knob

#: A shorter interval would use too much CPU time for the probes.
LEAST_INTERVAL_S = 0.02


@dataclass(kw_only=True)
class ProbeSettings:
    """Which probes run during a load, and how often they sample."""

    interval_s: float = knob(0.25, "time between two samples", unit="s")
    off: list[str] = knob([], "probes to leave out: [gpu,server]")
    gpus: list[int] = knob(
        [], "GPUs of this machine to watch, by NVML's index, for engine=attach; other engines: those that they hold"
    )

    def __post_init__(self) -> None:
        if isinstance(self.interval_s, (int, float)) and not LEAST_INTERVAL_S <= self.interval_s < float("inf"):
            raise ConfigError(
                f"probes.interval_s={self.interval_s} is too short", hint=f"at least {LEAST_INTERVAL_S} s"
            )
        if isinstance(self.gpus, list) and min(self.gpus, default=0) < 0:
            raise ConfigError(f"probes.gpus={self.gpus}: indices begin at 0", hint="nvidia-smi -L lists them")
        unknown = set(self.off) - probes().keys() if isinstance(self.off, list) and self.off else set()
        if unknown:
            raise ConfigError(f"probes.off: no such probe: {min(unknown)}", hint=f"one of {', '.join(probes())}")

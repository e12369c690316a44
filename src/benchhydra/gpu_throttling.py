"""NVML's reasons why a GPU's clocks are lower than its highest: which of them disturb a measurement, in words.

A power cap is not among these: many cards (L4, T4, H100 PCIe) run at their power limit under any heavy load, in each
run alike. Temperature, a hardware slowdown and the power brake depend on the room, the cooling and the power supply.
"""

from __future__ import annotations

#: The driver lowers the clocks to keep the power below the limit (``SwPowerCap``).
POWER_CAP = 0x4
#: Bits that disturb a measurement -> the cause.
THROTTLED = {
    0x20: "temperature (software slowdown)",
    0x40: "temperature (hardware slowdown)",
    0x80: "the power brake, a signal of the power supply",
    0x8: "a hardware slowdown",
}
_HW_SLOWDOWN = 0x8  # is set together with the bit of its cause, if that is known


def is_throttled(reasons: int) -> bool:
    """Return whether a bit mask of NVML holds a reason that disturbs a measurement."""
    return any(reasons & bit for bit in THROTTLED)


def causes(reasons: int) -> tuple[str, ...]:
    """Return the causes in a bit mask of NVML that disturb a measurement, in words."""
    bits = [bit for bit in THROTTLED if reasons & bit]
    return tuple(THROTTLED[bit] for bit in bits if bit != _HW_SLOWDOWN or len(bits) == 1)

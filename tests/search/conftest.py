"""Searches run on the sweeps of ``tests/sweep``."""

from tests.sweep.conftest import no_survivors, sweeps

__all__ = ["no_survivors", "sweeps"]

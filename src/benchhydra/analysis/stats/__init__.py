"""Statistics, one file a method: arrays in, arrays out. Nothing here knows what a run is, or reads a file.

Sources are named in each file; benchmarks/gate_trials.py and ab_trials.py measure how often the methods are wrong.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

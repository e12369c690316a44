"""``run_point``: the one place where the pieces of a benchmark meet."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchhydra import environment
from benchhydra.config import BenchConfig
from benchhydra.engines import ServerSpec
from benchhydra.errors import BenchhydraError, RunInvalid
from benchhydra.metrics import summarize
from benchhydra.progress import Progress
from benchhydra.registry import option_name
from benchhydra.result import Result, point_key
from benchhydra.scripts import Measured, Point
from benchhydra.servers.pool import Pool
from benchhydra.target import Target
from benchhydra.validity import Reason, Verdict, judge

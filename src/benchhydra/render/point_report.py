"""The report on one point, printed when its run ends."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchhydra.result import Result


@dataclass(frozen=True, kw_only=True)
class PointReport:
    """A point's result, the directory of its files, and the link to its MLflow run if it was logged."""

    result: Result
    directory: Path
    mlflow_link: str | None = None

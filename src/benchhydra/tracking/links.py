"""``mlflow.json`` in a point's directory: the id of its MLflow run, and the link to it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchhydra.artifacts import MLFLOW_FILE, read_json_or_none, write_json


def write_links(directory: Path, *, link: str, run_id: str, experiment_id: str, base_url: str) -> None:
    """Write the file for a logged point. Raises ResultError if it cannot be written."""
    links = {"link": link, "run_id": run_id, "experiment_id": experiment_id, "base_url": base_url}
    write_json(directory / MLFLOW_FILE, links)


def read_links(directory: Path) -> dict[str, str]:
    """The file's keys ``link``, ``run_id``, ``experiment_id``, ``base_url``; empty if the point was not logged."""
    links = read_json_or_none(directory / MLFLOW_FILE) or {}
    return {key: value for key, value in links.items() if isinstance(value, str)}


def read_run_ids(directories: Iterable[Path]) -> list[str]:
    """The ids of the MLflow runs of those points that were logged."""
    links = map(read_links, directories)
    return [str(link["run_id"]) for link in links if "run_id" in link]

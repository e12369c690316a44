"""A probe of a user's own, the example of docs/extending.md: what it finds is in the results."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.examples import benchhydra, install

from benchhydra.artifacts import RESULT_FILE, SERIES_FILE
from benchhydra.series import read_series

RUN = ("engine=fake", "tracking=none", "qps=50", "num_prompts=20", "dataset.output_tokens=8", "script.fail_on=never")


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """A user's directory, with the plugin in it."""
    install(tmp_path, "memory")
    return tmp_path


def measure(work_dir: Path, *words: str) -> dict[str, Any]:
    """Run a point in ``work_dir``; what is in its ``result.json``."""
    done = benchhydra(work_dir, [*RUN, f"hydra.run.dir={work_dir}/point", *words])
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads((work_dir / "point" / RESULT_FILE).read_text())
    return result


def test_its_series_and_facts_are_in_the_results(work_dir: Path) -> None:
    result = measure(work_dir, "probes.interval_s=0.05")
    (series,) = [s for s in read_series(work_dir / "point" / SERIES_FILE) if s.name == "memory.available_mib"]
    assert (series.unit, dict(series.labels)) == ("MiB", {})
    assert len(series) >= 3
    total_mib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    assert ((series.values > 0) & (series.values < total_mib)).all()
    assert result["metadata"]["least_available_memory_mib"] == pytest.approx(series.values.min())
    assert not any("probe" in warning for warning in result.get("warnings", ()))


def test_it_can_be_switched_off(work_dir: Path) -> None:
    result = measure(work_dir, "probes.off=[memory]")
    names = {series.name for series in read_series(work_dir / "point" / SERIES_FILE)}
    assert "memory.available_mib" not in names and "server.requests_running" in names
    assert "least_available_memory_mib" not in result["metadata"]


def test_a_misspelt_name_is_refused_before_anything_is_started(work_dir: Path) -> None:
    done = benchhydra(work_dir, [*RUN, f"hydra.run.dir={work_dir}/point", "probes.off=[memmory]"])
    assert done.returncode == 1
    assert "probes.off: no such probe: memmory" in done.stderr and "client, gpu, host, memory, server" in done.stderr
    assert not (work_dir / "point" / RESULT_FILE).exists()

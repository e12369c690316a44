"""Sweeps whose groups run in other processes: workers of joblib, jobs of submitit on this machine, and of Slurm.

``fake_slurm`` stands in for Slurm's five commands; submitit's real executor submits to them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.sweep import fake_slurm
from tests.waiting import wait_for

Sweeps = Any  # the fixture ``sweeps`` of conftest.py
Survivors = Callable[[Path], list[str]]
#: Two groups of points that take half a second each.
TWO_GROUPS = ("model=llama2,mistral", "seed=range(0,6)", "qps=10", "num_prompts=5")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with Slurm's commands, on PATH."""
    directory = tmp_path / "slurm"
    fake_slurm.install(directory)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return directory


def statuses(sweeps: Sweeps) -> dict[str, Counter[str]]:
    """How many points of each model have which status."""
    points = sweeps.summary()["points"]
    models = {o.partition("=")[2] for point in points for o in point["overrides"] if o.startswith("model=")}
    return {m: Counter(p["status"] for p in points if f"model={m}" in p["overrides"]) for m in models}


def workers_of(model: str, directory: Path) -> list[psutil.Process]:
    """The processes that have started a fake server of a model: the parents of the servers' supervisors."""
    workers = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = " ".join(process.info["cmdline"] or [])
        if process.info["cwd"] == str(directory.parent) and "_supervise.py" in words and model in words:
            with suppress(psutil.NoSuchProcess):  # it may have ended since
                parent = process.parent()
                if parent is not None and parent.pid > 1:
                    workers.append(parent)
    return workers


def test_a_killed_joblib_worker_fails_its_group_only(sweeps: Sweeps, no_survivors: Survivors) -> None:
    """A group whose worker dies is launched once more, alone, after the points that it has; here it dies again."""
    process = sweeps.start(*TWO_GROUPS, "launcher=joblib", "hydra.launcher.n_jobs=2")
    killed: set[int] = set()

    def ended() -> bool:
        for worker in workers_of("mistral", sweeps.directory):
            if worker.pid != process.pid:
                with suppress(psutil.NoSuchProcess):
                    worker.send_signal(signal.SIGKILL)
                    killed.add(worker.pid)
        return process.poll() is not None

    wait_for(ended, 90, "the sweep's end")
    assert process.returncode == 1 and len(killed) >= 2
    assert sweeps.summary()["server_starts"] == len(list(sweeps.directory.glob("servers/*.log"))) > 2
    assert statuses(sweeps)["llama2"] == {"ok": 6}
    assert statuses(sweeps)["mistral"]["failed"] > 0
    log = sweeps.log.read_text()
    assert "the group's process ended early" in log
    assert log.count("to run this point by itself: ") == log.count("failed: ")
    wait_for(lambda: not no_survivors(sweeps.directory), 60, "the killed workers' servers to end")
    assert sweeps.run(*TWO_GROUPS, f"sweep.resume={sweeps.directory}") == 0
    assert statuses(sweeps) == {"llama2": {"ok": 6}, "mistral": {"ok": 6}}


INT, TERM = (signal.SIGINT, 130), (signal.SIGTERM, 143)


@pytest.mark.parametrize(
    ("launcher", "ending"), [("submitit_local", INT), ("submitit_local", TERM), ("joblib", INT), ("joblib", TERM)]
)
def test_jobs_end_with_their_sweep(
    sweeps: Sweeps, no_survivors: Survivors, launcher: str, ending: tuple[signal.Signals, int]
) -> None:
    number, code = ending
    process = sweeps.start(*TWO_GROUPS, f"launcher={launcher}")
    wait_for(lambda: len(sweeps.results()) >= 2, 60, "two points")
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    wait_for(lambda: not no_survivors(sweeps.directory), 60, "everything to end")
    assert sweeps.summary()["stopped"] == "interrupted"
    assert Counter(point["status"] for point in sweeps.summary()["points"])["ok"] >= 2


def test_jobs_of_a_killed_sweep_end_before_it_is_resumed(sweeps: Sweeps, no_survivors: Survivors) -> None:
    # long enough that the jobs still run when a busy machine has started the next sweep
    words = ["model=llama2,mistral", "seed=range(0,4)", "qps=2", "num_prompts=8", "launcher=submitit_local"]
    process = sweeps.start(*words)
    wait_for(lambda: len(sweeps.results()) >= 2, 60, "two points")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert any("submitit.core._submit" in line for line in no_survivors(sweeps.directory))
    assert sweeps.run(*words, f"sweep.resume={sweeps.directory}") == 0, sweeps.log.read_text()[-3000:]
    assert "of the earlier run first" in sweeps.log.read_text()
    assert statuses(sweeps) == {"llama2": {"ok": 4}, "mistral": {"ok": 4}}
    assert not no_survivors(sweeps.directory)


def test_slurm_jobs_get_the_gpus_of_their_group_and_run_side_by_side(sweeps: Sweeps, slurm: Path) -> None:
    words = ["model=llama2,mistral,tiny", "gpus=cpu,single,tp2", "sweep.zip=[[model,gpus]]", "qps=10,20"]
    assert sweeps.run(*words, "num_prompts=20", "launcher=slurm") == 0, sweeps.log.read_text()[-3000:]
    assert sweeps.summary()["server_starts"] == 3 and len(sweeps.results()) == 6
    jobs = fake_slurm.flags(slurm)
    assert sorted(job["gpus-per-node"] for job in jobs) == ["0", "1", "2"]
    starts = [path.stat().st_mtime for path in slurm.glob("*.pid")]
    ends = [path.stat().st_mtime for path in (sweeps.directory / ".groups").glob("*.json")]
    assert len(starts) == len(ends) == 3 and max(starts) < min(ends)
    wanted = {"cpu": "0", "single": "1", "tp2": "2"}
    for number, job in zip((100, 101, 102), jobs, strict=True):
        log = (sweeps.directory / f".submitit/{number}/{number}_0_log.out").read_text()
        assert {job["gpus-per-node"]} == {flag for name, flag in wanted.items() if f"gpus={name} " in log}


def test_slurm_jobs_are_cancelled_with_their_sweep(sweeps: Sweeps, slurm: Path, no_survivors: Survivors) -> None:
    process = sweeps.start(*TWO_GROUPS, "launcher=slurm")
    wait_for(lambda: len(sweeps.results()) >= 2, 60, "two points")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert sorted((slurm / "cancelled").read_text().split()) == ["100", "101"]
    queue = subprocess.run(["squeue", "--jobs=100,101"], capture_output=True, text=True, check=True)
    assert queue.stdout == ""
    assert not no_survivors(sweeps.directory)
    journals = [json.loads(path.read_text()) for path in (sweeps.directory / ".groups").glob("*.json")]
    assert len(journals) == 2 and not any(journal["finished"] for journal in journals)

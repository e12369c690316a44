"""Kill sweeps with SIGKILL at random moments, resume them, and look for lost, repeated or scattered results.

``python benchmarks/crash_trials.py --kills 200 [--launcher local,joblib,submitit_local,ray] [--directory DIR]``

Each round is a sweep on the fake engine with MLflow, in a directory of its own. It is started, killed and resumed with
``sweep.resume=auto`` until it ends by itself. A kill hits the main process, one of its servers, both, any one of its
processes, or all of them at once. Half of the points cannot become valid, so each resume measures them again.

After each kill, no process may be left, and what was measured must stay as it is. At the end of a round, every point
must have one result, all in one directory with one ``sweep.json``, and one run in MLflow.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

TAG = "BENCHHYDRA_CRASH_TRIAL"
TARGETS = ("main", "main", "server", "main and server", "any", "all")
#: Two servers: on the second one, requests fail, so that its points are INVALID or failed.
AXES = ("engine.http_5xx_fraction=0,0.4", "seed=range(0,4)")
POINTS = 8
SWEEP = (
    *("engine=fake", "engine.ttft_ms=1", "engine.itl_ms=0.5", "dataset.prompt_tokens=8", "dataset.output_tokens=4"),
    *("qps=inf", "num_prompts=6", "script.warmup_requests=1", "script.fail_on=never"),
    *("validity.lag_ms=1e9", "validity.stall_ms=1e9", "validity.client_cpu_fraction=99", "validity.reached_fraction=0"),
    *("validity.client_wait_fraction=9", "validity.client_wait_fraction_of_server=9"),
    *("tracking=mlflow", "tracking.series=false", "tracking.artifacts=false"),
)
#: Processes that a kill has left must end within this time; the one that logs results finishes its order first, which
#: may be the creation of the store. Jobs of submitit and Ray survive, and end when the sweep is resumed.
SURVIVORS_S, LOGGER_S = 20.0, 120.0
LOGGER = "tracking.outbox.logging_program"


class Damage(Exception):
    """Something was lost, repeated, scattered or left running."""


@dataclass
class Round:
    """One sweep in ``directory``, from its first start to its end. believable: run ids of results that must stay."""

    directory: Path
    launcher: str
    rng: random.Random
    typical_s: float = 6.0
    kills: list[str] = field(default_factory=list)
    believable: dict[str, str] = field(default_factory=dict)
    tag: str = field(default_factory=lambda: uuid.uuid4().hex)

    def kill_and_resume(self, most_kills: int) -> None:
        """Kill the sweep up to ``most_kills`` times, then let it end. Raises Damage."""
        while len(self.kills) < most_kills:
            process = self._start()
            started_s = time.monotonic()
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.rng.uniform(0.0, self.typical_s))
            if process.poll() is not None:
                self.typical_s = 0.9 * (time.monotonic() - started_s)
                break
            self._kill(process)
            self._check_after_kill()
        if self._start().wait(300) not in (0, 1):
            raise Damage(f"the last resume ended wrongly: {self._last_line()}")
        self._wait_for_survivors(LOGGER_S)
        self._check_results()
        self._check_store()

    def _start(self) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-m", "benchhydra", "-m", *SWEEP, *AXES, f"launcher={self.launcher}"]
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "log").open("ab") as log:
            return subprocess.Popen(
                [*words, "sweep.resume=auto"],
                cwd=self.directory,
                env={**os.environ, TAG: self.tag, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        target = self.rng.choice(TARGETS)
        victims = self._victims(target, process)
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        self.kills.append(target)
        if process.pid not in [victim.pid for victim in victims]:  # the sweep goes on: let it, for a while
            with suppress(subprocess.TimeoutExpired):
                process.wait(self.rng.uniform(0.0, self.typical_s))
            process.kill()
        process.wait()

    def _victims(self, target: str, process: subprocess.Popen[bytes]) -> list[psutil.Process]:
        main, ours = [psutil.Process(process.pid)], self.processes()
        servers = [one for one in ours if "benchhydra.fakeserver" in words_of(one)]
        if target == "main":
            return main
        if target == "all":
            return ours
        chosen = servers if "server" in target else ours
        return [*(main if "main" in target else []), *self.rng.sample(chosen, min(1, len(chosen)))]

    def processes(self) -> list[psutil.Process]:
        """The running processes of this round: they have its tag in their environment."""
        ours = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(TAG) == self.tag and process.status() != psutil.STATUS_ZOMBIE:
                    ours.append(process)
        return ours

    def _check_after_kill(self) -> None:
        if self.launcher in ("local", "joblib"):
            self._wait_for_survivors(SURVIVORS_S, LOGGER)
        self._check_kept()

    def _wait_for_survivors(self, limit_s: float, spared: str | None = None) -> None:
        deadline_s = time.monotonic() + limit_s
        while left := [
            words for words in map(words_of, self.processes()) if words and not (spared and spared in words)
        ]:
            if time.monotonic() > deadline_s:
                raise Damage(f"still running {limit_s:g} s after {self.kills[-1:]}: {left}")
            time.sleep(0.05)

    def _check_kept(self) -> None:
        now = {str(path.parent): result for path, result in self.results()}
        for name, run_id in self.believable.items():
            if name not in now or now[name]["run_id"] != run_id:
                raise Damage(f"lost or measured again: {name}")
        kept = {name: result for name, result in now.items() if result["status"] == "ok"}
        self.believable = {name: r["run_id"] for name, r in kept.items() if r["verdict"] != "INVALID"}

    def results(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The results anywhere below the directory. Raises Damage if one cannot be read."""
        for path in self.directory.glob("outputs/sweeps/**/result.json"):
            try:
                yield path, json.loads(path.read_text())
            except FileNotFoundError:  # it is measured again at this moment, by a job that survives
                continue
            except ValueError as error:
                raise Damage(f"{path} is damaged") from error

    def _check_results(self) -> None:
        """Every point has one result, in the one directory that has a ``sweep.json``."""
        self._check_kept()
        paths = [path for path, _ in self.results()]
        sweeps = list(self.directory.glob("outputs/sweeps/**/sweep.json"))
        if len(sweeps) != 1 or {path.parents[1] for path in paths} != {sweeps[0].parent}:
            raise Damage(f"scattered over {sorted({str(path.parents[1]) for path in paths})}, sweeps in {sweeps}")
        points = {(r["point_key"], r["config"]["seed"]): r["run_id"] for _, r in self.results()}
        if len(paths) != POINTS or len(points) != POINTS:
            raise Damage(f"{len(paths)} results of {len(points)} points instead of {POINTS}")
        sweep = json.loads(sweeps[0].read_text())
        listed = {(entry["directory"], entry["status"]) for entry in sweep["points"]}
        if {directory for directory, _ in listed} != {str(path.parent) for path in paths} or not sweep["finished"]:
            raise Damage(f"sweep.json lists {sorted(listed)}")
        valid = [r for _, r in self.results() if r["config"]["engine"]["http_5xx_fraction"] == 0]
        if any(result["status"] != "ok" or result["verdict"] == "INVALID" for result in valid):
            raise Damage("a point that can be measured was not")

    def _check_store(self) -> None:
        """Every result has one active run, which is complete, and there are no others; logging again adds none."""
        run_ids = sorted(result["run_id"] for _, result in self.results())
        with closing(sqlite3.connect(self.directory / "outputs/mlflow.db")) as base:
            query = (
                "select t.value, r.status from runs r left join tags t on t.run_uuid = r.run_uuid and t.key = 'run_id'"
            )
            rows = base.execute(f"{query} where r.lifecycle_stage = 'active'").fetchall()
        if sorted(run_id for run_id, _ in rows) != run_ids or any(status == "RUNNING" for _, status in rows):
            raise Damage(f"MLflow has {len(rows)} runs, {sorted(map(str, rows))}, of {len(run_ids)} results {run_ids}")

    def _last_line(self) -> str:
        return ((self.directory / "log").read_text(errors="replace").strip().splitlines() or [""])[-1]


def words_of(process: psutil.Process) -> str:
    """A process's command line; empty once it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def run_rounds(directory: Path, kills: int, launchers: list[str], rng: random.Random) -> Iterator[tuple[Round, str]]:
    """Run rounds until there were enough kills; yield each with the damage that was seen, "" for none."""
    done, number, typical_s = 0, 0, 6.0
    while done < kills:
        trial = Round(directory / str(number), launchers[number % len(launchers)], rng, typical_s)
        try:
            trial.kill_and_resume(min(12, kills - done))
            damage = ""
        except Damage as error:
            damage = str(error)
        for process in trial.processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        done, number, typical_s = done + len(trial.kills), number + 1, trial.typical_s
        yield trial, damage


def main() -> None:
    """Run the trials, print a line for each round, and exit with 1 if any damage was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--launcher", default="local,local,joblib,local,submitit_local")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--directory", type=Path, default=None)
    args = parser.parse_args()
    os.nice(10)
    directory = args.directory or Path(tempfile.mkdtemp(prefix="crash-trials-"))
    total, damaged = 0, 0
    for trial, damage in run_rounds(directory, args.kills, args.launcher.split(","), random.Random(args.seed)):
        total, damaged = total + len(trial.kills), damaged + bool(damage)
        kills = ", ".join(trial.kills)
        sys.stdout.write(
            f"{trial.directory.name} {trial.launcher}: {len(trial.kills)} kills ({kills}): {damage or 'ok'}\n"
        )
        sys.stdout.flush()
    sys.stdout.write(f"{total} kills, {damaged} rounds with damage; files: {directory}\n")
    sys.exit(bool(damaged))


if __name__ == "__main__":
    main()

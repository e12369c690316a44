"""Sweepers that are not ours: each job has a directory of its own, failures count, and a run returns its objective."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.sweep.conftest import QUICK

from benchhydra.result import Result

POINT = ("num_prompts=3", "qps=inf", "hydra.sweep.dir=sweep")
#: An optimizer in one file: it tries each value of the one swept key, and writes what the runs returned, as Optuna's
#: sweeper reads it.
SWEEPER = """
import json
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


@dataclass
class OptimizerConf:
    _target_: str = "hydra_plugins.tiny_optimizer.optimizer.Optimizer"


ConfigStore.instance().store(group="hydra/sweeper", name="tiny_optimizer", node=OptimizerConf)


class Optimizer(Sweeper):
    def setup(self, *, hydra_context, task_function, config):
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self.directory = config.hydra.sweep.dir

    def sweep(self, arguments):
        Path(self.directory).mkdir(parents=True)
        *fixed, swept = arguments
        key, values = swept.split("=")
        tried = {}
        for number, value in enumerate(values.split(",")):
            (job,) = self.launcher.launch([[*fixed, f"{key}={value}"]], initial_job_idx=number)
            tried[value] = float(job.return_value)
        (Path(self.directory) / "best.json").write_text(json.dumps(tried))
"""


def run(directory: Path, *words: str) -> tuple[int, str]:
    """Run the program in a directory; return its exit code and its error output."""
    command = [sys.executable, "-m", "benchhydra", "-m", *QUICK, *POINT, *words]
    paths = os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120, env=env)
    return done.returncode, done.stderr


def metric(result: Path, name: str) -> float:
    return float(Result.read(result.parent).metrics[name].value)


def test_hydras_own_sweeper_gives_each_job_a_directory(tmp_path: Path) -> None:
    code, error = run(tmp_path, "hydra/sweeper=basic", "seed=7,8")
    assert code == 0, error
    results = [json.loads((tmp_path / "sweep" / name / "result.json").read_text("utf-8")) for name in ("0", "1")]
    assert [result["config"]["seed"] for result in results] == [7, 8]


def test_a_failed_job_of_another_sweeper_is_an_error(tmp_path: Path) -> None:
    code, error = run(tmp_path, "hydra/sweeper=basic", "engine.fail_start=true,false", "seed=7")
    assert code == 1
    assert "error: the server exited with code 1" in error
    assert "Traceback" not in error
    statuses = [json.loads((tmp_path / "sweep" / name / "result.json").read_text())["status"] for name in ("0", "1")]
    assert statuses == ["failed", "ok"]  # the rest of the batch still runs


def test_a_run_returns_its_objective(tmp_path: Path) -> None:
    plugin = tmp_path / "hydra_plugins" / "tiny_optimizer"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").touch()
    (plugin / "optimizer.py").write_text(SWEEPER)
    code, error = run(tmp_path, "objective=p99_ttft_ms", "hydra/sweeper=tiny_optimizer", "engine.ttft_ms=5,60")
    assert code == 0, error
    tried = json.loads((tmp_path / "sweep" / "best.json").read_text())
    assert tried == {
        value: metric(tmp_path / "sweep" / number / "result.json", "p99_ttft_ms")
        for number, value in (("0", "5"), ("1", "60"))
    }
    assert 5 <= tried["5"] < tried["60"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("objective=p99_tttft_ms",),
            "error: objective=p99_tttft_ms: no such metric\n  hint: did you mean p99_ttft_ms?",
        ),
        (("objective=energy_per_token",), "error: objective=energy_per_token: no such metric"),
        (("objective=p99.9_ttft_ms",), "error: objective: p99.9 is not computed\n  hint: percentiles=[99.9]"),
    ],
)
def test_an_objective_that_is_no_metric_is_refused_before_a_server_starts(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    code, error = run(tmp_path, "hydra/sweeper=basic", "seed=7", *words)
    assert code == 1 and message in error
    assert not list(tmp_path.rglob("server-1.log"))


def test_an_objective_that_was_not_measured_is_an_error(tmp_path: Path) -> None:
    code, error = run(tmp_path, "hydra/sweeper=basic", "seed=7", "script.stream=false", "objective=p99_ttft_ms")
    assert code == 1
    assert "objective=p99_ttft_ms was not measured by script=serving" in error

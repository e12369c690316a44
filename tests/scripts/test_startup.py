"""``script=startup`` on the fake engine, and on one that says what it finds in its caches and beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest
from tests.processes import command_line, descendants, running
from tests.scripts.points import composed, run
from tests.waiting import wait_for

from benchhydra.config import BenchConfig
from benchhydra.engines import ServerSpec
from benchhydra.engines.fake import Fake
from benchhydra.engines.starts import StartCaches, StartPhases
from benchhydra.errors import ConfigError, EngineError
from benchhydra.measure import Measurement
from benchhydra.progress import Progress
from benchhydra.records import Phase, Records
from benchhydra.result import Result
from benchhydra.run import point_of, spec_of
from benchhydra.scripts.startup import Startup
from benchhydra.series import read_series
from benchhydra.servers.pool import ServerPool
from benchhydra.target import Target

STARTUP = ["script=startup", "engine.start_s=0.4", "engine.ttft_ms=50", "engine.itl_ms=1"]
STARTUP += ["dataset.prompt_tokens=16", "dataset.output_tokens=4"]
#: A server that logs whether its cache is empty, fills it, and takes a lock that no other server may hold.
PROGRAM = """
import fcntl, os, runpy, sys
from pathlib import Path
lock = open(os.environ["LOCK"], "w")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
cache = Path(os.environ["TEST_CACHE"])
print("cache is", "full" if cache.exists() else "empty", "and weights took 1.5 s", flush=True)
cache.mkdir(parents=True, exist_ok=True)
sys.argv[0] = "benchhydra.fakeserver"
runpy.run_module("benchhydra.fakeserver", run_name="__main__")
"""


@dataclass(kw_only=True)
class Cached(Fake):
    """The fake engine with a cache, and a log that tells a phase."""

    lock: str = ""

    def server(self, target: Target) -> ServerSpec:
        spec = super().server(target)
        argv = (sys.executable, "-c", PROGRAM, *spec.argv[4:])
        return replace(spec, argv=argv, env=(("LOCK", self.lock), ("TEST_CACHE", self.lock + ".cache")))

    def start_caches(self, target: Target) -> StartCaches:
        return StartCaches(variables=("TEST_CACHE",))

    def start_phases(self, log: str, started_s: float, ready_s: float) -> StartPhases:
        assert started_s < ready_s <= time.time()
        return StartPhases(weights_s=1.5 if "weights took 1.5 s" in log else None, kv_cache_tokens=4096.0)


def measured(directory: Path, script: Startup, engine: Fake | None = None) -> Measurement:
    """What the script measures, without the result around it."""
    config: BenchConfig = composed(*STARTUP)
    config.engine = engine or Cached(lock=str(directory / "lock"), start_s=0.2)
    target = config.engine.target(config.model, config.sparsity, config.gpus)
    pool = ServerPool(directory / "servers")
    try:
        return script.measure(point_of(config, target, directory, Progress(), pool), None)
    finally:
        pool.close()


def test_a_start_takes_what_the_engine_takes(tmp_path: Path) -> None:
    result = run(tmp_path / "point", *STARTUP, "script.starts=2")
    assert result.status == "ok" and result.engine_version is not None and result.load_label == "starts=2"
    value = {key: metric.value for key, metric in result.metrics.items()}
    assert value["starts"] == 4 and result.metadata["starts"] == "cold warm cold warm"
    for cache in ("cold", "warm"):
        assert 0.4 < value[f"median_{cache}_ready_s"] <= value[f"max_{cache}_ready_s"] < 10
        assert value[f"median_{cache}_first_token_s"] >= value[f"median_{cache}_ready_s"] + 0.05
    assert set(result.key_metrics) <= value.keys()
    assert not result.warnings
    rows = Records.read(tmp_path / "point" / "records.parquet")
    assert len(rows) == 4 and (rows.phase == Phase.MEASURED).all() and rows.completed.all()
    assert (rows.first_ns - rows.sent_ns > 0.45e9).all() and (rows.sent_ns[1:] > rows.done_ns[:-1]).all()
    names = {series.name for series in read_series(tmp_path / "point" / "series.parquet")}
    assert not any(name in names for name in ("client.sent_rps", "client.in_flight"))  # starts are no requests
    log = (tmp_path / "point" / "server.log").read_text()
    assert log.count("=== cold start") == log.count("=== warm start") == 2 and log.count("fake server") == 4


def test_the_offline_engine_starts_too(tmp_path: Path) -> None:
    result = run(tmp_path / "point", *STARTUP, "script.starts=1", "script.on=offline")
    value = {key: metric.value for key, metric in result.metrics.items()}
    assert value["median_cold_ready_s"] > 0
    assert value["median_warm_first_token_s"] == pytest.approx(value["median_warm_ready_s"] + 0.05)


def test_a_cold_start_has_empty_caches_a_warm_one_those_of_the_cold_one_and_none_runs_beside_it(tmp_path: Path) -> None:
    before = set(Path(tempfile.gettempdir()).glob("benchhydra-*"))
    measurement = measured(tmp_path, Startup(starts=2))
    log = (tmp_path / "server.log").read_text()
    assert [line for line in log.splitlines() if "cache is" in line] == [
        f"cache is {state} and weights took 1.5 s" for state in ("empty", "full", "empty", "full")
    ]
    assert measurement.samples.keys() == {
        "cold_ready_s",
        "cold_first_token_s",
        "cold_weights_s",
        "warm_ready_s",
        "warm_first_token_s",
        "warm_weights_s",
        "kv_cache_tokens",
    }
    assert len(measurement.samples["cold_ready_s"]) == 2 and len(measurement.samples["kv_cache_tokens"]) == 4
    assert set(Path(tempfile.gettempdir()).glob("benchhydra-*")) <= before
    assert not Path(f"{tmp_path / 'lock'}.cache").exists()  # the user's own cache was not touched


def test_warm_starts_alone_follow_a_cold_one_that_does_not_count(tmp_path: Path) -> None:
    measurement = measured(tmp_path, Startup(starts=2, caches="warm"))
    assert (tmp_path / "server.log").read_text().count("cache is full") == 2
    assert measurement.records.phase.tolist() == [Phase.WARMUP, Phase.MEASURED, Phase.MEASURED]
    assert "cold_ready_s" not in measurement.samples and len(measurement.samples["warm_ready_s"]) == 2


def test_cold_starts_alone(tmp_path: Path) -> None:
    measurement = measured(tmp_path, Startup(starts=2, caches="cold"))
    assert (tmp_path / "server.log").read_text().count("cache is empty") == 2
    assert "warm_ready_s" not in measurement.samples and measurement.metadata["starts"] == "cold cold"


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (None, "engine=fake does not declare its caches: its cold starts may be warm"),
        (StartCaches(files=None), "the model's files were not found on this machine"),
        (StartCaches(files=(Path("/no/such/weights"),)), "1 of 1 files of the model were not dropped"),
    ],
)
def test_what_could_not_be_dropped_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: StartCaches | None, words: str
) -> None:
    monkeypatch.setattr(Fake, "start_caches", lambda self, target: known)
    measurement = measured(tmp_path, Startup(starts=1, caches="cold"), Fake(start_s=0.1))
    assert any(words in warning for warning in measurement.warnings)
    assert any("variation between starts is unknown" in warning for warning in measurement.warnings)


def test_an_engine_that_fails_to_start_fails_the_point_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="exited with code"):
        run(tmp_path / "point", *STARTUP, "engine.fail_start=true")
    result = Result.read(tmp_path / "point")
    assert result.status == "failed" and result.log_tail


def test_an_engine_whose_first_request_fails_fails_the_point(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="the first request after a start failed"):
        run(tmp_path / "point", *STARTUP, "engine.http_5xx_fraction=1")
    assert "fake server" in (tmp_path / "point" / "server.log").read_text()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["script.starts=0"], "script.starts=0 must be at least 1"),
        (["num_prompts=100"], "num_prompts=100 has no effect"),
        (["engine=attach"], "needs an engine that it can start"),
    ],
)
def test_what_cannot_be_measured_is_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        spec_of(composed("script=startup", *overrides))


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_an_interruption_of_a_start_leaves_nothing(tmp_path: Path, sig: signal.Signals) -> None:
    command = [sys.executable, "-m", "benchhydra", "model=llama2", "engine=fake", "tracking=none", *STARTUP]
    command += ["engine.start_s=60", f"hydra.run.dir={tmp_path / 'point'}"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    client = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        wait_for(lambda: any("fakeserver" in command_line(p) for p in descendants(client.pid)), 60, "the server")
        processes: list[psutil.Process] = descendants(client.pid)
        os.kill(client.pid, sig)
        client.wait(timeout=60)
        wait_for(lambda: not running(processes), 60, "the server's end")
    finally:
        client.kill()
    assert client.returncode == 128 + sig
    assert Result.read(tmp_path / "point").status == "interrupted"
    assert not list(tmp_path.glob("benchhydra-*"))

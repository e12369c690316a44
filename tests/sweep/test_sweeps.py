"""Whole sweeps on the fake engine: servers start once, a failure does not stop others, resume loses nothing."""

from __future__ import annotations

import json
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.waiting import wait_for

#: The port in the first line of the fake server's log.
PORT = re.compile(r"fake server: .* on 127\.0\.0\.1:(\d+)")
Sweeps = Any  # the fixture ``sweeps`` of conftest.py


def measuring(sweeps: Sweeps, process: subprocess.Popen[bytes], seen: int) -> bool:
    """Whether a sweep has measured a point, after ``seen`` in earlier runs, or has ended."""
    return process.poll() is not None or len(list(sweeps.directory.glob("*/result.json"))) > seen


def listening() -> set[int]:
    """The ports of this machine that a process listens on."""
    return {getattr(c.laddr, "port", 0) for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN}


def test_twelve_points_on_four_servers(sweeps: Sweeps) -> None:
    code = sweeps.run("qps=100,200,400", "model=llama2,mistral", "engine.args.max_num_seqs=64,128", "num_prompts=5")
    assert code == 0, sweeps.log.read_text()
    summary = sweeps.summary()
    assert len(summary["points"]) == 12 and summary["server_starts"] == 4
    assert all(point["status"] == "ok" for point in summary["points"])
    assert len({result["point_key"] for result in sweeps.results().values()}) == 12
    assert (sweeps.directory / "summary.md").exists() and (sweeps.directory / "summary.csv").exists()


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_every_launcher_starts_each_server_once(sweeps: Sweeps, launcher: str) -> None:
    code = sweeps.run("qps=100,200", "model=llama2,mistral", "num_prompts=5", f"launcher={launcher}")
    assert code == 0, sweeps.log.read_text()
    assert len(sweeps.summary()["points"]) == 4 and sweeps.summary()["server_starts"] == 2


def test_a_plan_starts_nothing(sweeps: Sweeps) -> None:
    done = subprocess.run(
        sweeps.command("qps=1,5,10", "model=llama2,mistral", "num_prompts=5", "sweep.plan=true"),
        cwd=sweeps.directory.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "6 points" in done.stdout and done.stdout.count("fakeserver") == 2
    assert not sweeps.directory.exists() and not (sweeps.directory.parent / "outputs").exists()


@pytest.mark.slow
def test_failures_are_listed_and_resume_runs_just_those(sweeps: Sweeps) -> None:
    """100 points of which 5 % fail, at random."""
    rng = random.Random(5)
    bad = set(rng.sample(range(100), 5))
    names = ",".join("nobody" if seed in bad else "NousResearch/Llama-2-7b-chat-hf" for seed in range(100))
    words = ["sweep.zip=[[seed,script.body.model]]", "seed=range(0,100)", f"script.body.model={names}"]
    words += ["model=llama2", "qps=inf", "num_prompts=2"]
    code = sweeps.run(*words, timeout=280)
    assert code == 1
    failed = [point["overrides"] for point in sweeps.summary()["points"] if point["status"] == "failed"]
    assert {int(o.partition("=")[2]) for overrides in failed for o in overrides if o.startswith("seed=")} == bad
    log = sweeps.log.read_text()
    assert "5 failed of 100 points" in log and log.count("to run this point by itself: ") == 5
    before = {name: result["run_id"] for name, result in sweeps.results().items() if result["status"] == "ok"}
    assert len(before) == 95
    failures = {name: result["run_id"] for name, result in sweeps.results().items() if result["status"] == "failed"}
    assert sweeps.run(*words, f"sweep.resume={sweeps.directory}") == 1
    after = {name: result["run_id"] for name, result in sweeps.results().items()}
    assert len(after) == 100 and before.items() <= after.items()
    assert failures.keys() == after.keys() - before.keys() and not failures.items() & after.items()


def test_the_command_in_the_list_runs_a_failed_point_alone(sweeps: Sweeps) -> None:
    """Copied into a shell, with a description that needs quotes, a config directory, and keys that only sweeps take."""
    (sweeps.directory.parent / "conf" / "model").mkdir(parents=True)
    (sweeps.directory.parent / "conf" / "model" / "mine.yaml").write_text("id: mine\n")
    words = ["--config-dir", "conf", "model=mine", "script.body.model=nobody,mine", "num_prompts=2", "qps=inf"]
    assert sweeps.run(*words, "description='it is \"mine\", yes'", "repeats=2", "sweep.order=interleaved") == 1
    log = sweeps.log.read_text()
    assert "failed: script.body.model=nobody repeat=1\n" in log
    commands = [line.partition(": ")[2] for line in log.splitlines() if "to run this point by itself: " in line]
    assert len(commands) == 2
    program, *rest = shlex.split(commands[1])
    assert program == "benchhydra"
    alone = subprocess.run(
        [sys.executable, "-m", "benchhydra", *rest],
        cwd=sweeps.directory.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert alone.returncode == 1 and "The model `nobody` does not exist" in alone.stderr
    (result,) = (sweeps.directory.parent / "outputs").glob("**/result.json")
    again, first = json.loads(result.read_text()), [r for r in sweeps.results().values() if r["repeat"] == 1]
    assert {again["point_key"]} == {r["point_key"] for r in first if r["status"] == "failed"}
    assert again["description"] == 'it is "mine", yes' and again["repeat"] == 1


def test_a_server_that_does_not_start_does_not_stop_the_others(sweeps: Sweeps) -> None:
    assert sweeps.run("engine.fail_start=false,true", "qps=100,200", "num_prompts=3") == 1
    assert Counter(point["status"] for point in sweeps.summary()["points"]) == {"ok": 2, "failed": 2}
    assert "failing to start, as requested" in sweeps.log.read_text()


def test_a_server_that_failed_to_start_twice_is_not_tried_again(sweeps: Sweeps) -> None:
    assert sweeps.run("engine.fail_start=true", "seed=range(0,5)", "num_prompts=3") == 1
    assert sweeps.summary()["server_starts"] == 2
    errors = [point["error"] for point in sweeps.summary()["points"]]
    assert [error.startswith("not tried: ") for error in errors] == [False, False, True, True, True]


@pytest.mark.parametrize("order", ["blocked", "interleaved"])
def test_repeats_share_a_server_and_are_summarized(sweeps: Sweeps, order: str) -> None:
    assert sweeps.run("qps=100,200", "num_prompts=5", "repeats=3", f"sweep.order={order}") == 0
    summary = sweeps.summary()
    assert len(summary["points"]) == 6 and summary["server_starts"] == 1
    assert [entry["repeats"] for entry in summary["repeats"]] == [3, 3]
    spread = summary["repeats"][0]["metrics"]["mean_ttft_ms"]
    assert spread["low"] <= spread["mean"] <= spread["high"]


def test_points_repeat_until_the_interval_is_narrow(sweeps: Sweeps) -> None:
    # a busy machine adds little to half a second
    wide = ["num_prompts=10", "qps=200", "engine.ttft_ms=500", "repeats=2", "search=repeats"]
    assert sweeps.run(*wide, "search.ci=mean_e2el_ms:99%", "search.max_repeats=6") == 0
    assert len(sweeps.results()) == 2
    sweeps.directory = sweeps.directory.with_name("narrow")
    narrow = ["search=repeats", "search.ci=mean_e2el_ms:0.001%", "search.max_repeats=4"]
    sweeps.run("num_prompts=10", "qps=200", "repeats=2", *narrow)
    assert len(sweeps.results()) == 4


def test_a_time_limit_stops_after_a_point_and_resume_continues(sweeps: Sweeps) -> None:
    words = ["seed=range(0,14)", "qps=20", "num_prompts=10"]
    assert sweeps.run(*words, "sweep.max_time_s=2") == 1
    first = sweeps.results()
    assert 0 < len(first) < 14 and "sweep.resume=" in sweeps.log.read_text()
    assert sweeps.run(*words, f"sweep.resume={sweeps.directory}") == 0
    assert len(sweeps.results()) == 14


def test_another_engine_version_is_refused_before_anything_starts(sweeps: Sweeps) -> None:
    words = ["model=llama2", "script.body.model=nobody,NousResearch/Llama-2-7b-chat-hf", "num_prompts=2", "qps=inf"]
    assert sweeps.run(*words) == 1
    (good,) = [sweeps.directory / name / "result.json" for name, r in sweeps.results().items() if r["status"] == "ok"]
    text = good.read_text()
    good.write_text(text.replace('"engine_version": "fake-', '"engine_version": "older-'))
    assert good.read_text() != text
    starts = sweeps.log.read_text().count("server ready")
    assert sweeps.run(*words, f"sweep.resume={sweeps.directory}") == 1
    log = sweeps.log.read_text()
    assert "would mix results of versions fake-" in log and "older-" in log
    assert log.count("server ready") == starts
    sweeps.run(*words, f"sweep.resume={sweeps.directory}", "sweep.any_engine_version=true")
    assert sweeps.log.read_text().count("server ready") == starts + 1


def test_a_server_start_is_counted_even_if_the_sweep_was_killed_before_a_point(sweeps: Sweeps) -> None:
    words = ["engine.ttft_ms=500", "qps=inf", "num_prompts=2"]
    process = sweeps.start(*words)
    wait_for(lambda: sweeps.log.exists() and "server ready" in sweeps.log.read_text(), 60, "the server")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sweeps.run(*words, f"sweep.resume={sweeps.directory}") == 0
    assert sweeps.summary()["server_starts"] == 2


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_at_random_moments_nothing_is_lost_or_measured_twice(
    sweeps: Sweeps, no_survivors: Callable[[Path], list[str]]
) -> None:
    """SIGKILL, ten times or until all is done; the survivors of each kill stay as they were.

    ``benchmarks/crash_trials.py`` kills more often, on several launchers.
    """
    words = ["seed=range(0,100)", "qps=inf", "num_prompts=2"]
    rng = random.Random(11)
    kills, kept = 0, dict[str, str]()
    while kills < 10:
        more = [f"sweep.resume={sweeps.directory}"] if (sweeps.directory / "sweep.json").exists() else []
        process = sweeps.start(*words, *more)
        if rng.random() < 0.5:  # a busy machine starts slowly: half of the kills come after the start
            wait_for(partial(measuring, sweeps, process, len(kept)), 60, "the sweep to measure")
        try:
            process.wait(timeout=rng.uniform(0.1, 1.5))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        wait_for(lambda: not no_survivors(sweeps.directory), 60, "servers to end after the kill")
        now = {name: result["run_id"] for name, result in sweeps.results().items()}
        assert kept.items() <= now.items(), "a finished point was lost or measured again"
        kept = now
    more = [f"sweep.resume={sweeps.directory}"] if (sweeps.directory / "sweep.json").exists() else []
    assert sweeps.run(*words, *more) == 0, sweeps.log.read_text()[-3000:]
    results = sweeps.results()
    assert len(results) == 100 and kept.items() <= {name: r["run_id"] for name, r in results.items()}.items()
    assert kills >= 4
    assert not no_survivors(sweeps.directory)
    ports = {int(port) for log in sweeps.directory.glob("servers/*.log") for port in PORT.findall(log.read_text())}
    assert len(ports) >= 3 and not ports & listening()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_sweep_keeps_what_was_measured(
    sweeps: Sweeps, no_survivors: Callable[[Path], list[str]], number: signal.Signals, code: int
) -> None:
    process = sweeps.start("seed=range(0,50)", "qps=10", "num_prompts=10")
    wait_for(lambda: len(sweeps.results()) >= 2, 60, "two points")
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert not no_survivors(sweeps.directory)
    assert "to resume: " in sweeps.log.read_text()
    assert sum(result["status"] == "ok" for result in sweeps.results().values()) >= 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_the_warm_up_ends_the_run(
    sweeps: Sweeps, no_survivors: Callable[[Path], list[str]], number: signal.Signals, code: int
) -> None:
    """The load generator handles the signal there too: it must end the run, not be lost before the load."""
    process = sweeps.start("engine.ttft_ms=4000", "qps=1", "num_prompts=100")
    wait_for(lambda: sweeps.log.exists() and "server ready" in sweeps.log.read_text(), 60, "the server")
    time.sleep(1)  # the warm-up waits 4 s for its first token
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert not no_survivors(sweeps.directory)
    assert [result["status"] for result in sweeps.results().values()] == ["interrupted"]

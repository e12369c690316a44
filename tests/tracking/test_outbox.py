"""The outbox with its real helper process and a real MLflow store: what waits, when it is logged, what is lost and told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from tests.processes import command_line, descendants, running
from tests.waiting import wait_for

from benchhydra.result import Result
from benchhydra.tracking import NoTracking
from benchhydra.tracking.mlflow import Mlflow, links
from benchhydra.tracking.outbox import PATIENCE_S, Outbox, shared

Make = Callable[..., tuple[Result, Path]]


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def quick(uri: str) -> Mlflow:
    return Mlflow(uri=uri, artifacts=False)


def helpers() -> list[psutil.Process]:
    """The processes of ours that log."""
    return [child for child in running(descendants(os.getpid())) if "tracking._helper" in command_line(child)]


def test_a_result_waits_for_a_time_when_nothing_is_measured(quick: Mlflow, point: Make) -> None:
    (first, first_directory), (second, second_directory) = point(), point()
    with Outbox() as outbox:
        outbox.log(quick, first, first_directory)
        assert len(outbox) == 1 and not helpers(), "nothing is done while points are measured"
        with outbox.working():
            wait_for(lambda: len(outbox) == 0, 60, "the result to be logged")
        assert quick.logged(first_directory)
        outbox.log(quick, second, second_directory)
        assert not quick.logged(second_directory)
    assert links(second_directory)["experiment_id"] == links(first_directory)["experiment_id"]
    assert not helpers()


def test_the_helper_rests_between_times(quick: Mlflow, point: Make) -> None:
    with Outbox() as outbox:
        outbox.expect(quick)
        for _ in range(3):
            outbox.log(quick, *point())
        with outbox.working():
            wait_for(lambda: bool(helpers()), 10, "the helper")
        (helper,) = helpers()
        spent, left = helper.cpu_times(), len(outbox)
        wait_for(lambda: helper.status() == psutil.STATUS_SLEEPING, 5, "it to wait for orders")
        assert (helper.cpu_times(), len(outbox)) == (spent, left)


def test_a_store_is_made_before_there_is_a_result(tmp_path: Path) -> None:
    fresh = Mlflow(uri=f"sqlite:///{tmp_path / 'fresh' / 'mlflow.db'}")
    with Outbox() as outbox:
        outbox.expect(fresh)
        outbox.expect(fresh)
        with outbox.working():
            wait_for((tmp_path / "fresh" / "mlflow.db").exists, 60, "the store")


def test_patience_has_an_end(quick: Mlflow, point: Make) -> None:
    clock = Clock()
    with Outbox(clock) as outbox:
        (first, first_directory), (second, second_directory) = point(), point()
        outbox.log(quick, first, first_directory)
        clock.now += PATIENCE_S + 1
        outbox.log(quick, second, second_directory)
        assert quick.logged(first_directory) and quick.logged(second_directory)


def test_a_quick_tracker_is_not_kept_waiting(point: Make) -> None:
    seen: list[Path] = []

    class Noting(NoTracking):
        def log(self, result: Result, directory: Path) -> str | None:
            seen.append(directory)
            return None

    result, directory = point()
    with Outbox() as outbox:
        outbox.expect(Noting())
        outbox.log(Noting(), result, directory)
        assert seen == [directory]
        outbox.log_repeats(Noting(), {}, [directory])
        outbox.catch_up(Noting(), directory)
        assert len(outbox) == 0
        with outbox.working():
            assert not helpers()


def test_repeats_come_after_their_points(quick: Mlflow, client: object, point: Make) -> None:
    made = [point(run_id=f"outbox-repeat-{number}") for number in range(2)]
    repeated = {"repeats": 2, "metrics": {"mean_ttft_ms": {"mean": 5.0, "low": 4.0, "high": 6.0}}}
    with Outbox() as outbox:
        for result, directory in made:
            outbox.log(quick, result, directory)
        outbox.log_repeats(quick, repeated, [directory for _, directory in made])
    for _, directory in made:
        run = client.get_run(links(directory)["run_id"])  # type: ignore[attr-defined]
        assert run.data.metrics["repeats/mean_ttft_ms_mean"] == 5.0


def test_what_an_earlier_process_did_not_log_is_caught_up(quick: Mlflow, point: Make) -> None:
    (first, first_directory), (_, second_directory) = point(), point()
    quick.log(first, first_directory)
    before = links(first_directory)
    with Outbox() as outbox:
        outbox.catch_up(quick, first_directory)
        assert len(outbox) == 0
        outbox.catch_up(quick, second_directory)
        assert len(outbox) == 1
    assert quick.logged(second_directory) and links(first_directory) == before


def test_a_helper_that_dies_loses_one_result_and_says_so(
    quick: Mlflow, point: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    (first, first_directory), (second, second_directory) = point(), point()
    with Outbox() as outbox:
        outbox.expect(quick)
        outbox.flush()
        (helper,) = helpers()
        helper.send_signal(signal.SIGKILL)
        wait_for(lambda: helper.status() == psutil.STATUS_ZOMBIE, 10, "its end")
        outbox.log(quick, first, first_directory)
        outbox.flush()
        outbox.log(quick, second, second_directory)
    assert not quick.logged(first_directory) and quick.logged(second_directory)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("a result is not logged (") and line.endswith(f"benchhydra log {first_directory}")


def test_a_result_that_is_gone_is_one_line(quick: Mlflow, point: Make, capfd: pytest.CaptureFixture[str]) -> None:
    (first, first_directory), (second, second_directory) = point(), point()
    with Outbox() as outbox:
        outbox.log(quick, first, first_directory)
        (first_directory / "result.json").unlink()
        outbox.log(quick, second, second_directory)
    assert quick.logged(second_directory)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("not logged: ") and str(first_directory) in line


def test_after_an_interruption_there_is_little_time(
    quick: Mlflow, point: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()

    def late() -> float:
        clock.now += 6.0
        return clock.now

    with pytest.raises(KeyboardInterrupt), Outbox(late) as outbox:
        for _ in range(3):
            outbox.log(quick, *point())
        raise KeyboardInterrupt
    (line,) = capfd.readouterr().err.splitlines()
    assert line == f"2 results are not logged (there was no time), but safe; log later: benchhydra log {tmp_path}"
    assert not helpers()


def test_the_helper_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import time\n"
        "from benchhydra.tracking.mlflow import Mlflow\n"
        "from benchhydra.tracking.outbox import Outbox\n"
        "outbox = Outbox()\n"
        f"outbox.expect(Mlflow(uri='sqlite:///{tmp_path}/mlflow.db', artifacts=False))\n"
        "outbox.flush()\n"
        "print(outbox._helper._popen.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        helper = psutil.Process(int(parent.stdout.readline()))
        assert running([helper])
        os.kill(parent.pid, signal.SIGKILL)
    wait_for(lambda: not running([helper]), 15, "the helper's end")


def test_jobs_of_this_thread_share_the_sweeps(quick: Mlflow) -> None:
    assert shared() is None
    with Outbox() as outbox, outbox.shared():
        assert shared() is outbox
    assert shared() is None

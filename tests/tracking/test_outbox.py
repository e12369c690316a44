"""The outbox with its real helper process: what waits, when it is logged, what is lost and told.

MLflow takes seconds to import, so most of this is seen with a plugin that is as slow as it says, and writes to a file.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import Any

import psutil
import pytest
from tests.processes import command_line, descendants, running
from tests.waiting import wait_for

from benchhydra import registry
from benchhydra.result import Result
from benchhydra.tracking import NoTracking
from benchhydra.tracking.links import read_links
from benchhydra.tracking.mlflow import Mlflow
from benchhydra.tracking.outbox import GRACE_S, PATIENCE_S, Outbox
from benchhydra.tracking.outbox.logging_process import LoggingProcess

Make = Callable[..., tuple[Result, Path]]


class Clock:
    """Seconds that pass when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


PLUGIN = """
import time
from pathlib import Path
from benchhydra.registry import knob, option
from benchhydra.tracking import Tracking

@option("tracking", "notebook")
class Notebook(Tracking):
    file: str = knob("", "where to write")
    hangs_at: str = knob("", "the point that is never logged")
    seconds: float = knob(0.0, "that a point takes")
    slow = True

    def prepare(self):
        self.write("prepare")

    def log(self, result, directory):
        print("stray output")
        if directory.name == self.hangs_at:
            time.sleep(600)
        time.sleep(self.seconds)
        self.write(f"log {directory.name}")

    def log_repeats(self, repeated, directories):
        self.write(f"repeats {repeated['repeats']} {' '.join(d.name for d in directories)}")

    def log_curves(self, sweep_id, directory):
        self.write(f"curves {sweep_id} {directory.name}")

    def logged(self, directory):
        return Path(self.file).exists() and f"log {directory.name}" in Path(self.file).read_text().splitlines()

    def write(self, line):
        with open(self.file, "a") as file:
            file.write(f"{line}\\n")
"""


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A slow tracker from outside, known here and in the helper."""
    folder = tmp_path / "plugins" / registry.PLUGIN_NAMESPACE
    folder.mkdir(parents=True)
    (folder / "notebook.py").write_text(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))
    monkeypatch.syspath_prepend(folder.parent)
    module = importlib.import_module(f"{registry.PLUGIN_NAMESPACE}.notebook")
    yield module.Notebook(file=str(tmp_path / "notebook.txt"))
    del registry._options["tracking", "notebook"]
    for name in [name for name in sys.modules if name.split(".")[0] == registry.PLUGIN_NAMESPACE]:
        del sys.modules[name]


def lines(notebook: Any) -> list[str]:
    file = Path(notebook.file)
    return file.read_text().splitlines() if file.exists() else []


def helpers() -> list[psutil.Process]:
    """The processes of ours that log."""
    return [
        child for child in running(descendants(os.getpid())) if "tracking.outbox.logging_program" in command_line(child)
    ]


def test_results_are_logged_only_while_nothing_is_measured(
    notebook: Any, point: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    with Outbox() as outbox:
        outbox.expect(notebook)
        outbox.expect(notebook)
        outbox.log(notebook, *point())
        assert not helpers() and lines(notebook) == [], "nothing is done while points are measured"
        outbox.begin()
        wait_for(lambda: len(outbox) == 0, 60, "the result to be logged")
        outbox.rest()
        assert lines(notebook) == ["prepare", "log point1"]
        outbox.log(notebook, *point())
        assert lines(notebook) == ["prepare", "log point1"]
    assert lines(notebook) == ["prepare", "log point1", "log point2"]
    assert not helpers()
    assert capfd.readouterr() == ("", "stray output\nstray output\n")


def test_the_helper_pauses_during_measurements(notebook: Any, point: Make, capfd: pytest.CaptureFixture[str]) -> None:
    with Outbox() as outbox:
        for _ in range(200):
            outbox.log(notebook, *point())
        outbox.begin()
        wait_for(lambda: bool(lines(notebook)), 60, "the first")
        outbox.rest()
        (helper,) = helpers()
        wait_for(lambda: helper.status() == psutil.STATUS_SLEEPING, 60, "it to wait for orders")
        spent, left = helper.cpu_times(), len(outbox)
        assert left + len(lines(notebook)) == 200
        time.sleep(0.3)
        assert (helper.cpu_times(), len(outbox)) == (spent, left)
    assert len(lines(notebook)) == 200
    assert f"logging {left} results\n" in capfd.readouterr().err


def test_a_result_that_has_waited_long_is_logged_anyway(notebook: Any, point: Make) -> None:
    clock = Clock()
    with Outbox(clock) as outbox:
        outbox.log(notebook, *point())
        clock.now += PATIENCE_S + 1
        outbox.log(notebook, *point())
        assert lines(notebook) == ["log point1", "log point2"]


def test_a_fast_tracker_logs_at_once(point: Make) -> None:
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
        outbox.begin()
        outbox.rest()
        assert not helpers()


def test_repeats_come_after_their_points(notebook: Any, point: Make) -> None:
    made = [point() for _ in range(2)]
    with Outbox() as outbox:
        for result, directory in made:
            outbox.log(notebook, result, directory)
        outbox.log_repeats(notebook, {"repeats": 2}, [directory for _, directory in made])
    assert lines(notebook) == ["log point1", "log point2", "repeats 2 point1 point2"]


def test_curves_come_once_after_all_results_that_are_logged_together(
    notebook: Any, point: Make, tmp_path: Path
) -> None:
    with Outbox() as outbox:
        for sweep_id in ("a", "a", "b", "a"):
            outbox.log(notebook, *point(sweep_id=sweep_id))
    name = tmp_path.name
    assert lines(notebook) == [
        *("log point1", "log point2", "log point3", f"curves b {name}", "log point4", f"curves a {name}")
    ]


def test_curves_that_a_killed_process_has_not_logged_are_logged(notebook: Any, point: Make, tmp_path: Path) -> None:
    result, directory = point(sweep_id="a")
    notebook.log(result, directory)
    with Outbox() as outbox:
        outbox.catch_up(notebook, directory)
        assert len(outbox) == 0
    assert lines(notebook) == ["log point1", f"curves a {tmp_path.name}"]


def test_curves_are_logged_after_an_interruption_too(notebook: Any, point: Make, tmp_path: Path) -> None:
    result, directory = point(sweep_id="a")
    notebook.log(result, directory)
    with pytest.raises(KeyboardInterrupt), Outbox() as outbox:
        outbox.catch_up(notebook, directory)
        raise KeyboardInterrupt
    assert lines(notebook) == ["log point1", f"curves a {tmp_path.name}"]


def test_results_of_an_earlier_process_are_logged(notebook: Any, point: Make) -> None:
    (first, first_directory), (_, second_directory) = point(), point()
    notebook.log(first, first_directory)
    with Outbox() as outbox:
        outbox.catch_up(notebook, first_directory)
        assert len(outbox) == 0
        outbox.catch_up(notebook, second_directory)
        assert len(outbox) == 1
    assert lines(notebook) == ["log point1", "log point2"]


def test_a_helper_that_dies_loses_one_result_with_a_message(
    notebook: Any, point: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    (first, directory), second = point(), point()
    with Outbox() as outbox:
        outbox.expect(notebook)
        outbox.flush()
        (helper,) = helpers()
        helper.send_signal(signal.SIGKILL)
        wait_for(lambda: helper.status() == psutil.STATUS_ZOMBIE, 60, "its end")
        outbox.log(notebook, first, directory)
        outbox.log(notebook, *second)
    assert lines(notebook) == ["prepare", "log point2"]
    line = capfd.readouterr().err.splitlines()[0]
    assert line.startswith("1 result was not logged (") and line.endswith(f"benchhydra log {directory}")


def test_a_helper_that_hangs_is_killed(
    notebook: Any, point: Make, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "benchhydra.tracking.outbox.logging_process.ANSWER_TIMEOUT_S", 8.0
    )  # a new process starts within it
    notebook.hangs_at = "point1"
    (first, directory), second = point(), point()
    with Outbox() as outbox:
        outbox.log(notebook, first, directory)
        outbox.log(notebook, *second)
    assert lines(notebook) == ["log point2"] and not helpers()
    command = f"benchhydra log {directory}"
    reported = f"1 result was not logged (no answer in 8 s); result.json is complete; to log later: {command}"
    assert reported in capfd.readouterr().err.splitlines()


def test_an_interruption_while_logging_loses_nothing(
    notebook: Any, point: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer that nobody waited for is not taken for the next one's."""
    waiting = LoggingProcess._answer
    first_time = iter([True])

    def interrupted(self: LoggingProcess, late: Callable[[], bool]) -> int:
        if next(first_time, False):
            raise KeyboardInterrupt
        return waiting(self, late)

    monkeypatch.setattr(LoggingProcess, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt), Outbox() as outbox:
        for _ in range(2):
            outbox.log(notebook, *point())
        outbox.flush()
    assert set(lines(notebook)) == {"log point1", "log point2"} and not helpers()


def test_an_interruption_while_pausing_leaves_one_thread_on_the_helper(notebook: Any, point: Make) -> None:
    """Two threads at work would take each other's answers, and wait for ever for their own."""
    notebook.seconds = 1.0
    with Outbox() as outbox:
        for _ in range(3):
            outbox.log(notebook, *point())
        outbox.begin()
        wait_for(lambda: bool(helpers()), 60, "the helper")
        with pytest.raises(KeyboardInterrupt), interrupted_in(0.2):
            outbox.rest()
        outbox.begin()
        outbox.begin()
    assert lines(notebook) == ["log point1", "log point2", "log point3"]
    assert not helpers()


@contextmanager
def interrupted_in(seconds: float) -> Iterator[None]:
    """KeyboardInterrupt by a signal, after a time."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_missing_result_is_one_line(notebook: Any, point: Make, capfd: pytest.CaptureFixture[str]) -> None:
    (first, directory), second = point(), point()
    with Outbox() as outbox:
        outbox.log(notebook, first, directory)
        (directory / "result.json").unlink()
        outbox.log(notebook, *second)
    assert lines(notebook) == ["log point2"]
    line = capfd.readouterr().err.splitlines()[0]
    assert line.startswith("not logged: ") and str(directory) in line


def test_after_an_interruption_logging_has_a_short_grace_period(
    notebook: Any, point: Make, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def clock() -> float:
        return 100.0 if lines(notebook) else 0.0

    with pytest.raises(KeyboardInterrupt), Outbox(clock) as outbox:
        for _ in range(3):
            outbox.log(notebook, *point())
        raise KeyboardInterrupt
    assert lines(notebook) == ["log point1"]
    line = capfd.readouterr().err.splitlines()[-1]
    command = f"benchhydra log {tmp_path}"
    assert line == f"2 results were not logged (out of time); result.json is complete; to log later: {command}"
    assert not helpers()


def test_after_an_interruption_a_store_that_hangs_is_not_waited_for(
    notebook: Any, point: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    notebook.hangs_at = "point1"
    clock = Clock()
    (first, directory), second = point(), point()
    with pytest.raises(KeyboardInterrupt), Outbox(clock) as outbox:
        outbox.log(notebook, first, directory)
        outbox.log(notebook, *second)
        outbox.begin()
        wait_for(lambda: "stray output" in capfd.readouterr().err, 60, "the helper to be at it")
        Timer(0.5, lambda: setattr(clock, "now", GRACE_S + 1)).start()
        raise KeyboardInterrupt
    told = capfd.readouterr().err.splitlines()
    assert [line.partition(";")[0] for line in told] == ["1 result was not logged (out of time)"] * 2
    assert lines(notebook) == [] and not helpers()


def test_after_an_interruption_no_tracker_is_prepared_without_results(notebook: Any) -> None:
    with pytest.raises(KeyboardInterrupt), Outbox() as outbox:
        outbox.expect(notebook)
        raise KeyboardInterrupt
    assert lines(notebook) == []


def test_the_mlflow_store_is_created_before_the_first_result(tmp_path: Path, point: Make) -> None:
    fresh = Mlflow(uri=f"sqlite:///{tmp_path / 'fresh' / 'mlflow.db'}")
    result, directory = point()
    with Outbox() as outbox:
        outbox.expect(fresh)
        outbox.begin()
        wait_for((tmp_path / "fresh" / "mlflow.db").exists, 60, "the store")
        assert not fresh.logged(directory)
        outbox.log(fresh, result, directory)
    assert fresh.logged(directory) and read_links(directory)["link"]


def test_the_helper_ends_with_its_parent(tmp_path: Path, notebook: Any) -> None:
    program = (
        "import time\n"
        "import psutil\n"
        "from benchhydra import registry\n"
        "from benchhydra.tracking.outbox import Outbox\n"
        "registry.discover()\n"
        "outbox = Outbox()\n"
        f"outbox.expect(registry.options('tracking')['notebook'](file='{notebook.file}'))\n"
        "outbox.flush()\n"
        "print(psutil.Process().children()[0].pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        helper = psutil.Process(int(parent.stdout.readline()))
        assert running([helper])
        os.kill(parent.pid, signal.SIGKILL)
    wait_for(lambda: not running([helper]), 60, "the helper's end")

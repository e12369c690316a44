"""Progress: few plain lines in logs, one live line on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.live import Live

from benchhydra.progress import LiveProgress, LoadProgress, PlainProgress, Progress, make_progress


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_plain_lines_are_printed_at_intervals(clock: Clock) -> None:
    stream = io.StringIO()
    progress = PlainProgress("a qps=1", stream, interval_s=5.0, clock=clock)
    for done in range(4):
        progress.requests(LoadProgress(done, 10))
        clock.now += 2.0
    progress.say("server is ready")
    progress.requests(LoadProgress(10, 10, 1, 2.0, 50.4, 0.0))
    assert stream.getvalue().splitlines() == [
        "a qps=1: 0/10 requests",
        "a qps=1: 3/10 requests",
        "a qps=1: server is ready",
        "a qps=1: 10/10 requests, 2.0 requests/s, TTFT 50 ms, 1 failed, 0 s left",
    ]


def test_lines_that_differ_only_in_numbers_become_rarer(clock: Clock) -> None:
    stream = io.StringIO()
    progress = PlainProgress("a", stream, interval_s=5.0, clock=clock)
    for second in range(120):
        progress.status(f"server starting ({second} s): {'loading' if second < 80 else 'compiling'}")
        clock.now += 1.0
    seconds = [int(line.split("(")[1].split()[0]) for line in stream.getvalue().splitlines()]
    assert seconds == [0, 5, 15, 35, 75, 80, 85, 95, 115]


def test_without_a_label_there_is_no_colon(clock: Clock) -> None:
    stream = io.StringIO()
    PlainProgress("", stream, clock=clock).say("done")
    assert stream.getvalue() == "done\n"


def test_unknown_is_left_out() -> None:
    assert str(LoadProgress(1, 2)) == "1/2 requests"
    assert str(LoadProgress(1, 2, 0, 0.5, None, 3.2)) == "1/2 requests, 0.5 requests/s, 3 s left"


def test_after_sending_the_missing_answers_are_named_in_place_of_the_time() -> None:
    assert str(LoadProgress(53, 100, left_s=0.0, waiting=47)) == "53/100 requests, waiting for 47 answers"
    assert str(LoadProgress(99, 100, 2, left_s=0.0, waiting=1)) == "99/100 requests, 2 failed, waiting for 1 answer"


def test_a_part_of_the_work_is_announced_with_the_time_left(clock: Clock) -> None:
    stream = io.StringIO()
    progress = PlainProgress("group 1", stream, interval_s=5.0, clock=clock)
    progress.begin("point 1 of 2", "qps=1")
    progress.begin("point 2 of 2", "qps=2", lambda: "about 9 min left")
    progress.requests(LoadProgress(1, 10, left_s=7.0))
    progress.say("VALID")
    assert stream.getvalue().splitlines() == [
        "point 1 of 2: qps=1",
        "point 2 of 2: qps=2 (about 9 min left)",
        "point 2 of 2: 1/10 requests, 7 s left; sweep: about 9 min left",
        "point 2 of 2: VALID",
    ]


def test_live_line_on_a_terminal() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, color_system=None)
    with Live(console=console, transient=True, auto_refresh=False) as live:
        progress = LiveProgress("[a] qps=1", live)
        progress.requests(LoadProgress(5, 10, 0, 2.0))
        progress.say("server [ready]")
        progress.requests(LoadProgress(0, 0))
        progress.status("two\nlines")
    text = stream.getvalue()
    assert "━" * 10 + " " * 11 + "5/10 requests, 2.0 requests/s" in text
    assert "[a] qps=1: server [ready]\n" in text
    assert "[a] qps=1  two lines" in text


def test_the_live_display_of_a_sweep_has_a_line_for_the_point_and_one_for_its_load() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=60, color_system=None)
    with Live(console=console, transient=True, auto_refresh=False) as live:
        progress = LiveProgress("group 1", live)
        progress.begin("point 2 of 8", "qps=[1]", lambda: "about 9 min left")
        progress.requests(LoadProgress(5, 10, 0, 2.0))
        shown = stream.getvalue().rpartition("point 2 of 8")[2]
    assert shown.startswith(": qps=[1]; about 9 min left")
    assert "\n  " + "━" * 10 + " " * 11 + "5/10 requests, 2.0 requests/s" in shown


def test_live_line_is_cut_not_wrapped() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=20, color_system=None)
    with Live(console=console, transient=True, auto_refresh=False) as live:
        LiveProgress("label", live).status("x" * 100)
    assert "x" * 12 + "…" in stream.getvalue()


def test_no_terminal_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with make_progress("p") as progress:
        progress.say("hello")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "p: hello\n")


def test_the_base_class_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.say("a")
    progress.status("b")
    progress.begin("c", "d")
    progress.requests(LoadProgress(1, 2))
    assert capsys.readouterr() == ("", "")

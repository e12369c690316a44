"""Progress: few plain lines in logs, one live line on a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.live import Live

from benchhydra.progress import LiveProgress, PlainProgress, Progress, describe_progress, make_progress


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
        progress.requests(done, 10, 0, None, None, None)
        clock.now += 2.0
    progress.say("server is ready")
    progress.requests(10, 10, 1, 2.0, 50.4, 0.0)
    assert stream.getvalue().splitlines() == [
        "a qps=1: 0/10 requests",
        "a qps=1: 3/10 requests",
        "a qps=1: server is ready",
        "a qps=1: 10/10 requests, 2.0 requests/s, TTFT 50 ms, 1 failed, 0 s left",
    ]


def test_without_a_label_there_is_no_colon(clock: Clock) -> None:
    stream = io.StringIO()
    PlainProgress("", stream, clock=clock).say("done")
    assert stream.getvalue() == "done\n"


def test_unknown_is_left_out() -> None:
    assert describe_progress(1, 2, 0, None, None, None) == "1/2 requests"
    assert describe_progress(1, 2, 0, 0.5, None, 3.2) == "1/2 requests, 0.5 requests/s, 3 s left"


def test_live_line_on_a_terminal() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, color_system=None)
    with Live(console=console, transient=True, auto_refresh=False) as live:
        progress = LiveProgress("[a] qps=1", live)
        progress.requests(5, 10, 0, 2.0, None, None)
        progress.say("server [ready]")
        progress.requests(0, 0, 0, None, None, None)
        progress.status("two\nlines")
    text = stream.getvalue()
    assert "━" * 10 + " " * 11 + "5/10 requests, 2.0 requests/s" in text
    assert "[a] qps=1: server [ready]\n" in text
    assert "[a] qps=1  two lines" in text


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
    progress.requests(1, 2, 0, None, None, None)
    assert capsys.readouterr() == ("", "")

"""What a sweep writes while it runs: control sequences on a terminal alone, whole lines elsewhere."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import time
from pathlib import Path
from typing import Any

Sweeps = Any  # the fixture ``sweeps`` of conftest.py
WORDS = ("qps=50,100", "num_prompts=20", "engine.ttft_ms=2")
RESULT = re.compile(r"point (\d) of 2: qps=(\d+): [A-Z]+, [\d.]+ requests/s, output [\d.,]+ tokens/s, TTFT mean .*")


def on_a_terminal(words: list[str], directory: Path) -> str:
    """What a command writes on a terminal of 80 columns."""
    ours, its = pty.openpty()
    subprocess.run(["stty", "cols", "80", "rows", "40"], stdin=its, check=True)
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        words, stdin=its, stdout=its, stderr=its, cwd=directory, env=environment | {"TERM": "xterm"}
    )
    os.close(its)
    written, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        try:
            data = os.read(ours, 65536)
        except OSError:  # closed by the last process
            break
        written += data
    assert process.wait(timeout=60) == 0, written[-2000:]
    os.close(ours)
    return written.decode()


def test_a_pipe_gets_whole_lines_without_control_sequences(sweeps: Sweeps) -> None:
    assert sweeps.run(*WORDS) == 0
    log = sweeps.log.read_text()
    assert "\x1b" not in log and "\r" not in log
    lines = log.splitlines()
    assert lines[0] == "sweep: 2 points on 1 server"
    assert re.fullmatch(r"point 1 of 2: qps=50 \(at least \d+ s left\)", lines[1])
    assert re.search(r"^point 2 of 2: qps=100 \(about \d+ s left\)$", log, re.MULTILINE)
    results = [match for line in lines if (match := RESULT.fullmatch(line))]
    assert [match[1] + match[2] for match in results] == ["150", "2100"]
    assert re.search(r"^qps  requests/s ↑  tokens/s ↑ +mean +p99 +mean +p99  verdict *$", log, re.MULTILINE)


def test_a_terminal_shows_the_point_its_load_and_the_time_left(sweeps: Sweeps) -> None:
    words = sweeps.command(f"hydra.sweep.dir={sweeps.directory}", *WORDS, "engine.itl_ms=300")
    text = on_a_terminal(words, sweeps.directory.parent)
    assert re.search(r"point 2 of 2: qps=100; about \d+ s left\r\n", text)
    assert re.search(r"waiting for \d+ answers?", text)
    assert text.rstrip().endswith(str(sweeps.directory)[-20:])
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")  # the cursor is shown again

"""Logs of servers stay below a size, with a line where something was cut, and are never read whole."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.waiting import wait_for

from benchhydra.servers import Lease, _supervise, logs
from benchhydra.servers.process import EngineProcess

MIB = 1 << 20


def test_a_flood_on_a_servers_output_is_cut_in_the_middle_and_the_server_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    # what is written during the cut may be lost, so that the last line may stand behind a part of another
    flood = "echo first line; yes 'a line of a flood' | head -c 144000000; sleep 1; echo last line; sleep 60"
    server = EngineProcess(["sh", "-c", flood], {}, log, stop_timeout_s=5)
    try:
        wait_for(
            lambda: "".join(logs.tail(log, 1)).endswith("last line") and log.stat().st_size < 70 * MIB, 60, "the cut"
        )
        assert server.exit_code is None
    finally:
        server.stop()
    lines = log.read_bytes().splitlines()
    assert lines[0] == b"first line" and lines[-1].endswith(b"last line")
    marks = [line for line in lines if line.startswith(b"[benchhydra: ")]
    assert len(marks) == 1 and b"bytes of the log were cut here" in marks[0]
    assert log.stat().st_size <= _supervise.LOG_LIMIT


def test_a_cut_says_how_much_is_missing(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_bytes(b"begin\n" + b"x" * 98 + b"\n" + b"end of it\n" * 10)
    size = log.stat().st_size
    with log.open("ab") as file:
        assert _supervise.cut_log(file.fileno(), size, 6, 50) == 0
        cut = _supervise.cut_log(file.fileno(), size - 1, 6, 55)
    text = log.read_bytes()
    assert text.startswith(b"begin\n\n[benchhydra: %d bytes" % cut) and text.endswith(b"]\n" + b"end of it\n" * 5)
    assert cut == size - 6 - 50


def test_a_point_keeps_the_beginning_and_the_end_of_its_part(tmp_path: Path) -> None:
    log, own = tmp_path / "server-1.log", tmp_path / "server.log"
    earlier = b"of the point before\n" * 1000
    part = b"".join(b"line %06d of this point\n" % number for number in range(300_000))
    log.write_bytes(earlier + part)
    Lease(log=log, log_offset=len(earlier)).write_log(own)
    written = own.read_bytes()
    assert written.startswith(b"line 000000 ") and written.endswith(b"line 299999 of this point\n")
    [mark] = [line for line in written.splitlines() if line.startswith(b"[benchhydra: ")]
    missing = int(mark.split()[1])
    assert len(written) - len(mark) - 1 + missing == len(part) and str(log).encode() in mark
    log.write_bytes(earlier + part[:1000])
    Lease(log=log, log_offset=len(earlier)).write_log(own)
    assert own.read_bytes() == part[:1000]


def test_a_log_that_was_cut_in_the_meantime_is_still_copied(tmp_path: Path) -> None:
    log = tmp_path / "server-1.log"
    log.write_bytes(b"what is left\n")
    Lease(log=log, log_offset=5000).write_log(tmp_path / "server.log")
    assert (tmp_path / "server.log").read_bytes() == b"what is left\n"


PEAK = """
import resource, sys
from pathlib import Path
from benchhydra.servers import Lease, logs
log = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert logs.tail(log, 30)[-1] == "the end"
assert logs.cause(log) is None
Lease(log=log).write_log(log.with_name("copy.log"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_large_log_takes_no_memory(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with log.open("wb") as file:
        file.truncate(300 * MIB)
        file.seek(0, os.SEEK_END)
        file.write(b"\nthe end\n")
    done = subprocess.run([sys.executable, "-c", PEAK, str(log)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40 * 1024, "KiB"
    assert (tmp_path / "copy.log").stat().st_size < 5 * MIB


def test_what_a_server_that_starts_is_doing(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    assert logs.start_activity(log, logs.unknown_phase) == ""
    log.write_text("reading the model\nx.py:3: DeprecationWarning: old\nWARNING 11-26 no tcmalloc\n")
    assert logs.start_activity(log, logs.unknown_phase) == ": reading the model"
    assert logs.start_activity(log, lambda lines: f"{len(lines)} lines") == ": 3 lines"
    log.write_text("UserWarning: only this\n")
    assert logs.start_activity(log, logs.unknown_phase) == ""

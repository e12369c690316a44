"""The life of a server: started, proven ready, reused, replaced, and stopped with everything that belongs to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from benchhydra.engines import ServerSpec
from benchhydra.errors import EngineError
from benchhydra.progress import Progress
from benchhydra.servers import Lease, ports
from benchhydra.servers.pool import ServerPool

Make = Callable[..., ServerSpec]

#: What does not wait for a longer limit by mistake has ended within this time, also on a machine that is busy.
NOT_HUNG_S = 30.0

HELPER = """
import sys
from pathlib import Path
from benchhydra.engines import ServerSpec
from benchhydra.progress import Progress
from benchhydra.servers.pool import ServerPool

spec = ServerSpec(kind="http", argv=tuple(sys.argv[2:]))
with ServerPool(Path(sys.argv[1])).lease(spec, Progress(), ready_timeout_s=60, stop_timeout_s=20, headers={}) as lease:
    print(lease.pid, flush=True)
    sys.stdin.read()
"""


def leased(
    pool: ServerPool, spec: ServerSpec, *, ready_s: float = 20.0, stop_s: float = 5.0
) -> AbstractContextManager[Lease]:
    return pool.lease(spec, Progress(), ready_timeout_s=ready_s, stop_timeout_s=stop_s, headers={})


def family(pid: int | None) -> list[psutil.Process]:
    """A supervisor and all below it."""
    assert pid is not None
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def port_of(lease: Lease) -> int:
    return int(lease.base_url.rpartition(":")[2])


@contextmanager
def listener() -> Iterator[int]:
    """Somebody else's server, whose /health answers 200."""

    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Healthy)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_ends_when_we_are_killed(tmp_path: Path, stand_in: Make) -> None:
    command = [sys.executable, "-c", HELPER, str(tmp_path / "logs"), *stand_in("--child").argv]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as helper:
        assert helper.stdout is not None
        processes = family(int(helper.stdout.readline()))
        assert len(processes) == 3
        assert len({os.getsid(p.pid) for p in processes}) == 2
        supervisor = processes[0].pid
        assert os.getsid(supervisor) == os.getsid(0)  # Linux divides the CPU between sessions: see decision 39
        assert os.getpgid(supervisor) != os.getpgid(helper.pid)  # Ctrl-C in the terminal must not reach it
        helper.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, timeout=60)
    for process in alive:
        process.kill()
    assert alive == []


def test_a_server_that_ignores_sigterm_is_killed_with_its_child(pool: ServerPool, stand_in: Make) -> None:
    with leased(pool, stand_in("--deaf", "--child"), stop_s=0.3) as lease:
        processes, port = family(lease.pid), port_of(lease)
    started_s = time.monotonic()
    pool.close()
    assert 0.3 <= time.monotonic() - started_s < NOT_HUNG_S
    assert len(processes) == 3
    assert not any(process.is_running() for process in processes)
    assert ports.listeners(port) == set()


def test_a_server_that_obeys_sigterm_stops_before_the_timeout(pool: ServerPool, stand_in: Make) -> None:
    with leased(pool, stand_in(), stop_s=2 * NOT_HUNG_S):
        pass
    started_s = time.monotonic()
    pool.close()
    assert time.monotonic() - started_s < NOT_HUNG_S


def test_a_server_that_is_never_ready_times_out_with_its_log(pool: ServerPool, stand_in: Make) -> None:
    started_s = time.monotonic()
    with pytest.raises(EngineError, match=r"not ready after 3 s[\s\S]*loading weights") as caught:
        with leased(pool, stand_in("--unhealthy"), ready_s=3, stop_s=1):
            pass
    assert 3 <= time.monotonic() - started_s < NOT_HUNG_S
    assert "engine.ready_timeout_s" in str(caught.value)


def test_a_crash_at_the_start_is_reported_at_once_with_its_cause(pool: ServerPool) -> None:
    spec = ServerSpec(
        kind="http", argv=(sys.executable, "-S", "-c", "print('hello')\nraise ValueError('no such weights')")
    )
    started_s = time.monotonic()
    with pytest.raises(EngineError) as caught:
        with leased(pool, spec, ready_s=2 * NOT_HUNG_S):
            pass
    assert time.monotonic() - started_s < NOT_HUNG_S
    first, *rest = str(caught.value).splitlines()
    assert "exited with code 1" in first and "ValueError: no such weights" in first
    assert any("hello" in line for line in rest)


def test_a_killed_server_is_reported_with_its_signal(pool: ServerPool) -> None:
    spec = ServerSpec(kind="http", argv=(sys.executable, "-S", "-c", "import os; os.kill(os.getpid(), 9)"))
    with pytest.raises(EngineError, match="was killed by SIGKILL"):
        with leased(pool, spec):
            pass


def test_a_missing_program_is_one_clear_error(pool: ServerPool, tmp_path: Path) -> None:
    missing = tmp_path / "no-python"
    with pytest.raises(EngineError, match=f"cannot run {missing}: No such file"):
        with leased(pool, ServerSpec(kind="http", argv=(str(missing),))):
            pass


def test_another_processs_healthy_server_is_not_taken_for_ours(
    pool: ServerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ServerSpec(kind="http", argv=(sys.executable, "-S", "-c", "import time; time.sleep(600)"))
    with listener() as taken:
        monkeypatch.setattr(ports, "free_port", lambda: taken)
        with pytest.raises(EngineError, match=f"port {taken} was taken"):
            with leased(pool, spec, stop_s=1):
                pass


def test_a_port_that_gets_taken_is_replaced(pool: ServerPool, stand_in: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    free = ports.free_port()
    with listener() as taken:
        choices = iter([taken, free])
        monkeypatch.setattr(ports, "free_port", lambda: next(choices))
        with leased(pool, stand_in()) as lease:
            assert port_of(lease) == free


def test_port_owners_are_recognized() -> None:
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        port = ours.getsockname()[1]
        assert ports.owned(port, [os.getpid()]) is None
        ours.listen()
        assert ports.owned(port, [os.getpid()]) is True
        assert ports.owned(port, [os.getppid()]) is False


def test_reuse_needs_a_proven_reset(pool: ServerPool, stand_in: Make) -> None:
    with leased(pool, stand_in()) as first:
        assert (first.fresh, first.cache_reset, first.restarted) == (True, None, False)
        assert first.start_s is not None and first.start_s > 0
    with leased(pool, stand_in()) as second:
        assert (second.fresh, second.cache_reset, second.restarted) == (False, True, False)
        assert (second.pid, second.base_url) == (first.pid, first.base_url)
        assert second.reset() is True
    assert pool.starts == 1


def test_a_server_whose_log_proves_the_reset_is_reused(pool: ServerPool, stand_in: Make) -> None:
    with leased(pool, stand_in("--reset", "logged")) as first:
        pass
    with leased(pool, stand_in("--reset", "logged")) as second:
        assert (second.fresh, second.cache_reset, second.pid) == (False, True, first.pid)
        assert second.reset() is True
    assert pool.starts == 1


@pytest.mark.parametrize("reset", ["false", "silent", "absent"])
def test_without_a_proof_the_server_is_started_again(pool: ServerPool, stand_in: Make, reset: str) -> None:
    spec = stand_in("--reset", reset)
    with leased(pool, spec) as first:
        processes = family(first.pid)
    with leased(pool, spec) as second:
        assert (second.fresh, second.cache_reset, second.restarted) == (True, None, True)
        assert not any(process.is_running() for process in processes)
    assert pool.starts == 2


def test_a_server_that_died_between_points_is_replaced(pool: ServerPool, stand_in: Make) -> None:
    with leased(pool, stand_in()) as first:
        supervisor, server = family(first.pid)
    server.kill()
    psutil.wait_procs([supervisor], timeout=60)
    with leased(pool, stand_in()) as second:
        assert (second.fresh, second.restarted) == (True, True)
        assert second.pid != first.pid


def test_another_spec_stops_the_first_server_before_the_second_starts(pool: ServerPool, stand_in: Make) -> None:
    with leased(pool, stand_in("--name", "a")) as first:
        processes = family(first.pid)
    with leased(pool, stand_in("--name", "b")) as second:
        assert psutil.Process(second.pid).create_time() >= processes[0].create_time()
        assert not any(process.is_running() for process in processes)
        assert (second.fresh, second.restarted) == (True, False)


def test_kept_servers_run_side_by_side(tmp_path: Path, stand_in: Make) -> None:
    pool = ServerPool(tmp_path / "kept", keep=True)
    with leased(pool, stand_in("--name", "a")) as a, leased(pool, stand_in("--name", "b")) as b:
        processes = family(a.pid) + family(b.pid)
        assert all(process.is_running() for process in processes)
    pool.close()
    assert not any(process.is_running() for process in processes)


def test_each_point_gets_its_part_of_the_log(pool: ServerPool, stand_in: Make, tmp_path: Path) -> None:
    with leased(pool, stand_in()) as first:
        first.write_log(tmp_path / "first.log")
    with leased(pool, stand_in()) as second:
        second.write_log(tmp_path / "second.log")
    assert (tmp_path / "first.log").read_text() == "loading weights\n"
    part = (tmp_path / "second.log").read_text()
    assert "loading weights" not in part and "asked for /reset_prefix_cache" in part


def test_closing_twice_does_nothing(pool: ServerPool, stand_in: Make) -> None:
    with leased(pool, stand_in()) as lease:
        processes = family(lease.pid)
    pool.close()
    pool.close()
    assert not any(process.is_running() for process in processes)


def test_an_interruption_while_it_starts_stops_it(pool: ServerPool, stand_in: Make) -> None:
    seen: list[psutil.Process] = []
    others = psutil.Process().children(recursive=True)

    class Interrupted(Progress):
        def status(self, text: str) -> None:
            seen.extend(p for p in psutil.Process().children(recursive=True) if p not in others)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        with pool.lease(stand_in("--unhealthy"), Interrupted(), ready_timeout_s=60, stop_timeout_s=2, headers={}):
            pass
    assert seen
    assert not any(process.is_running() for process in seen)


@pytest.mark.parametrize("ready_s", [4.0, 60.0])
def test_a_server_that_was_never_ready_is_stopped_without_a_grace_period(
    pool: ServerPool, stand_in: Make, ready_s: float
) -> None:
    """vLLM does not handle SIGTERM while it starts, and then it has nothing to clean up: Ctrl-C must not take 20 s."""
    seen: list[psutil.Process] = []
    others = psutil.Process().children(recursive=True)
    loading_s = 0.0

    class Interrupted(Progress):
        def status(self, text: str) -> None:
            nonlocal loading_s
            if "loading weights" in text:
                loading_s = time.monotonic()
                seen[:] = [p for p in psutil.Process().children(recursive=True) if p not in others]
                if ready_s > 4:
                    raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, EngineError)) as raised:
        spec = stand_in("--unhealthy", "--deaf", "--child")
        with pool.lease(spec, Interrupted(), ready_timeout_s=ready_s, stop_timeout_s=2 * NOT_HUNG_S, headers={}):
            pass
    assert raised.type == (KeyboardInterrupt if ready_s > 4 else EngineError)
    assert time.monotonic() - loading_s < NOT_HUNG_S
    assert len(seen) == 3 and not any(process.is_running() for process in seen)


def test_an_attached_server_without_a_reset_is_left_as_it_is(pool: ServerPool, stand_in: Make, tmp_path: Path) -> None:
    theirs = ServerPool(tmp_path / "theirs")
    with leased(theirs, stand_in("--reset", "absent")) as running:
        with leased(pool, ServerSpec(kind="attached", base_url=running.base_url + "/v1")) as lease:
            assert (lease.fresh, lease.cache_reset, lease.pid, lease.log) == (False, None, None, None)
            assert lease.base_url == running.base_url
            assert lease.reset() is None
        pool.close()
        assert psutil.pid_exists(running.pid or 0)
    theirs.close()
    assert pool.starts == 0


def test_a_dead_attached_server_is_waited_for_once_and_then_reported_at_once(pool: ServerPool) -> None:
    spec = ServerSpec(kind="attached", base_url=f"http://127.0.0.1:{ports.free_port()}")
    for shortest_s, longest_s in ((2.0, NOT_HUNG_S), (0.0, 1.9)):
        started_s = time.monotonic()
        with pytest.raises(EngineError, match="no server answers at"):
            with leased(pool, spec, ready_s=2.0):
                pass
        assert shortest_s <= time.monotonic() - started_s < longest_s


def test_an_attached_server_that_starts_is_waited_for(pool: ServerPool, stand_in: Make) -> None:
    port, said = ports.free_port(), []

    class Said(Progress):
        def say(self, text: str) -> None:
            said.append(text)
            if "waiting" in text:
                argv = [*stand_in().argv, "--host", "127.0.0.1", "--port", str(port)]
                processes.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL))

    processes: list[subprocess.Popen[bytes]] = []
    spec = ServerSpec(kind="attached", base_url=f"http://127.0.0.1:{port}")
    try:
        with pool.lease(spec, Said(), ready_timeout_s=60, stop_timeout_s=5, headers={}) as lease:
            assert (lease.base_url, lease.cache_reset) == (spec.base_url, True)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert said[0] == f"waiting up to 60 s for {spec.base_url}: Connection refused"
    assert said[1].startswith(f"{spec.base_url} ready after ") and len(said) == 2

"""load.executor=ray on a cluster of this machine, with clocks that are shifted on purpose."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic_ns

import numpy as np
import psutil
import pytest
from tests.loadgen.loads import endpoint_of, plan_of
from tests.loadgen.servers import served
from tests.processes import command_line

from benchhydra import interruption
from benchhydra.datasets import Prompt
from benchhydra.errors import ConfigError
from benchhydra.loadgen import LoadPlan, run_load
from benchhydra.loadgen.processes.serialization import pack_result, unpack_result
from benchhydra.loadgen.ray import cluster
from benchhydra.loadgen.ray.clock_sync import NodeClock, OffsetEstimate
from benchhydra.loadgen.ray.relay import Output, Relay
from benchhydra.loadgen.ray.senders import send_on_ray
from benchhydra.loadgen.shards import split_into_shards
from benchhydra.progress import Progress
from benchhydra.records import Status

SECRET = "sk-of-the-server-12345"
TOKEN = b'data: {"choices":[{"text":" x"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":4}}\n\n'
EVENTS = TOKEN * 4 + USAGE + b"data: [DONE]\n\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(EVENTS) + EVENTS


class Server:
    """Answers at once, and writes down what it was asked, and with which key."""

    def __init__(self) -> None:
        self.prompts: list[int] = []
        self.keys: set[bytes] = set()
        self.port = 0
        self.several = threading.Event()

    def clear(self) -> None:
        self.prompts.clear()
        self.several.clear()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
                self.keys.add(head.split(b"Bearer ")[1].split()[0])
                self.prompts.append(int(body.split(b'"prompt":"')[1].split(b'"')[0]))
                if len(self.prompts) >= 6:
                    self.several.set()
                writer.write(ANSWER)
                await writer.drain()
        writer.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    with served(made.answer) as made.port:
        yield made


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[None]:
    cluster.connect(2)
    yield
    cluster.disconnect()


def plan(server: Server, count: int, seconds: float, processes: str = "2") -> LoadPlan:
    endpoint = endpoint_of(server.port, headers={"Authorization": f"Bearer {SECRET}"})
    prompts = [Prompt(str(i), i + 1, 4) for i in range(count)]
    server.clear()
    return plan_of(endpoint, prompts, send_times_s=np.linspace(0, seconds, count), processes=processes, executor="ray")


def shifted() -> type[Relay]:
    """A class of actors whose clocks differ: each process has its own offset. A local class travels by value."""

    class Shifted(Relay):
        def _shift_ns(self) -> int:
            return os.getpid() * 10**9

        def now_ns(self) -> int:
            return super().now_ns() + self._shift_ns()

        def go(self, start_ns: int) -> None:
            super().go(start_ns - self._shift_ns())

        def read(self) -> Output:
            frames, code = super().read()
            return [(kind, self._with_shifted_times(body) if kind == b"D" else body) for kind, body in frames], code

        def _with_shifted_times(self, body: bytes) -> bytes:
            result = unpack_result(body)
            clock = NodeClock(host="", before=OffsetEstimate(self._shift_ns(), 0, 0), after=None)
            return pack_result(dataclasses.replace(result, records=clock.translated(result.records)))

    return Shifted


def client_processes() -> list[psutil.Process]:
    return [one for one in psutil.Process().children(recursive=True) if command_line(one).startswith("ray::Relay")]


def in_a_thread(server: Server, act: Callable[[], None]) -> threading.Thread:
    """Act once the server has been asked several times."""

    def wait() -> None:
        if server.several.wait(60):
            act()

    server.clear()
    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
class TestOnACluster:
    def test_each_request_is_sent_once_and_is_a_row(self, server: Server) -> None:
        result = run_load(plan(server, 101, 0.5), Progress())
        rows = result.records
        assert sorted(server.prompts) == list(range(101))
        assert rows.asked_prompt_tokens.tolist() == list(range(1, 102))
        assert (rows.status == Status.OK).all()
        assert (rows.output_tokens == 4).all()
        assert len(rows.gaps_ns) == 101 * 3
        assert (rows.scheduled_ns <= rows.sent_ns).all()
        assert result.facts["client_processes"] == len(result.facts["client_clocks"]) == 2
        assert server.keys == {SECRET.encode()}

    def test_times_of_other_clocks_are_translated_into_ours(self, server: Server) -> None:
        wanted = plan(server, 60, 0.6)
        began_ns = monotonic_ns()
        cluster_result = send_on_ray(split_into_shards(wanted, 2), lambda part, count: None, shifted())
        ended_ns = monotonic_ns()
        difference_ns = abs(cluster_result.clocks[0].before.offset_ns - cluster_result.clocks[1].before.offset_ns)
        assert difference_ns > 9 * 10**8  # they are truly two clocks
        for part, clock in enumerate(cluster_result.clocks):
            rows = cluster_result.results[part].records
            bound_ns = int(clock.uncertainty_ms * 1e6) + 1
            for times in (rows.scheduled_ns, rows.sent_ns, rows.first_byte_ns, rows.first_ns, rows.done_ns):
                assert began_ns - bound_ns < times.min() <= times.max() < ended_ns + bound_ns
        first, second = (cluster_result.results[part].records.scheduled_ns for part in (0, 1))
        planned_ns = (wanted.send_times_s[1] - wanted.send_times_s[0]) * 1e9
        bounds_ns = sum(clock.uncertainty_ms for clock in cluster_result.clocks) * 1e6 * 2
        assert np.abs(second - first - planned_ns).max() <= bounds_ns + 2

    def test_rows_of_a_killed_actor_are_cancelled(self, server: Server) -> None:
        killer = in_a_thread(server, lambda: client_processes()[0].kill())
        result = run_load(plan(server, 60, 3.0), Progress())
        killer.join()
        assert result.records.failures() == {"cancelled": 30}
        assert len(result.records) == 60
        lost_processes = result.facts["lost_client_processes"]
        assert len(lost_processes) == 1
        assert "ActorDiedError" in lost_processes[0]
        assert lost_processes[0] in result.records.errors
        assert result.facts["client_processes"] == 2

    def test_an_interruption_keeps_what_was_measured(self, server: Server) -> None:
        sender = in_a_thread(server, lambda: os.kill(os.getpid(), signal.SIGINT))
        result = run_load(plan(server, 400, 20.0), Progress())
        sender.join()
        assert result.facts["interrupted"]
        assert 6 <= len(result.records) < 400
        assert result.facts["lost_client_processes"] == ()

    def test_more_processes_than_cpus_are_refused(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cluster, "_FREEING_S", 0.0)
        with pytest.raises(ConfigError, match=r"free CPUs for 3 client processes"):
            run_load(plan(server, 10, 0.1, processes="3"), Progress())

    def test_every_port_is_on_loopback(self) -> None:
        listening = set()
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # clients of other tests are about to end
                sockets = process.net_connections("tcp")
                found = {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
                listening |= {ip.removeprefix("::ffff:") for ip in found}  # IPv4 on a socket of both kinds
        assert listening == {"127.0.0.1"}

    def test_the_key_is_in_no_file_of_ray_s(self) -> None:
        import ray

        session = Path("/tmp/ray") / ray.get_runtime_context().get_session_name()
        files = [path for path in session.rglob("*") if path.is_file()]
        assert len(files) > 5
        assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_without_ray_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"load.executor=ray needs Ray.*\n.*pip install 'benchhydra\[ray\]'"):
        cluster.require_ray("load.executor=ray")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_ray_starts_waits_and_unwinds(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray
    from ray._private import utils

    started = []

    def init(**_: object) -> None:
        utils.set_sigterm_handler(lambda *_: sys.exit(15))
        signal.raise_signal(number)
        started.append(True)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    before, theirs = signal.getsignal(number), utils.set_sigterm_handler
    with pytest.raises(KeyboardInterrupt) as raised:
        cluster.connect(1)
    interruption.forget_signals()
    assert started and isinstance(raised.value, interruption.Terminated) == (number == signal.SIGTERM)
    assert signal.getsignal(number) == before and utils.set_sigterm_handler is theirs

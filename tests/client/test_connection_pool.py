"""Which idle connection is used: the warmest, or one that would soon be too old; of those that are, none."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any, cast

import pytest

from benchhydra.client import Endpoint, connection_pool
from benchhydra.client.apis.completions import Completions
from benchhydra.client.connection import Connection
from benchhydra.client.connection_pool import MAX_IDLE_NS, REFRESH_NS, ConnectionPool

NOW_NS = 10 * MAX_IDLE_NS
OLD_NS, AGEING_NS, YOUNG_NS = MAX_IDLE_NS + 1, REFRESH_NS + 1, 1


class Idle:
    """A connection that has been idle for a time, and may have been closed by the server meanwhile."""

    def __init__(self, age_ns: int, gone: bool = False) -> None:
        self.idle_since_ns = NOW_NS - age_ns
        self._gone = gone
        self.closed = False

    def usable(self) -> bool:
        return not self._gone

    def close(self) -> None:
        self.closed = True


def outcome(idle: list[Idle]) -> tuple[int | None, list[int]]:
    """(number of the one that is used, numbers of those that are closed): ``idle`` from the oldest on."""

    async def take() -> Any:
        pool = ConnectionPool(Endpoint(base_url="http://127.0.0.1:1", api=Completions()), cast(Any, None))
        pool.idle.extend(cast(list[Connection], idle))
        connection = pool.take(NOW_NS)
        assert len(pool.idle) == len(idle) - (connection is not None) - sum(one.closed for one in idle)
        return connection

    taken = asyncio.run(take())
    return None if taken is None else idle.index(taken), [i for i, one in enumerate(idle) if one.closed]


@pytest.mark.parametrize(
    ("idle", "used", "closed"),
    [
        ([], None, []),
        ([Idle(YOUNG_NS), Idle(YOUNG_NS)], 1, []),
        ([Idle(AGEING_NS), Idle(YOUNG_NS)], 0, []),
        ([Idle(OLD_NS), Idle(AGEING_NS), Idle(YOUNG_NS)], 2, []),
        ([Idle(OLD_NS), Idle(OLD_NS)], None, [1]),
        ([Idle(YOUNG_NS), Idle(YOUNG_NS, gone=True)], 0, [1]),
        ([Idle(AGEING_NS, gone=True), Idle(YOUNG_NS)], 1, [0]),
        ([Idle(YOUNG_NS, gone=True), Idle(YOUNG_NS, gone=True)], None, [0, 1]),
    ],
)
def test_the_last_used_connection_or_one_that_is_about_to_expire_is_taken(
    idle: list[Idle], used: int | None, closed: list[int]
) -> None:
    assert outcome(idle) == (used, closed)


def test_a_server_that_never_shakes_hands_does_not_keep_the_load_from_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It accepts connections, and sends no TLS record."""
    monkeypatch.setattr(connection_pool, "OPEN_TIMEOUT_S", 0.2)

    async def opened(port: int) -> tuple[float, int, int]:
        endpoint = Endpoint(base_url=f"https://127.0.0.1:{port}", api=Completions())
        pool = ConnectionPool(endpoint, cast(Any, None))
        began_s = time.monotonic()
        await pool.open(40)
        took_s, opening = time.monotonic() - began_s, pool.opening
        silent.close()  # ends the handshakes
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        return took_s, opening, len(pool.idle)

    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        took_s, opening, idle = asyncio.run(opened(silent.getsockname()[1]))
    assert took_s < 30 and (opening, idle) == (32, 0)

"""TLS as a connection does it, against OpenSSL's own other end, without a loop or a network where that is possible."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.client.certificates import server_context, written_to

from benchhydra.client import Endpoint
from benchhydra.client import tls as tls_module
from benchhydra.client.tls import Tls, context_for


class Server:
    """The other end of a session, in memory."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    def says(self, text: bytes) -> bytes:
        self.session.write(text)
        return self.outgoing.read()

    def hears(self, records: bytes) -> bytes:
        self.incoming.write(records)
        heard = b""
        while self.incoming.pending or self.session.pending():
            heard += self.session.read(1 << 20)
        return heard

    def says_goodbye(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.session.unwrap()
        return self.outgoing.read()


async def _shake(client: Tls, server: Server) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()

    async def answer() -> None:
        done = False
        while not done:
            try:
                server.session.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            await loop.sock_sendall(theirs, server.outgoing.read())
            if not done:
                server.incoming.write(await loop.sock_recv(theirs, 16384))

    with ours, theirs:
        await asyncio.gather(client.shake_hands(ours), answer())
        client.decrypt(await loop.sock_recv(ours, 16384))  # the session's tickets: no text


Pair = Callable[[], tuple[Tls, Server]]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_to(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(certificate: Path) -> Pair:
    def make() -> tuple[Tls, Server]:
        endpoint = Endpoint(base_url="https://localhost", ca_file=f"{certificate}.crt")
        client, server = Tls(context_for(endpoint), "localhost"), Server(server_context(certificate))
        asyncio.run(_shake(client, server))
        return client, server

    return make


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_any_split_of_records_says_the_same(pair: Pair, data: st.DataObject) -> None:
    client, server = pair()
    texts = data.draw(st.lists(st.binary(max_size=40_000), max_size=4))
    records = b"".join(server.says(text) for text in texts)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(records)), max_size=20)))
    parts = [records[a:b] for a, b in zip([0, *cuts], [*cuts, len(records)], strict=True)]
    assert b"".join(client.decrypt(part) for part in parts) == b"".join(texts)
    assert not client.ended


@pytest.mark.parametrize("length", [1, 16_384, 16_385, 100_000])
def test_requests_of_any_length_arrive_whole(pair: Pair, length: int) -> None:
    client, server = pair()
    text = bytes(range(256)) * (length // 256 + 1)
    assert server.hears(client.encrypt(text[:length])) == text[:length]


def test_the_end_of_a_session_is_known(pair: Pair) -> None:
    client, server = pair()
    assert client.decrypt(server.says(b"bye") + server.says_goodbye()) == b"bye"
    assert client.ended


def test_a_damaged_record_is_an_error(pair: Pair) -> None:
    client, server = pair()
    record = bytearray(server.says(b"text"))
    record[-1] ^= 1
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        client.decrypt(bytes(record))


def test_a_server_that_says_nothing_is_given_up(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_module, "HANDSHAKE_TIMEOUT_S", 0.05)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs, pytest.raises(TimeoutError, match=r"no TLS handshake within 0\.05 s"):
        asyncio.run(Tls(context_for(Endpoint(base_url="https://h")), "h").shake_hands(ours))


def test_a_server_that_closes_in_the_handshake_is_told() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.shutdown(socket.SHUT_WR)
    with ours, theirs, pytest.raises(ConnectionResetError, match="TLS handshake"):
        asyncio.run(Tls(context_for(Endpoint(base_url="https://h")), "h").shake_hands(ours))

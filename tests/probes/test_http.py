"""The helper's own HTTP exchange: what it cannot read is an OSError, whatever the server sends."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import server_context, written_to

from benchhydra.probes import _http
from benchhydra.probes._http import http_get


@contextmanager
def answering(*packets: bytes, tls: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers one request with these packets and closes. Gives its address, and what it was sent."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with tls.wrap_socket(connection, server_side=True) if tls else connection as stream:
                    requests.append(stream.recv(65536))
                    for packet in packets:
                        stream.sendall(packet)
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}", requests
        finally:
            listener.close()
            thread.join()


@pytest.mark.parametrize(
    "packets",
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab", b"cdef"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n4\r", b"\ncdef\r\n0\r\n\r\n"),
        (b"HTTP/1.0 200 OK\r\n\r\nabc", b"def"),
    ],
    ids=["length", "chunked", "until the end"],
)
def test_a_body_in_each_framing(packets: tuple[bytes, ...]) -> None:
    with answering(*packets) as (address, requests):
        assert http_get(f"http://{address}/v/metrics", {"X": "y"}, timeout_s=5) == (200, b"abcdef")
    head = requests[0].decode().split("\r\n")
    assert head[0] == "GET /v/metrics HTTP/1.1"
    assert {f"Host: {address}", "X: y", "Connection: close"} <= set(head)
    assert requests[0].endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "packets",
    [
        (),
        (b"SSH-2.0-OpenSSH_9.2\r\n",),
        (b"\x00" * 100,),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab",),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",),
    ],
    ids=["nothing", "SSH", "zeros", "cut", "cut chunks"],
)
def test_what_is_no_whole_answer_is_an_error(packets: tuple[bytes, ...]) -> None:
    with answering(*packets) as (address, _), pytest.raises(OSError):
        http_get(f"http://{address}/metrics", {}, timeout_s=5)


def test_a_server_that_never_answers_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(TimeoutError):
        http_get(f"http://127.0.0.1:{deaf.getsockname()[1]}/metrics", {}, timeout_s=0.1)


def test_an_answer_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_http, "MAX_BODY_BYTES", 1000)
    with (
        answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 2000) as (address, _),
        pytest.raises(OSError, match="exceeds 1000 bytes"),
    ):
        http_get(f"http://{address}/metrics", {}, timeout_s=5)


def test_a_line_break_in_a_header_is_refused() -> None:
    with pytest.raises(OSError, match="line break"):
        http_get("http://127.0.0.1:1/metrics", {"Authorization": "Bearer a\r\nX: y"}, timeout_s=1)


def test_certificates_are_checked_unless_told_otherwise(tmp_path: Path) -> None:
    certificate = written_to(tmp_path)
    context = server_context(certificate)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"
    trusting: tuple[dict[str, Any], ...] = ({"ca_file": f"{certificate}.crt"}, {"verify_tls": False})
    for options in trusting:
        with answering(answer, tls=context) as (address, _):
            url = f"https://{address}/metrics"
            assert http_get(url, {}, timeout_s=5, **options) == (200, b"ab")
    with answering(answer, tls=context) as (address, _), pytest.raises(ssl.SSLCertVerificationError):
        http_get(f"https://{address}/metrics", {}, timeout_s=5)

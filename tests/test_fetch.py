"""Single HTTP exchanges: what cannot be read is an OSError, in time, whatever the server sends."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.certificates import server_context, written_to

from benchhydra import __version__, http_exchange
from benchhydra import fetch as fetching
from benchhydra.fetch import describe_redirect, fetch


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
        answer = fetch(f"http://{address}/v/metrics", headers={"X": "y"}, timeout_s=60)
    assert (answer.status, answer.body) == (200, b"abcdef")
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
        fetch(f"http://{address}/metrics", timeout_s=60)


def test_a_server_that_never_answers_times_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(TimeoutError):
        fetch(f"http://127.0.0.1:{deaf.getsockname()[1]}/metrics", timeout_s=0.1)


def test_an_answer_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "MAX_RESPONSE_BYTES", 1000)
    with (
        answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"a" * 2000) as (address, _),
        pytest.raises(OSError, match="exceeds 1000 bytes"),
    ):
        fetch(f"http://{address}/metrics", timeout_s=60)


def test_a_line_break_in_a_header_is_refused() -> None:
    with pytest.raises(OSError, match="line break"):
        fetch("http://127.0.0.1:1/metrics", headers={"Authorization": "Bearer a\r\nX: y"}, timeout_s=1)


def test_certificates_are_checked_unless_told_otherwise(tmp_path: Path) -> None:
    certificate = written_to(tmp_path)
    context = server_context(certificate)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab"
    trusting: tuple[dict[str, Any], ...] = ({"ca_file": f"{certificate}.crt"}, {"verify_tls": False})
    for options in trusting:
        with answering(answer, tls=context) as (address, _):
            url = f"https://{address}/metrics"
            assert fetch(url, timeout_s=60, **options).body == b"ab"
    with answering(answer, tls=context) as (address, _), pytest.raises(ssl.SSLCertVerificationError):
        fetch(f"https://{address}/metrics", timeout_s=60)


def dripping(head: bytes) -> Iterator[str]:
    """A server that sends this head, and then a byte every 50 ms for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(head)
                    while True:
                        connection.sendall(b" ")
                        time.sleep(0.05)
            except OSError:
                return

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX-Pad:", b""]
)
def test_a_server_that_drips_bytes_is_given_up_at_the_deadline(head: bytes) -> None:
    began_s = time.monotonic()
    with contextmanager(dripping)(head) as address, pytest.raises(OSError):
        fetch(f"http://{address}/health", timeout_s=0.3)
    assert time.monotonic() - began_s < 30  # without a deadline it would be read for ever


def test_headers_that_never_end_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_exchange, "MAX_RESPONSE_BYTES", 100_000)
    with answering(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000) as (address, _), pytest.raises(OSError, match="exceeds"):
        fetch(f"http://{address}/health", timeout_s=60)


def test_an_early_continue_is_not_the_response() -> None:
    parts = (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", b"b")
    with answering(*parts) as (address, _):
        assert fetch(f"http://{address}/health", timeout_s=60).body == b"ab"


@pytest.mark.parametrize(
    ("headers", "agent"),
    [({}, f"User-Agent: benchhydra/{__version__}"), ({"user-agent": "mine"}, "user-agent: mine")],
)
def test_every_request_names_its_user_agent_once(headers: dict[str, str], agent: str) -> None:
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as (address, requests):
        fetch(f"http://{address}/health", headers=headers, timeout_s=60)
    lines = requests[0].decode().split("\r\n")
    assert [line for line in lines if line.lower().startswith("user-agent")] == [agent]


def test_a_post_has_its_body_and_its_length() -> None:
    with answering(b"HTTP/1.1 204 No Content\r\n\r\n") as (address, requests):
        fetch(f"http://{address}/reset", method="POST", body=b"{}", timeout_s=60)
    assert requests[0].startswith(b"POST /reset HTTP/1.1\r\n") and requests[0].endswith(
        b"Content-Length: 2\r\nUser-Agent: benchhydra/%b\r\n\r\n{}" % __version__.encode()
    )


def test_a_redirect_says_where_it_leads_to() -> None:
    with answering(
        b"HTTP/1.1 307 X\r\nLocation: https://other/api/v1/models?k=SECRET\r\nContent-Length: 0\r\n\r\n"
    ) as (
        address,
        _,
    ):
        answer = fetch(f"http://{address}/v1/models", timeout_s=60)
    text = describe_redirect(answer.location, "/v1/models")
    assert answer.status == 307 and not answer.ok
    assert "https://other/api/v1/models," in text and text.endswith("engine.base_url=https://other/api")
    assert "SECRET" not in text
    assert "engine.base_url=http://HOST:PORT/api/v3" in describe_redirect("/api/v3/completions", "/v1/completions")


def test_a_document_with_a_byte_order_mark_is_json() -> None:
    assert fetching.HttpResponse(status=200, body=b'\xef\xbb\xbf{"a": 1}').json() == {"a": 1}
    assert fetching.HttpResponse(status=200, body=b"[" * 200_000).json() is None

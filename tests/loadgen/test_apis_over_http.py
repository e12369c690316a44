"""Completions and chat, streamed and whole, plain and over TLS, through the driver."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests.certificates import server_context, written_to
from tests.loadgen.loads import endpoint_of, plan_of
from tests.loadgen.servers import served

from benchhydra.client.apis import Api, RequestOptions
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.completions import Completions
from benchhydra.datasets import Prompt
from benchhydra.loadgen import LoadResult, run_load
from benchhydra.progress import Progress

COUNT = 20
USAGE = {"prompt_tokens": 1, "completion_tokens": 3}


def body_of(path: bytes, stream: bool) -> bytes:
    part = "delta" if stream else "message"
    choices = [{part: {"content": "x"}}] if b"chat" in path else [{"text": "x"}]
    if not stream:
        return json.dumps({"choices": choices, "usage": USAGE}).encode()
    events = [{"choices": choices}] * 3 + [{"choices": [], "usage": USAGE}]
    return b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            asked = json.loads(await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0])))
            body = body_of(head.split()[1], asked["stream"])
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()
    writer.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_to(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module", params=["http", "https"])
def base_url(request: pytest.FixtureRequest, certificate: Path) -> Iterator[str]:
    context = server_context(certificate) if request.param == "https" else None
    with served(answer, context) as port:
        yield f"{request.param}://127.0.0.1:{port}"


def send(base_url: str, api: Api, stream: bool, ca_file: str | None) -> LoadResult:
    endpoint = endpoint_of(0, api, base_url=base_url, ca_file=ca_file)
    plan = plan_of(
        endpoint,
        [Prompt("hi", 1, 3)] * COUNT,
        options=RequestOptions(stream=stream),
        send_times_s=np.linspace(0, 0.04, COUNT),
        timeout_s=60,
        processes="1",
    )
    return run_load(plan, Progress())


@pytest.mark.parametrize("api", [Completions(), Chat()], ids=["completions", "chat"])
@pytest.mark.parametrize("stream", [True, False])
def test_requests_of_every_api_are_measured(base_url: str, certificate: Path, api: Api, stream: bool) -> None:
    rows = send(base_url, api, stream, f"{certificate}.crt").records
    assert rows.failures() == {}
    assert len(rows) == COUNT
    assert (rows.output_tokens == 3).all()
    assert (rows.first_ns >= 0).all() == stream
    assert (np.diff(rows.gap_offsets) == (2 if stream else 0)).all()
    assert (rows.done_ns > rows.sent_ns).all()


def test_an_unknown_certificate_is_refused(base_url: str) -> None:
    if base_url.startswith("https"):
        rows = send(base_url, Chat(), True, None).records
        assert rows.failures() == {"refused": COUNT}
        assert rows.errors[0].startswith("[SSL: CERTIFICATE_VERIFY_FAILED]")


def test_data_that_is_not_tls_is_a_reset_with_openssls_message(certificate: Path) -> None:
    async def garbled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            os.write(writer.get_extra_info("socket").fileno(), b"this is no record")
            await reader.read()  # until the client has gone
        writer.close()

    with served(garbled, server_context(certificate)) as port:
        rows = send(f"https://127.0.0.1:{port}", Completions(), True, f"{certificate}.crt").records
    assert rows.failures() == {"reset": COUNT}
    assert "[SSL: WRONG_VERSION_NUMBER]" in rows.errors[0]

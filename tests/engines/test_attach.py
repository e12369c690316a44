"""Somebody else's server: its names, its version and its key, and one line where something is missing."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.certificates import server_context, written_to

from benchhydra.engines.attach import Attach
from benchhydra.errors import ConfigError, EngineError
from benchhydra.progress import Progress
from benchhydra.servers import ports
from benchhydra.servers.pool import ServerPool
from benchhydra.target import Gpus, Model, Sparsity, Target

KEY = "sk-very-secret"
TARGET = Target(model="org/model", tokenizer="org/model", served_name="org/model")


@contextmanager
def serving(*models: str, key: str | None = None, context: ssl.SSLContext | None = None, **paths: Any) -> Iterator[str]:
    """A server of some models, and of JSON at other paths; over TLS with a ``context``."""
    bodies = {"/v1/models": {"data": [{"id": name} for name in models]}} | {f"/{k}": v for k, v in paths.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = key is None or self.headers["Authorization"] == f"Bearer {key}"
            self.answer((200 if self.path in bodies else 404) if allowed else 401)

        def do_POST(self) -> None:
            self.answer(404)

        def answer(self, status: int) -> None:
            data = json.dumps(bodies.get(self.path, {})).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def attach(engine: Attach, tmp_path: Path) -> str:
    """Lease it, as a point does."""
    limits = {"ready_timeout_s": 5.0, "stop_timeout_s": 5.0}
    headers = engine.request_headers()
    with ServerPool(tmp_path).lease(engine.server(TARGET), Progress(), headers=headers, **limits) as lease:
        return lease.base_url


def test_the_model_is_known_by_name() -> None:
    with serving("other", "org/model") as url:
        assert Attach(base_url=url).model_name(TARGET, url) == "org/model"
        assert Attach(base_url=url, served_model="other").model_name(TARGET, url) == "other"


def test_the_only_model_is_taken() -> None:
    with serving("something") as url:
        assert Attach(base_url=url).model_name(TARGET, url) == "something"


def test_a_model_that_is_not_served_is_an_error_that_lists_the_served_ones() -> None:
    with serving("a", "b") as url:
        with pytest.raises(EngineError, match="does not serve org/model; it serves a, b"):
            Attach(base_url=url).model_name(TARGET, url)
    with serving("a") as url:
        with pytest.raises(EngineError, match="does not serve x; it serves a"):
            Attach(base_url=url, served_model="x").model_name(TARGET, url)


def test_a_server_that_does_not_list_models_gets_the_name_asked_for() -> None:
    with serving() as url:
        assert Attach(base_url=url).model_name(TARGET, url) == "org/model"


def test_the_version_is_what_the_server_says_or_unknown() -> None:
    with serving("m", version={"version": "0.32.1"}) as url:
        assert Attach(base_url=url).version(url) == "0.32.1"
    with serving("m") as url:
        assert Attach(base_url=url).version(url) is None


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_any_spelling_of_the_url(tmp_path: Path, suffix: str) -> None:
    with serving("m") as url:
        assert attach(Attach(base_url=url + suffix), tmp_path) == url


def test_the_key_comes_from_the_environment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with serving("m", key=KEY) as url:
        engine = Attach(base_url=url, api_key_env="MY_KEY")
        assert attach(engine, tmp_path) == url
        assert engine.model_name(TARGET, url) == "m"
        assert KEY not in repr(engine) + repr(engine.server(TARGET))
        with pytest.raises(EngineError, match="refuses the API key") as refused:
            attach(Attach(base_url=url), tmp_path)
        monkeypatch.setenv("MY_KEY", "sk-wrong")
        with pytest.raises(EngineError, match="refuses the API key") as wrong:
            attach(engine, tmp_path)
    assert "api_key_env" in refused.value.hint
    assert "sk-wrong" not in str(wrong.value)


def test_an_unset_key_variable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_KEY", raising=False)
    with pytest.raises(ConfigError, match="NO_KEY: this environment variable is not set"):
        Attach(api_key_env="NO_KEY").check(TARGET)


def test_no_server_at_the_url_is_one_line(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{ports.free_port()}"
    with pytest.raises(EngineError, match=f"no server answers at {url}: Connection refused") as refused:
        attach(Attach(base_url=url), tmp_path)
    assert "engine.base_url" in refused.value.hint
    assert len(str(refused.value).splitlines()) <= 2


def test_an_unknown_certificate_is_one_line_with_a_hint(tmp_path: Path) -> None:
    certificate = written_to(tmp_path)
    with serving("org/model", context=server_context(certificate)) as url:
        with pytest.raises(EngineError, match="CERTIFICATE_VERIFY_FAILED") as refused:
            attach(Attach(base_url=url), tmp_path)
        assert attach(Attach(base_url=url, ca_file=f"{certificate}.crt"), tmp_path) == url
        assert attach(Attach(base_url=url, verify_tls=False), tmp_path) == url
    assert "engine.ca_file" in refused.value.hint and "engine.verify_tls" in refused.value.hint


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://host",
        "http://",
        "http://host:0",
        "http://host:99999",
        "http://u:p@host",
        "http://h/?a=1",
    ],
)
def test_malformed_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"engine\.base_url"):
        Attach(base_url=url)


def test_a_missing_certificate_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ca\.pem: no such file"):
        Attach(ca_file=str(tmp_path / "ca.pem")).check(TARGET)


def test_flags_without_effect_are_refused() -> None:
    with pytest.raises(ConfigError, match="have no effect"):
        Attach(args={"max_num_seqs": 1})
    with pytest.raises(ConfigError, match="have no effect"):
        Attach(env={"A": "1"})


def test_it_claims_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchhydra.target.gpu_count", lambda: 8)
    target = Attach().target(Model(id="org/model"), Sparsity(), Gpus(device="auto"))
    assert (target.gpus, Attach().server(target).gpus) == (0, 0)

"""Somebody else's server: its names, its version and its key, and one line where something is missing."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from tests.certificates import server_context, written_to

from benchhydra.engines import versions
from benchhydra.engines.attach import Attach
from benchhydra.errors import ConfigError, EngineError
from benchhydra.progress import Progress
from benchhydra.redaction import redact
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

    with served(Handler, context) as url:
        yield url


@contextmanager
def served(handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
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
    limits: dict[str, Any] = {"ready_timeout_s": engine.ready_timeout_s, "stop_timeout_s": 5.0}
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


def test_names_of_models_cannot_write_to_the_terminal_or_fill_it() -> None:
    with serving("a\x1b[31m\nb", "c" * 5000) as url:
        with pytest.raises(EngineError) as caught:
            Attach(base_url=url).model_name(TARGET, url)
    assert "it serves a?[31m b, ccc" in caught.value.message
    assert len(caught.value.message) < 400


def test_a_server_that_does_not_list_models_gets_the_name_asked_for() -> None:
    with serving() as url:
        assert Attach(base_url=url).model_name(TARGET, url) == "org/model"


def test_the_gpus_of_an_attached_server_are_those_that_the_user_names() -> None:
    target = Attach(base_url="http://127.0.0.1:1").target(Model(id="m"), Sparsity(), Gpus())
    counts = [Attach(base_url="http://127.0.0.1:1", gpus=gpus).gpu_count(target) for gpus in (None, 8)]
    assert counts == [None, 8]
    with pytest.raises(ConfigError, match=r"engine\.gpus=0 must be at least 1"):
        Attach(base_url="http://127.0.0.1:1", gpus=0)


def test_the_versions_of_all_servers_are_told() -> None:
    with serving("m", version={"version": "0.32"}) as a, serving("m", version={"version": "0.33"}) as b:
        engine = Attach(base_url=[a, b])
        assert versions(engine, engine.base_urls()) == ("0.32", "0.33")
        assert versions(Attach(base_url=a), [a, a]) == ("0.32",)
        with serving("m") as c:
            assert versions(engine, [a, c]) == ("0.32", "unknown")
            assert versions(engine, [c]) == ()


def test_all_servers_must_serve_the_same_model() -> None:
    with serving("m") as a, serving("n") as b:
        with pytest.raises(EngineError, match=r"do not serve the same model \(.*: m, .*: n\)"):
            Attach(base_url=[a, b]).model_name(TARGET, a)
        with pytest.raises(EngineError, match=f"{b} does not serve m"):
            Attach(base_url=[a, b], served_model="m").model_name(TARGET, a)
        assert Attach(base_url=[a]).model_name(TARGET, a) == "m"


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


@pytest.mark.parametrize("name", ["api-key", "Api-Key", "Authorization"])
def test_headers_come_from_the_environment_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    seen: list[tuple[str, str | None]] = []

    class Gateway(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers[name]))
            body = b'{"data": [{"id": "m"}]}' if self.headers[name] == KEY else b'{"error": "no key"}'
            self.send_response(200 if self.headers[name] == KEY else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with served(Gateway) as url:
        engine = Attach(base_url=url, path="/api/v3", headers={name: "MY_KEY"})
        assert attach(engine, tmp_path) == url
        assert engine.model_name(TARGET, url) == "m" and engine.version(url) is None
        assert {path for path, value in seen if value == KEY} >= {"/api/v3/models", "/health", "/version"}
        assert all(value == KEY for _, value in seen)
        assert KEY not in repr(engine) + repr(engine.server(TARGET))
        assert redact(f"the gateway says {KEY}") == "the gateway says ***"
        with pytest.raises(EngineError, match=r"refuses the API key or a header \(401\): no key") as refused:
            attach(Attach(base_url=url), tmp_path)
    assert "engine.api_key_env" in refused.value.hint and "engine.headers.NAME" in refused.value.hint


@pytest.mark.parametrize("value", ["", "key\r\nX: y", "k\u00e9y", " key", "key\n"])
def test_a_value_that_no_header_can_have_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MY_KEY", value)
    for engine in (Attach(headers={"X-Key": "MY_KEY"}), Attach(api_key_env="MY_KEY")):
        with pytest.raises(ConfigError, match="MY_KEY: ") as refused:
            engine.check(TARGET)
        assert not value or value not in str(refused.value)


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "a b", "a:", ""])
def test_headers_that_frame_requests_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with pytest.raises(ConfigError, match="this header cannot be set"):
        Attach(headers={name: "MY_KEY"}).check(TARGET)


def test_a_key_given_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with pytest.raises(ConfigError, match="exclude each other"):
        Attach(headers={"authorization": "MY_KEY"}, api_key_env="MY_KEY").check(TARGET)


class Starting(BaseHTTPRequestHandler):
    """Answers each path with its statuses one after another; the last one stays."""

    statuses: ClassVar[dict[str, list[int]]] = {}

    def do_GET(self) -> None:
        statuses = self.statuses.get(self.path, [404])
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        body = b'{"data": [{"id": "m"}]}' if status == 200 else b'{"error": {"message": "Loading model"}}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


#: A server that is not waited for is given up or used within this time.
NOT_HUNG_S = 30.0


@pytest.mark.parametrize(
    ("models", "health", "ready_timeout_s", "error"),
    [
        ([503, 502, 200], [404], 2 * NOT_HUNG_S, ""),
        ([200], [503, 503, 200], 2 * NOT_HUNG_S, ""),
        ([200], [503], 0.2, ""),
        ([503], [503], 0.2, "no server answers at .*: /v1/models answers 503: Loading model \\(waited 0.2 s\\)"),
        ([503], [503], 0.0, "/v1/models answers 503: Loading model$"),
        ([401], [200], 2 * NOT_HUNG_S, "refuses the API key"),
        ([403], [200], 2 * NOT_HUNG_S, "refuses the API key"),
        ([500], [200], 2 * NOT_HUNG_S, "answers 500 to /v1/models"),
        ([404], [404], 2 * NOT_HUNG_S, ""),
        ([200], [401], 2 * NOT_HUNG_S, ""),
    ],
)
def test_only_a_server_that_starts_is_waited_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    models: list[int],
    health: list[int],
    ready_timeout_s: float,
    error: str,
) -> None:
    monkeypatch.setattr("benchhydra.servers.health.POLL_S", 0.01)
    monkeypatch.setattr(Starting, "statuses", {"/v1/models": models, "/health": health})
    started_s = time.monotonic()
    with served(Starting) as url:
        engine = Attach(base_url=url, ready_timeout_s=ready_timeout_s)
        if error:
            with pytest.raises(EngineError) as refused:
                attach(engine, tmp_path)
            assert re.search(error, refused.value.message)
        else:
            assert attach(engine, tmp_path) == url
    assert time.monotonic() - started_s < NOT_HUNG_S


def test_an_unknown_host_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no server answers at http://no\.such\.invalid"):
        attach(Attach(base_url="http://no.such.invalid", ready_timeout_s=60.0), tmp_path)


def test_waiting_ends_with_an_interruption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchhydra.servers.health.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        attach(Attach(base_url=f"http://127.0.0.1:{ports.free_port()}"), tmp_path)


def test_no_server_at_the_url_is_one_line(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{ports.free_port()}"
    with pytest.raises(EngineError, match=f"no server answers at {url}: Connection refused") as refused:
        attach(Attach(base_url=url, ready_timeout_s=0.0), tmp_path)
    assert "engine.base_url" in refused.value.hint and "engine.ready_timeout_s" in refused.value.hint
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


@pytest.mark.parametrize("reset", ["restart", "POST/flush", "POST @elsewhere/flush", "sometimes"])
def test_a_reset_that_cannot_be_done_is_refused(reset: str) -> None:
    with pytest.raises(ConfigError, match=r"engine\.cache_reset"):
        Attach(cache_reset=reset)

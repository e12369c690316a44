"""Canaries: a secret in every place that can hold one; then every byte that a run leaves or prints is searched."""

import base64
import gzip
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

from benchhydra import redaction
from benchhydra.servers.process import EngineProcess

Program = Callable[..., Any]

PLACES = (
    *("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "proxy", "api key", "tenant header", "outer token", "dataset signature"),
    *("webhook", "engine proxy", "tracking password", "description", "callback", "pat", "list1", "list2", "braces"),
    *("line break", "not Latin", "unfinished", "unknown key", "swept1", "swept2", "yaml", "log"),
)
CANARIES = {place: f"Cy{number:02d}{sha256(place.encode()).hexdigest()[:24]}" for number, place in enumerate(PLACES)}
QUICK = ("engine.ttft_ms=1", "engine.itl_ms=1", "num_prompts=12", "qps=200", "script.fail_on=never", "model=tiny")
FAKE = ("engine=fake", *QUICK)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Secrets in variables, as users have them."""
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, CANARIES[name])
    monkeypatch.setenv("ALL_PROXY", f"http://me:{CANARIES['proxy']}@127.0.0.1:9")
    monkeypatch.setenv("WHATEVER", CANARIES["api key"])  # no secret by its name: the config says what it is
    monkeypatch.setenv("TENANT", CANARIES["tenant header"])
    monkeypatch.setenv("OUTER", CANARIES["outer token"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    redaction._known.cache_clear()
    yield
    redaction._known.cache_clear()


def traces(text: bytes) -> list[str]:
    """The places whose secret a text holds: its first 8 characters, or the whole, as it is or encoded."""
    found = []
    for place, secret in CANARIES.items():
        encoded = base64.b64encode(secret.encode()).rstrip(b"=")[:-2]
        if any(form in text for form in (secret[:8].encode(), quote(secret).encode(), encoded)):
            found.append(place)
    return found


def leaks(folder: Path) -> dict[str, list[str]]:
    """File -> places of secrets in it or in its name. Parquet is decoded, because its pages are compressed."""
    files = {}
    for file in (path for path in folder.rglob("*") if path.is_file()):
        data = [str(file).encode(), file.read_bytes()]
        if file.suffix == ".parquet":
            data.append(json.dumps(pq.read_table(file).to_pydict(), default=str).encode())
        if file.suffix == ".gz":
            data.append(gzip.decompress(file.read_bytes()))
        found = traces(b"\n".join(data))
        if found:
            files[str(file.relative_to(folder))] = found
    return files


def assert_clean(ran: Any, *folders: Path) -> None:
    """Nothing that was printed, and no file below the folders, holds a secret."""
    assert traces(f"{ran.out}{ran.err}".encode()) == []
    for folder in folders:
        assert leaks(folder) == {}


def config_with_secrets(tmp_path: Path) -> tuple[str, ...]:
    """Overrides with a secret in every key that may hold one; the dataset's file is in the cache, as if downloaded."""
    url = f"https://data.example/prompts.jsonl?sv=1&sig={CANARIES['dataset signature']}"
    cache = tmp_path / "cache" / "benchhydra" / "datasets"
    cache.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps({"prompt": f"say {number}", "output_tokens": 4}) + "\n" for number in range(40))
    (cache / f"{sha256(url.encode()).hexdigest()[:16]}-prompts.jsonl").write_text(lines)
    return (
        *FAKE,
        "dataset=jsonl",
        f"dataset.path='{url}'",
        f"engine.env.HTTPS_PROXY='http://me:{CANARIES['engine proxy']}@proxy:3128'",
        "engine.env.INNER_TOKEN='${oc.env:OUTER}'",
        f"engine.args.webhook='https://hooks.example/in?token={CANARIES['webhook']}'",
        f"description='by https://me:{CANARIES['description']}@git.example and {CANARIES['HF_TOKEN']}'",
        f"script.body.callback='http://me:{CANARIES['callback']}@127.0.0.1:9/done'",
    )


def test_a_run_with_secrets_everywhere_works_and_leaves_none(program: Program, tmp_path: Path) -> None:
    ran = program(*config_with_secrets(tmp_path), "script.keep_text=true", "tracking=none")
    assert ran.code == 0, ran.err
    assert_clean(ran, tmp_path / "outputs")
    (result,) = (tmp_path / "outputs").rglob("result.json")
    config = json.loads(result.read_text())["config"]
    assert config["engine"]["env"] == {"HTTPS_PROXY": "http://***@proxy:3128", "INNER_TOKEN": "***"}
    assert config["dataset"]["path"] == "https://data.example/prompts.jsonl?sv=1&sig=***"
    assert json.loads(result.read_text())["metadata"]["completed"] == 12


def test_a_sweep_in_mlflow_and_all_that_is_made_of_it(program: Program, tmp_path: Path) -> None:
    ran = program("-m", *config_with_secrets(tmp_path), "qps=100,200")
    assert ran.code == 0, ran.err
    assert (tmp_path / "outputs" / "mlflow.db").is_file() and list(tmp_path.rglob("mlartifacts/**/records.parquet"))
    assert_clean(ran, tmp_path / "outputs")
    for words in (
        ("report", "outputs", "-o", "site", "--no-mlflow"),
        ("export", "outputs", "--format", "csv", "-o", "csv"),
        ("export", "outputs", "--format", "vllm", "-o", "vllm"),
        ("archive", "outputs", "--root", "archived"),
        ("compare", "outputs", "outputs", "--format", "markdown", "-o", "compare.md"),
    ):
        assert_clean(program(*words), tmp_path / "outputs")
    for name in ("site", "csv", "vllm", "archived"):
        assert (tmp_path / name).is_dir() and leaks(tmp_path / name) == {}


def test_the_password_of_an_unreachable_tracker_is_not_printed(program: Program, tmp_path: Path) -> None:
    address = f"http://me:{CANARIES['tracking password']}@127.0.0.1:9"
    ran = program(*FAKE, f"tracking.uri='{address}'")
    assert ran.code == 0 and "not logged to MLflow" in ran.err
    assert_clean(ran, tmp_path / "outputs")


@pytest.mark.parametrize(
    "words",
    [
        (f"engine.env.GITHUB_PAT={CANARIES['pat']}",),
        ("-m", "qps=1,2", f"engine.env.GITHUB_PAT={CANARIES['pat']}"),
        ("-m", f"engine.env.MY_TOKEN={CANARIES['swept1']},{CANARIES['swept2']}"),
        ("-m", "qps=1,2", f"engine.args.api_keys=[{CANARIES['list1']},{CANARIES['list2']}]"),
        (f"engine.env={{DB_PASSWORD:{CANARIES['braces']}}}",),
        (f"engine.env.MY_TOKEN=[{CANARIES['unfinished']}",),
        (f"engine.api_token={CANARIES['unknown key']}",),
        (f"+engine.password={CANARIES['unknown key']}", "-m", "qps=1,2"),
        (f"dataset.path=https://127.0.0.1:9/x.jsonl?sig={CANARIES['dataset signature']}", "dataset=jsonl"),
        (f"tracking.uri=ftp://me:{CANARIES['tracking password']}@127.0.0.1:9/x", "tracking=mlflow", "qps=no"),
        (f"engine.base_url=http://me:{CANARIES['callback']}@127.0.0.1:9", "engine=attach"),
    ],
    ids=range(11),
)
def test_a_refused_secret_is_not_repeated(words: tuple[str, ...], program: Program, tmp_path: Path) -> None:
    ran = program("engine=fake", "tracking=none", "num_prompts=2", *words)
    assert ran.code == 1 and ran.err.startswith("error: ")
    assert_clean(ran, tmp_path)


@pytest.mark.parametrize("place", ["line break", "not Latin"])
def test_a_key_that_no_header_can_hold_is_not_repeated(
    place: str, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail = {"line break": "\r\nX: y", "not Latin": "é"}[place]
    monkeypatch.setenv("WHATEVER", CANARIES[place] + tail)
    ran = program("-m", "engine=attach", "engine.api_key_env=WHATEVER", "tracking=none", "num_prompts=2,3")
    assert ran.code == 1 and "WHATEVER" in ran.err
    assert_clean(ran, tmp_path)


def test_a_secret_in_a_file_of_the_user_is_refused_by_its_name(program: Program, tmp_path: Path) -> None:
    folder = tmp_path / "own" / "engine"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(f"defaults: [fake]\nenv: {{SERVICE_SECRET: {CANARIES['yaml']}}}\n")
    ran = program("--config-dir", str(tmp_path / "own"), "engine=mine", "tracking=none", "num_prompts=2")
    assert ran.code == 1 and "engine.env.SERVICE_SECRET holds a secret" in ran.err
    shutil.rmtree(tmp_path / "own")
    assert_clean(ran, tmp_path)


@contextmanager
def server_that_repeats_keys(good: int) -> Iterator[str]:
    """A server that answers ``good`` requests with text, and then with errors of every kind that hold the headers."""
    answered = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply(200, json.dumps({"data": [{"id": "tiny"}]}).encode())

        def do_POST(self) -> None:
            nonlocal answered
            self.rfile.read(int(self.headers["Content-Length"]))
            key, tenant = self.headers["Authorization"].removeprefix("Bearer "), self.headers["x-tenant"]
            forms = [key, quote(key), base64.b64encode(f"me:{key}".encode()).decode(), tenant]
            number, answered = answered - good, answered + 1
            if number < 0:
                self.stream({"model": "tiny", "choices": [{"text": f" {key}"}]}, number=4)
                return
            padding = "x" * (50 * (number // 6) + 470)  # the limit of an error's text falls into the key
            match number % 6:
                case 0:
                    self.reply(500, json.dumps({"error": {"message": f"{padding} {forms}"}}).encode())
                case 1:
                    self.reply(401, f"{padding[:-20]}{key} is wrong, {tenant}".encode())
                case 2:
                    self.stream({"error": {"message": f"{forms} {padding}{key}"}}, number=1)
                case 3:
                    self.reply(200, b"data: {" + padding[-60:].encode() + key.encode() + b"\n\n", "text/event-stream")
                case 4:
                    self.wfile.write(
                        b"HTTP/1.1 200 OK\r\nBroken " + padding[-70:].encode() + key.encode() + b"\r\n\r\n"
                    )
                    self.close_connection = True
                case _:
                    self.wfile.write(b"HTTP/1.1 500 X\r\nContent-Length: 900\r\n\r\nno: " + key[:14].encode())
                    self.close_connection = True

        def stream(self, event: dict[str, Any], *, number: int) -> None:
            usage = {"usage": {"prompt_tokens": 4, "completion_tokens": number}, "choices": []}
            events = [event] * number + [{"choices": [{"text": "", "finish_reason": "length"}]}, usage]
            data = b"".join(b"data: %s\n\n" % json.dumps(item).encode() for item in events)
            self.reply(200, data + b"data: [DONE]\n\n", "text/event-stream")

        def reply(self, status: int, data: bytes, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("good", [0, 8], ids=["all requests fail", "most requests fail"])
def test_a_server_that_repeats_keys(good: int, program: Program, tmp_path: Path) -> None:
    with server_that_repeats_keys(good) as url:
        ran = program(
            *("engine=attach", f"engine.base_url={url}", "engine.api_key_env=WHATEVER"),
            *("engine.headers.x-tenant=TENANT", "script.warmup_requests=0"),
            *("tracking=none", "model=tiny", "num_prompts=40", "qps=200", "script.keep_text=true"),
            *(
                "dataset.prompt_tokens=4",
                "dataset.output_tokens=4",
                "script.fail_on=never",
                "script.request_timeout_s=5",
            ),
        )
    assert_clean(ran, tmp_path / "outputs")
    (records,) = (tmp_path / "outputs").rglob("records.parquet")
    errors = [text for text in pq.read_table(records)["error"].to_pylist() if text]
    assert sum("***" in text for text in errors) > 10
    assert all(len(text) <= 500 for text in errors)
    if good:
        (texts,) = (tmp_path / "outputs").rglob("texts.jsonl")
        assert "***" in texts.read_text()


def test_the_log_of_an_engine_is_redacted_when_it_has_stopped(tmp_path: Path) -> None:
    redaction.protect([CANARIES["log"]])
    code = "import os, time; print('x' * 70000, os.environ['SECRET_OF_LOG'], flush=True); time.sleep(60)"
    log = tmp_path / "server.log"
    process = EngineProcess([sys.executable, "-c", code], {"SECRET_OF_LOG": CANARIES["log"]}, log, stop_timeout_s=5)
    deadline_s = time.monotonic() + 60
    while not (log.exists() and log.stat().st_size > 70_000) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    process.stop()
    assert log.read_text().endswith(" ***\n") and os.listdir(tmp_path) == ["server.log"]  # noqa: PTH208

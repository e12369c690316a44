"""Serve MLflow's web pages on loopback for the store of this directory, and print links to the results.

Ctrl-C stops the server.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from benchhydra.errors import BenchhydraError
from benchhydra.redaction import redact_file
from benchhydra.tracking import store, view

READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
#: Runs the server, and kills its process group when the pipe from us closes, which also happens if we get SIGKILL.
GUARD = """
import os, signal, subprocess, sys, threading
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def watch():
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
sys.exit(server.wait())
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of ``benchhydra ui``."""
    parser.add_argument("--port", type=int, default=store.UI_PORT, help="port on loopback (default: %(default)s)")
    parser.add_argument("--uri", help="tracking URI (default: MLFLOW_TRACKING_URI, else sqlite under outputs/)")
    parser.add_argument("--experiment", default="benchhydra", help="name of the experiment (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted. If the store is on a tracking server, only print its links. Raises BenchhydraError."""
    uri = store.tracking_uri(args.uri)
    try:
        with store.impatient(), store.quiet():
            opened = store.open_store(uri, args.experiment)
    except store.failures() as error:
        raise BenchhydraError(
            f"cannot open the store: {store.one_line(error)}", hint="--uri selects another"
        ) from error
    if uri.startswith(("http://", "https://")):
        _print_links(store.base_url(uri), opened)
        return 0
    base = f"http://127.0.0.1:{args.port}"
    _check_free(args.port)
    with _server(uri, args.port) as (process, log):
        _wait_ready(process, base, log)
        _print_links(base, opened)
        sys.stdout.write("Ctrl-C stops the server.\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()
    return 0


def ui_command(uri: str, port: int) -> list[str]:
    """The command that serves a store on loopback."""
    options = ["--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    location = store.artifact_location(uri)
    return [sys.executable, "-m", "mlflow", "server", *options] + (
        ["--artifacts-destination", location] if location else []
    )


@contextlib.contextmanager
def _server(uri: str, port: int) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    env = os.environ | store.QUIET
    path = log_file(uri, port)
    with path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", GUARD, *ui_command(uri, port)],
            env=env,
            stdin=subprocess.PIPE,
            start_new_session=True,
            stdout=log,
            stderr=log,
        )
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield process, path
    finally:
        signal.signal(signal.SIGTERM, before)
        _stop(process)
        with contextlib.suppress(OSError):
            redact_file(path)  # MLflow may print the address of its store


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the server and its workers, which are a process group: SIGTERM, then SIGKILL after ``STOP_TIMEOUT_S``."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)
    if process.stdin is not None:
        process.stdin.close()


def log_file(uri: str, port: int) -> Path:
    """The file of the server's output: next to an SQLite store, else in the temporary directory."""
    file = store.sqlite_file(uri)
    return (file.parent if file else Path(tempfile.gettempdir())) / f"mlflow-ui-{port}.log"


def _check_free(port: int) -> None:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise BenchhydraError(f"cannot listen on port {port}: {reason}", hint="--port N selects another") from error


def _wait_ready(process: subprocess.Popen[bytes], base: str, log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchhydraError(f"MLflow ended with code {process.returncode}", hint=f"its output is in {log}")
        with contextlib.suppress(urllib.error.URLError, OSError):
            with urllib.request.urlopen(f"{base}/health", timeout=5):
                return
        time.sleep(0.25)
    raise BenchhydraError(f"MLflow did not answer at {base} in {READY_TIMEOUT_S:.0f} s", hint=f"its output is in {log}")


def _print_links(base: str, opened: store.MlflowStore) -> None:
    tags = opened.client.get_experiment(opened.experiment_id).tags
    scripts = view.script_views(tags)
    if not scripts:
        sys.stdout.write(f"nothing is logged yet: {base}/#/experiments/{opened.experiment_id}/runs\n")
    for script in scripts:
        sys.stdout.write(f"{script + ':':12} {view.view_link(base, opened.experiment_id, script)}\n")
        sys.stdout.write(f"{'  charts:':12} {view.view_link(base, opened.experiment_id, script, charts=True)}\n")

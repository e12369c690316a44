"""Start MLflow's web pages on loopback, on the store of this directory, and print the link that opens the results.

Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from types import FrameType

from benchhydra.errors import BenchhydraError
from benchhydra.tracking import store, view

READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=store.UI_PORT, help="port on loopback (default: %(default)s)")
    parser.add_argument("--uri", help="tracking URI (default: MLFLOW_TRACKING_URI, else sqlite under outputs/)")
    parser.add_argument("--experiment", default="benchhydra", help="name of the experiment (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    uri = store.tracking_uri(args.uri)
    try:
        with store.impatient(), store.quiet():
            opened = store.open_store(uri, args.experiment)
    except store.failures() as error:
        raise BenchhydraError(f"cannot open the store: {store.one_line(error)}", hint="--uri names another") from error
    if uri.startswith(("http://", "https://")):
        _print_links(store.base_url(uri), opened)
        return 0
    base = f"http://127.0.0.1:{args.port}"
    with _server(uri, args.port) as process:
        _wait_ready(process, base)
        _print_links(base, opened)
        sys.stdout.write("Ctrl-C ends it.\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()
    return 0


def command(uri: str, port: int) -> list[str]:
    """The program that serves a store on loopback."""
    options = ["--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    location = store.artifact_location(uri)
    return [sys.executable, "-m", "mlflow", "server", *options] + (
        ["--artifacts-destination", location] if location else []
    )


@contextlib.contextmanager
def _server(uri: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    env = os.environ | store.QUIET
    process = subprocess.Popen(
        command(uri, port), env=env, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield process
    finally:
        signal.signal(signal.SIGTERM, before)
        _stop(process)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers: they are a process group of their own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT_S)


def _wait_ready(process: subprocess.Popen[bytes], base: str) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchhydraError(f"MLflow ended with code {process.returncode}", hint="--port N takes another port")
        with contextlib.suppress(urllib.error.URLError, OSError):
            with urllib.request.urlopen(f"{base}/health", timeout=5):
                return
        time.sleep(0.25)
    raise BenchhydraError(
        f"MLflow did not answer at {base} in {READY_TIMEOUT_S:.0f} s", hint="--port N takes another port"
    )


def _print_links(base: str, opened: store.Store) -> None:
    tags = opened.client.get_experiment(opened.experiment_id).tags
    keys = [key for key in view.BARS if view.PREFIX + key in tags]
    if not keys:
        sys.stdout.write(f"nothing is logged yet: {base}/#/experiments/{opened.experiment_id}/runs\n")
    for key in keys:
        sys.stdout.write(f"{key + ':':12} {view.view_link(base, opened.experiment_id, key)}\n")
        sys.stdout.write(f"{'  charts:':12} {view.view_link(base, opened.experiment_id, key, charts=True)}\n")

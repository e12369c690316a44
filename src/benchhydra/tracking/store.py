"""The MLflow store: where it is, created once under a lock, opened with short timeouts.

Eight processes that create one fresh SQLite store at once break the file for good, and MLflow retries an unreachable
server for minutes: this module prevents both.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchhydra.errors import BenchhydraError

UI_PORT = 5000
LOCK_TIMEOUT_S = 120.0  # creating a store takes 3 to 8 s; other processes wait for it
CONNECT_TIMEOUT_S = 5.0
#: At most two tries of 5 s a call, in place of MLflow's eight of 120 s. The user's own settings win.
IMPATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
#: No telemetry, and no progress bars between our own lines.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_LOGGING_LEVEL": "ERROR",  # read when MLflow is imported: otherwise migrations are printed
}
DATABASES = ("postgresql", "mysql", "mssql")


@dataclass(frozen=True, kw_only=True)
class MlflowStore:
    """An open store: its client and our experiment in it."""

    uri: str
    client: Any
    experiment_id: str


def tracking_uri(configured: str | None) -> str:
    """The configured URI, else MLFLOW_TRACKING_URI, else the SQLite file under the working directory's outputs/."""
    uri = configured or os.environ.get("MLFLOW_TRACKING_URI")
    return uri or f"sqlite:///{Path.cwd() / 'outputs' / 'mlflow.db'}"


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite URI; None for every other URI."""
    return Path(uri.removeprefix("sqlite:///")).absolute() if uri.startswith("sqlite:///") else None


def artifact_location(uri: str) -> str | None:
    """Where artifacts of an SQLite store lie: an absolute directory beside it. Servers choose their own."""
    file = sqlite_file(uri)
    return None if file is None else (file.parent / "mlartifacts").as_uri()


def base_url(uri: str) -> str:
    """The address of the web pages, without credentials: the server's own, or that of ``benchhydra ui``."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return f"http://127.0.0.1:{UI_PORT}"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def open_store(uri: str, experiment: str) -> MlflowStore:
    """A client of the store, which is created where it is missing, and our experiment. Raises ``failures()``."""
    reach(uri)
    file = sqlite_file(uri)
    if file is None:
        return _open(uri, experiment)
    from filelock import FileLock

    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock", timeout=LOCK_TIMEOUT_S):
        if not file.exists() or not file.stat().st_size:
            _create(file, uri)
        return _open(uri, experiment)


def _create(file: Path, uri: str) -> None:
    """Create an empty store, whole or not at all: MLflow would refuse for ever one whose creation was killed.

    SQLite writes the file itself, beside its place; what a killed process left there is removed first.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    new = file.with_name(f"{file.name}.new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        new.with_name(new.name + suffix).unlink(missing_ok=True)
    SqlAlchemyStore(f"sqlite:///{new}", artifact_location(uri)).engine.dispose()
    new.replace(file)


def _open(uri: str, experiment: str) -> MlflowStore:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    return MlflowStore(uri=uri, client=client, experiment_id=_experiment_id(client, uri, experiment))


def _experiment_id(client: Any, uri: str, name: str) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return str(client.create_experiment(name, artifact_location=artifact_location(uri)))
        except MlflowException as error:
            experiment = client.get_experiment_by_name(name)  # another process may have created it meanwhile
            if experiment is None:
                raise error
    if experiment.lifecycle_stage == "deleted":
        raise BenchhydraError(
            f"the MLflow experiment {name!r} is deleted", hint="tracking.experiment=NAME takes another"
        )
    return str(experiment.experiment_id)


def reach(uri: str) -> None:
    """Raise OSError or sqlite3.Error where the store cannot be reached, within seconds."""
    file = sqlite_file(uri)
    if file is not None:
        _check_sqlite(file)
        return
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme in ("http", "https"):
        _within_limit(lambda: _answer(uri), parts.hostname or "")
    elif scheme not in DATABASES:
        raise BenchhydraError(f"not a tracking URI: {uri!r}", hint="sqlite:////DIR/mlflow.db or http://HOST:PORT")


def _check_sqlite(file: Path) -> None:
    if file.exists():
        with contextlib.closing(
            # for writing: after a kill during a transaction, whoever opens the file first rolls it back
            sqlite3.connect(file.as_uri() + "?mode=rw", uri=True, timeout=CONNECT_TIMEOUT_S)
        ) as base:
            base.execute("PRAGMA schema_version").fetchone()


def _answer(uri: str) -> None:
    """Ask once. Any answer will do, an error too: MLflow's client sends the credentials."""
    try:
        with urllib.request.urlopen(f"{base_url(uri)}/health", timeout=CONNECT_TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:
        error.close()
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise OSError(f"no answer from {base_url(uri)}: {getattr(reason, 'strerror', None) or reason}") from error


def _within_limit(work: Callable[[], None], host: str) -> None:
    """Do the work in a thread: a name server that is down would block longer than any timeout of ours.

    Raises TimeoutError where it takes too long.
    """
    problem: list[OSError] = [TimeoutError(f"no answer from {host} in {2 * CONNECT_TIMEOUT_S:.0f} s")]

    def attempt() -> None:
        try:
            work()
            problem.clear()
        except OSError as error:
            problem[:] = [error]

    thread = threading.Thread(target=attempt, daemon=True, name="mlflow-connect")
    thread.start()
    thread.join(2 * CONNECT_TIMEOUT_S)
    if problem:
        raise problem[0]


def failures() -> tuple[type[BaseException], ...]:
    """What logging may raise when the tracker, the network or the disk fails; none of it may lose a result."""
    kinds: list[type[BaseException]] = [OSError, ImportError, ValueError, sqlite3.Error, BenchhydraError]
    with contextlib.suppress(ImportError):
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        kinds += [MlflowException, RequestException, SQLAlchemyError]
    return tuple(kinds)


def one_line(error: BaseException) -> str:
    """The first line of an error, short, without the credentials in an address."""
    message = error.message if isinstance(error, BenchhydraError) else str(error)
    first = (message.strip().splitlines() or [type(error).__name__])[0][:300]
    return re.sub(r"://[^/\s@]*@", "://***@", first)


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """An environment in which MLflow gives up soon, shows no progress bars and sends no telemetry."""
    added = {key: value for key, value in (IMPATIENCE | QUIET).items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep MLflow's and alembic's messages about migrations off the terminal."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

"""The MLflow store: find it, create it once under a lock, open it with short timeouts.

This module prevents three problems: processes that create the same SQLite store at once corrupt it permanently (seen
with eight); MLflow retries an unreachable server, or a file that cannot be opened, for minutes; and a path with ``?``,
``#`` or ``%`` in a URL names another file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchhydra.errors import BenchhydraError
from benchhydra.escaping import printable
from benchhydra.redaction import excerpt

UI_PORT = 5000
LOCK_TIMEOUT_S = 120.0  # creating a store takes 3 to 8 s; other processes wait for it
CONNECT_TIMEOUT_S = 5.0
#: At most two attempts of 5 s a call, instead of MLflow's eight of 120 s. The user's own settings take precedence.
IMPATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
#: No telemetry, and no progress bars between our own lines.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_LOGGING_LEVEL": "ERROR",  # MLflow reads it on import; without it, migrations are printed
}
#: MLflow's limits: the most parameters and metric values in a batch, the most runs in an answer.
PARAMS_BATCH, METRICS_BATCH, SEARCH_PAGE = 100, 1000, 1000
#: The tag with which MLflow opens an experiment's runs, not its page for traces of GenAI applications.
EXPERIMENT_KIND = ("mlflow.experimentKind", "custom_model_development")
DATABASES = ("postgresql", "mysql", "mssql")
#: SQLite's limit of a file's absolute path, in bytes, with the names of its temporary files.
LONGEST_PATH = 500


@dataclass(frozen=True, kw_only=True)
class MlflowStore:
    """An open store: its client and our experiment in it."""

    uri: str
    client: Any
    experiment_id: str


def tracking_uri(configured: str | None) -> str:
    """The configured URI, else MLFLOW_TRACKING_URI, else the SQLite file under the working directory's outputs/."""
    uri = configured or os.environ.get("MLFLOW_TRACKING_URI")
    return uri or sqlite_uri(Path.cwd() / "outputs" / "mlflow.db")


def sqlite_uri(file: Path) -> str:
    """The URI of an SQLite file with any characters in its path."""
    plain = f"sqlite:///{file}"
    if _is_plain(str(file)):
        return plain
    from sqlalchemy import URL

    # with the name of the driver: without it, MLflow would also create a directory of the encoded name
    return URL.create("sqlite+pysqlite", database=str(file)).render_as_string(hide_password=False)


def _is_plain(path: str) -> bool:
    """Whether a path means the same in a URL."""
    return not set(path) & set("%?#&=+:@;") and path.isprintable()


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite URI; None for every other URI. Raises BenchhydraError if it names no file."""
    scheme, separator, rest = uri.partition(":///")
    if scheme.partition("+")[0] != "sqlite" or not separator:
        return None
    if _is_plain(rest):
        return Path(rest).absolute()
    from sqlalchemy import make_url

    url = make_url(uri)
    if not url.database or "?" in uri:  # an option of the connection, or a path that was not encoded
        raise BenchhydraError(f"not the URI of an SQLite file: {uri!r}", hint="write ? as %3F, # as %23 and % as %25")
    return Path(url.database).absolute()


def artifact_location(uri: str) -> str | None:
    """The URI of the artifacts of an SQLite store, a directory beside it; None for a server, which has its own."""
    file = sqlite_file(uri)
    return None if file is None else (file.parent / "mlartifacts").as_uri()


def base_url(uri: str) -> str:
    """The address of MLflow's web pages, without credentials: the tracking server's, or that of ``benchhydra ui``."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return f"http://127.0.0.1:{UI_PORT}"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def open_store(uri: str, experiment: str) -> MlflowStore:
    """Open the store and our experiment; create both if they are missing. Raises one of ``failures()``."""
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
    """Create an empty store atomically: MLflow refuses a partly created one, which a killed process would leave.

    SQLite writes a temporary file in the same directory, which is renamed at the end; leftovers are removed first.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    new = file.with_name(f"{file.name}.new")
    for suffix in ("", "-journal", "-wal", "-shm"):
        new.with_name(new.name + suffix).unlink(missing_ok=True)
    _check_sqlite(new, "rwc")
    _do_not_retry()
    SqlAlchemyStore(sqlite_uri(new), artifact_location(uri)).engine.dispose()
    new.replace(file)


def open_client(uri: str) -> Any:
    """MLflow's client of a store that ``reach`` has reached; the first one takes seconds, to import MLflow."""
    from mlflow import MlflowClient

    _do_not_retry()
    return MlflowClient(tracking_uri=uri)


def search_runs(client: Any, experiment_id: str, search_filter: str) -> Iterator[Any]:
    """Every active run of an experiment that matches an MLflow search filter, page by page."""
    token = None
    while True:
        page = client.search_runs([experiment_id], search_filter, max_results=SEARCH_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def log_params(client: Any, run_id: str, params: Mapping[str, str]) -> None:
    """Log parameters of a run, in batches that MLflow accepts."""
    from mlflow.entities import Param

    entities = [Param(key, value) for key, value in params.items()]
    for start in range(0, len(entities), PARAMS_BATCH):
        client.log_batch(run_id, params=entities[start : start + PARAMS_BATCH])


def log_metrics(client: Any, run_id: str, metrics: Iterable[Any]) -> None:
    """Log metric values (MLflow's entities) of a run, in batches that MLflow accepts."""
    remaining = iter(metrics)
    while batch := list(islice(remaining, METRICS_BATCH)):
        client.log_batch(run_id, metrics=batch)


def _do_not_retry() -> None:
    """Let MLflow try once to open a database: it retries for 100 s a file that cannot be opened."""
    from mlflow.store.db import utils

    utils.MAX_RETRY_COUNT = 1


def _open(uri: str, experiment: str) -> MlflowStore:
    client = open_client(uri)
    return MlflowStore(uri=uri, client=client, experiment_id=_experiment_id(client, uri, experiment))


def _experiment_id(client: Any, uri: str, name: str) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            location = artifact_location(uri)
            return str(client.create_experiment(name, artifact_location=location, tags=dict([EXPERIMENT_KIND])))
        except MlflowException as error:
            experiment = client.get_experiment_by_name(name)  # another process may have created it in the meantime
            if experiment is None:
                raise error
    if experiment.lifecycle_stage == "deleted":
        raise BenchhydraError(
            f"the MLflow experiment {name!r} is deleted", hint="tracking.experiment=NAME selects another"
        )
    if EXPERIMENT_KIND[0] not in experiment.tags:
        client.set_experiment_tag(experiment.experiment_id, *EXPERIMENT_KIND)
    return str(experiment.experiment_id)


def reach(uri: str) -> None:
    """Check within seconds that the store can be reached.

    Raises OSError or sqlite3.Error if it cannot, and BenchhydraError if the URI is not a tracking URI.
    """
    file = sqlite_file(uri)
    if file is not None:
        if file.exists():
            _check_sqlite(file)
        return
    parts = urlsplit(uri)
    scheme = parts.scheme.partition("+")[0]
    if scheme in ("http", "https"):
        _within_limit(lambda: _answer(uri), parts.hostname or "")
    elif scheme not in DATABASES:
        raise BenchhydraError(f"not a tracking URI: {uri!r}", hint="sqlite:////DIR/mlflow.db or http://HOST:PORT")


def _check_sqlite(file: Path, mode: str = "rw") -> None:
    """Open the file once. If a process was killed during a transaction, this rolls it back.

    Raises sqlite3.Error, or BenchhydraError if the path is too long for SQLite.
    """
    import sqlite3  # start-up time

    size = len(os.fsencode(file))
    if size > LONGEST_PATH:
        raise BenchhydraError(f"the path of {file.name} has {size} bytes, and SQLite opens at most {LONGEST_PATH}")
    with contextlib.closing(
        sqlite3.connect(f"{file.as_uri()}?mode={mode}", uri=True, timeout=CONNECT_TIMEOUT_S)
    ) as base:
        base.execute("PRAGMA schema_version").fetchone()


def _answer(uri: str) -> None:
    """Send one request without credentials. Every HTTP answer counts as success, also an error. Raises OSError."""
    import urllib.error  # start-up time: 9 ms
    import urllib.request

    try:
        with urllib.request.urlopen(f"{base_url(uri)}/health", timeout=CONNECT_TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:
        error.close()
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise OSError(f"no answer from {base_url(uri)}: {getattr(reason, 'strerror', None) or reason}") from error


def _within_limit(work: Callable[[], None], host: str) -> None:
    """Do the work in a thread with a time limit: a name server that is down blocks for longer than socket timeouts.

    Raises the work's OSError, or TimeoutError if it takes too long.
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
    """The exceptions of logging if the tracker, the network or the disk fails; no caller may lose a result by one."""
    import sqlite3  # start-up time

    kinds: list[type[BaseException]] = [OSError, ImportError, ValueError, sqlite3.Error, BenchhydraError]
    with contextlib.suppress(ImportError):
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import SQLAlchemyError

        kinds += [MlflowException, RequestException, SQLAlchemyError]
    return tuple(kinds)


def one_line(error: BaseException) -> str:
    """The first line of an error without secrets, at most 300 characters."""
    message = error.message if isinstance(error, BenchhydraError) else str(error)
    return printable(excerpt((message.strip().splitlines() or [type(error).__name__])[0], 300))


@contextlib.contextmanager
def impatient() -> Iterator[None]:
    """Set environment variables with which MLflow uses short timeouts, and no progress bars and telemetry."""
    added = {key: value for key, value in (IMPATIENCE | QUIET).items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress messages of MLflow and alembic about migrations."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

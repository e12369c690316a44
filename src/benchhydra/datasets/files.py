"""Reading datasets from files, from https URLs (downloaded once, into a cache) and from the hub."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchhydra.errors import DatasetError
from benchhydra.progress import Progress

TIMEOUT_S = 60.0
Rows = Iterator[dict[str, Any]]


def local(path: str, progress: Progress) -> Path:
    """Return the local file of a path or of an https URL, which is downloaded once. Raises DatasetError."""
    if "://" not in path:
        if not Path(path).is_file():
            raise DatasetError(
                f"no such file: {path}", hint="dataset.path=FILE, absolute or relative to the working directory"
            )
        return Path(path)
    if not path.startswith("https://"):
        raise DatasetError(f"dataset.path={path} is not https", hint="download it and set dataset.path=FILE")
    import filelock  # start-up time: 7 ms, only for a URL

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "benchhydra" / "datasets"
    cached = cache / f"{hashlib.sha256(path.encode()).hexdigest()[:16]}-{Path(urlsplit(path).path).name}"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{cached}.lock"):
            if not cached.exists():
                _download(path, cached, progress)
    except OSError as error:
        raise DatasetError(
            f"cannot write {cached}: {error.strerror}", hint="XDG_CACHE_HOME=DIR moves the cache"
        ) from error
    return cached


class HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to https, so that a download never continues without TLS."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request to the new URL. Raises URLError if that is not https."""
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(url: str, cached: Path, progress: Progress) -> None:
    progress.say(f"downloading {url} (once)")
    with tempfile.NamedTemporaryFile(dir=cached.parent, delete=False) as part:
        try:
            with urllib.request.build_opener(HttpsOnly).open(url, timeout=TIMEOUT_S) as answer:
                shutil.copyfileobj(answer, part)
        except (OSError, HTTPException) as error:
            Path(part.name).unlink()
            raise DatasetError(
                f"cannot download {url}: {error}", hint="dataset.path=FILE, or dataset=synthetic"
            ) from error
    Path(part.name).replace(cached)
    with cached.open("rb") as file:
        progress.say(f"{cached}: sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}")


def rows(path: Path) -> Rows:
    """Return the objects of a .jsonl, .json (one list) or .parquet file. Raises DatasetError."""
    return (row for _, row in numbered(path))


def numbered(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of ``rows`` with their numbers from 1: of the line in a .jsonl file, else of the object."""
    try:
        if path.suffix == ".jsonl":
            yield from _lines(path)
        elif path.suffix == ".parquet":
            yield from enumerate(_parquet(path), 1)
        else:
            yield from enumerate(_objects(json.loads(path.read_text(encoding="utf-8")), path), 1)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DatasetError(f"{path}:{number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise DatasetError(f"{path}:{number} is not a JSON object")
            yield number, row


def _objects(content: Any, path: Path) -> Rows:
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise DatasetError(f"{path} is not a list of JSON objects")
    yield from content


def _parquet(path: Path) -> Rows:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()


def hub(repo: str, split: str, progress: Progress) -> list[Path]:
    """Return the files of a split of a dataset on the hub, downloaded unless cached. Raises DatasetError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    progress.say(f"fetching {repo} ({split}) from the hub, or its cache")
    patterns = [f"*{split}*.{kind}" for kind in ("parquet", "jsonl", "json")]
    try:
        folder = snapshot_download(repo, repo_type="dataset", allow_patterns=patterns)
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise DatasetError(f"cannot fetch {repo}: {reason}", hint="dataset.path=FILE, or dataset=synthetic") from error
    files = sorted(file for pattern in patterns for file in Path(folder).rglob(pattern))
    if not files:
        raise DatasetError(f"{repo} has no split {split}", hint="dataset.split=NAME")
    return files

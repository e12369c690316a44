"""Reading datasets from files, URLs (https, once, into the cache) and the hub."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from benchhydra.errors import DatasetError
from benchhydra.progress import Progress

TIMEOUT_S = 60.0
Rows = Iterator[dict[str, Any]]


def local(path: str, progress: Progress) -> Path:
    """The file of a path or of an https URL, which is fetched once. Raises DatasetError."""
    if "://" not in path:
        if not Path(path).is_file():
            raise DatasetError(f"no such file: {path}", hint="dataset.path=FILE, absolute or from where you started")
        return Path(path)
    if not path.startswith("https://"):
        raise DatasetError(f"dataset.path={path} is not https", hint="download it yourself, and dataset.path=FILE")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "benchhydra" / "datasets"
    kept = cache / f"{hashlib.sha256(path.encode()).hexdigest()[:16]}-{Path(path).name}"
    cache.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{kept}.lock"):
        if not kept.exists():
            _download(path, kept, progress)
    return kept


def _download(url: str, kept: Path, progress: Progress) -> None:
    progress.say(f"downloading {url} (once)")
    with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as part:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
                shutil.copyfileobj(answer, part)
        except OSError as error:
            Path(part.name).unlink()
            raise DatasetError(
                f"cannot download {url}: {error}", hint="dataset.path=FILE, or dataset=synthetic"
            ) from error
    Path(part.name).replace(kept)
    with kept.open("rb") as file:
        progress.say(f"{kept}: sha256 {hashlib.file_digest(file, 'sha256').hexdigest()}")


def rows(path: Path) -> Rows:
    """The objects of a .jsonl, .json (one list) or .parquet file. Raises DatasetError."""
    try:
        if path.suffix == ".parquet":
            yield from _parquet(path)
        elif path.suffix == ".jsonl":
            yield from _lines(path)
        else:
            yield from _objects(json.loads(path.read_text(encoding="utf-8")), path)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error


def _lines(path: Path) -> Rows:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield from _objects([json.loads(line)], path)
            except ValueError as error:
                raise DatasetError(f"{path}:{number} is not JSON: {error}") from error


def _objects(content: Any, path: Path) -> Rows:
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise DatasetError(f"{path} is not a list of JSON objects")
    yield from content


def _parquet(path: Path) -> Rows:
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()


def hub(repo: str, split: str, progress: Progress) -> list[Path]:
    """The files of a split of a dataset on the hub, from its cache where they are there. Raises DatasetError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    progress.say(f"fetching {repo} ({split}) from the hub, or its cache")
    patterns = [f"*{split}*.{kind}" for kind in ("parquet", "jsonl", "json")]
    try:
        folder = snapshot_download(repo, repo_type="dataset", allow_patterns=patterns)
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        first = str(error).splitlines()[0]
        raise DatasetError(f"cannot fetch {repo}: {first}", hint="dataset.path=FILE, or dataset=synthetic") from error
    found = sorted(file for pattern in patterns for file in Path(folder).rglob(pattern))
    if not found:
        raise DatasetError(f"{repo} has no split {split}", hint="dataset.split=NAME")
    return found

"""Where a dataset's files are: on this machine, behind an https URL (downloaded once, into a cache), on the hub."""

from __future__ import annotations

import hashlib
import os
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

from benchhydra.datasets.data_file import check_regular_file
from benchhydra.errors import DatasetError
from benchhydra.progress import Progress
from benchhydra.redaction import excerpt

#: The endings of data files on the hub.
HUB_KINDS = ("parquet", "jsonl", "json", "csv", "jsonl.gz", "json.gz", "csv.gz", "jsonl.zst")


def is_url(path: str) -> bool:
    """Return whether a path is a URL."""
    return "://" in path


def require_https(url: str) -> None:
    """Raise DatasetError if a URL is not https."""
    if not url.startswith("https://"):
        raise DatasetError(f"dataset.path={url} is not https", hint="download it and set dataset.path=FILE")


def cached_download(url: str) -> Path:
    """Return where the file of a URL is kept once it was downloaded."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "benchhydra" / "datasets"
    return cache / f"{hashlib.sha256(url.encode()).hexdigest()[:16]}-{Path(urlsplit(url).path).name}"


def local(path: str, progress: Progress) -> Path:
    """Return the local file of a path or of an https URL, which is downloaded once. Raises DatasetError."""
    if not is_url(path):
        check_regular_file(Path(path))
        return Path(path)
    import filelock  # start-up time: 6 ms

    from benchhydra.datasets._download import download  # start-up time: 15 ms, for http.client and email

    require_https(path)
    cached = cached_download(path)
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{cached}.lock"):
            if not cached.exists():
                download(path, cached, progress)
    except OSError as error:
        raise DatasetError(
            f"cannot write {cached}: {error.strerror}", hint="XDG_CACHE_HOME=DIR moves the cache"
        ) from error
    return cached


def hub(
    repo: str, split: str, progress: Progress, *, subset: str | None = None, revision: str | None = None
) -> list[Path]:
    """Return the files of a split of a dataset on the hub, downloaded unless cached. Raises DatasetError.

    subset: the folder that holds them; None: any. The hub is ``HF_ENDPOINT``, by default huggingface.co.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    progress.say(f"fetching {repo} ({split}) from the hub, or its cache")
    patterns = [f"{f'{subset}/' if subset else ''}*{split}*.{kind}" for kind in HUB_KINDS]
    try:
        folder = snapshot_download(
            repo,
            repo_type="dataset",
            allow_patterns=patterns,
            revision=revision,
            endpoint=os.environ.get("HF_ENDPOINT"),
        )
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DatasetError(
            f"cannot fetch {repo}: {excerpt(reason, 200)}", hint="dataset.path=FILE, or dataset=synthetic"
        ) from error
    names = (str(file.relative_to(folder)) for file in Path(folder).rglob("*") if file.is_file())
    files = sorted({Path(folder) / name for name in names if any(fnmatchcase(name, each) for each in patterns)})
    if not files:
        raise DatasetError(f"{repo} has no split {split}{f' in {subset}' if subset else ''}", hint="dataset.split=NAME")
    return files

"""Files of images or recordings in a folder, by their names' endings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from benchhydra.datasets import Media
from benchhydra.errors import DatasetError

#: Ending -> the type that servers know it by.
IMAGE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
AUDIO_TYPES = {".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mp3", ".ogg": "audio/ogg"}


def media_files(path: str, types: Mapping[str, str]) -> list[Path]:
    """Return the files with an ending of ``types`` in a folder, by name, or the one file. Raises DatasetError."""
    place = Path(path).expanduser()
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    usable = [file for file in files if file.suffix.lower() in types and file.is_file()]
    if not usable:
        raise DatasetError(f"{path} has no file that ends in {', '.join(types)}", hint="dataset.path=FOLDER")
    return usable


@lru_cache(maxsize=1024)
def read_media(kind: str, mime: str, file: Path) -> Media:
    """Return a file as what a prompt carries. Raises DatasetError."""
    try:
        return Media(kind, mime, file.read_bytes())
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror}") from error

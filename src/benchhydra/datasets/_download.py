"""Downloads over https, which never continue without TLS."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

from benchhydra.errors import DatasetError
from benchhydra.progress import Progress

TIMEOUT_S = 60.0


class HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects only to https, so that a download never continues without TLS."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """Return the request to the new URL. Raises URLError if that is not https."""
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, cached: Path, progress: Progress) -> None:
    """Write a URL's content to ``cached``, whole or not at all, and say its checksum. Raises DatasetError."""
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

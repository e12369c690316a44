"""The web address of a repository, for links to commits."""

from __future__ import annotations

import re
import subprocess
from urllib.parse import urlsplit

TIMEOUT_S = 5.0


def web_address(remote: str) -> str:
    """``git@host:owner/name.git`` or an address, as https without credentials; empty where it is neither."""
    short = re.fullmatch(r"(?:[\w.-]+@)?([\w.-]+):([\w./-]+)", remote) if "://" not in remote else None
    if short:
        host, path = short[1], short[2]
    else:
        parts = urlsplit(remote)
        if parts.scheme not in ("http", "https", "ssh", "git") or not parts.hostname:
            return ""
        port = f":{parts.port}" if parts.port and parts.scheme in ("http", "https") else ""
        host, path = parts.hostname + port, parts.path
    scheme = "http" if remote.startswith("http://") else "https"
    return f"{scheme}://{host}/{path.strip('/').removesuffix('.git')}"


def origin() -> str:
    """The address of the working directory's ``origin``; empty where there is none."""
    try:
        done = subprocess.run(
            ["git", "remote", "get-url", "origin"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return web_address(done.stdout.strip()) if done.returncode == 0 else ""

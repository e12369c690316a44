"""The spec of a router that is started in front of running servers: their URLs in its words, and its file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchhydra.engines import ServerSpec
from benchhydra.engines.placeholders import fill_names

#: The name of a router's configuration file, beside its log.
CONFIG_FILE = "router.conf"


def router_spec(spec: ServerSpec, urls: Sequence[str], log: Path) -> ServerSpec:
    """Return how the router of ``spec`` is started in front of servers. log: its log, beside which its file is."""
    config = log.with_name(f"{log.stem}-{CONFIG_FILE}")
    words = [word for text in spec.router for word in (urls if text == "{urls}" else (text,))]
    names = {f"url{number}": url for number, url in enumerate(urls)} | {"config": str(config)}
    return ServerSpec(
        kind="http",
        argv=tuple(fill_names(word, names) for word in words),
        env=spec.env,
        api_path=spec.api_path,
        places_address=True,
        ready_path=spec.router_ready_path,
        cache_reset="none",
        config_file=str(config) if spec.router_config else "",
        config_text=spec.router_config.replace("{servers}", _nginx_servers(urls)),
    )


def _nginx_servers(urls: Sequence[str]) -> str:
    """Return the lines ``server HOST:PORT;`` of an upstream."""
    return "\n".join(f"    server {url.partition('://')[2]};" for url in urls)

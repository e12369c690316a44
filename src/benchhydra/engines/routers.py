"""Routers in front of an engine's replicas: how the known ones are started. ``engine.router_command`` starts any other.

Facts: https://github.com/vllm-project/router (vllm-router 0.1), https://docs.sglang.ai/advanced_features/router.html
(sglang-router 0.3), https://nginx.org/en/docs/http/load_balancing.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from benchhydra.engines.flags import check_flags, flag_name, flag_words
from benchhydra.errors import ConfigError

ROUTERS = ("vllm-router", "sglang-router", "nginx")
#: nginx without buffering, so that tokens are passed on as they come; files in its log's directory need no root.
NGINX_CONFIG = """\
worker_processes 1;
daemon off;
pid "{config}.pid";
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path "{config}.body";
  proxy_temp_path "{config}.proxy";
  fastcgi_temp_path "{config}.fastcgi";
  uwsgi_temp_path "{config}.uwsgi";
  scgi_temp_path "{config}.scgi";
  upstream replicas {
{policy}{servers}
    keepalive 256;
  }
  server {
    listen {host}:{port};
    client_max_body_size 1g;
    location / {
      proxy_pass http://replicas;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 1h;
    }
  }
}
"""
#: Routers with the same flags -> how they are started. sglang-router's metrics are open to the network by default.
RUST_ROUTERS = {"vllm-router": ("vllm-router",), "sglang-router": ("sglang-router", "launch")}
NGINX_POLICIES = {"round_robin": "", "least_conn": "    least_conn;\n", "random": "    random;\n"}


class Router(NamedTuple):
    """How a router is started. words: with ``{urls}``, ``{host}``, ``{port}``, ``{config}``; config: its file.

    ready_path: answers 2xx when it is ready; "": that of the replicas, to which it passes every path on.
    """

    words: tuple[str, ...]
    ready_path: str = "/health"
    config: str = ""


def router_of(name: str, args: Mapping[str, Any]) -> Router:
    """Return a known router with its flags. Raises ConfigError for a name or an nginx policy that is unknown."""
    check_flags(name, args, None, key="engine.router_args")
    flags = {"policy": "round_robin"} | {flag_name(key): value for key, value in args.items()}
    if name in RUST_ROUTERS:
        words = flag_words({"prometheus_host": "127.0.0.1"} | flags, negatable=())
        return Router((*RUST_ROUTERS[name], "--worker-urls", "{urls}", *words, "--host", "{host}", "--port", "{port}"))
    if name == "nginx":
        policy = flags.pop("policy")
        if policy not in NGINX_POLICIES or flags:
            raise ConfigError(
                f"engine.router_args: nginx takes no {', '.join(flags) or f'policy={policy}'}",
                hint=f"engine.router_args.policy={'|'.join(NGINX_POLICIES)}",
            )
        config = NGINX_CONFIG.replace("{policy}", NGINX_POLICIES[policy])
        return Router(("nginx", "-c", "{config}"), "", config)
    raise ConfigError(f"engine.router={name} is not allowed", hint=f"one of {', '.join(ROUTERS)}, null")

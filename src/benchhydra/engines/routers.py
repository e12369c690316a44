"""Routers in front of an engine's replicas: how the known ones are started. ``engine.router_command`` starts any other.

Facts: https://github.com/vllm-project/router (vllm-router 0.1), https://docs.sglang.ai/advanced_features/router.html
(sglang-router 0.3), https://nginx.org/en/docs/http/load_balancing.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from benchhydra.engines.flags import check_flags, flag_name, flag_words
from benchhydra.engines.programs import help_flags, require_program
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
#: Routers with the same flags -> how they are started.
RUST_ROUTERS = {"vllm-router": ("vllm-router",), "sglang-router": ("sglang-router", "launch")}
#: Their metrics are at port 29000 by default, and those of sglang-router are open to the network.
RUST_DEFAULTS = {"policy": "round_robin", "prometheus_host": "127.0.0.1", "prometheus_port": "{free_port}"}
ARGS_KEY = "engine.router_args"
NGINX_POLICIES = {"round_robin": "", "least_conn": "    least_conn;\n", "random": "    random;\n"}


class Router(NamedTuple):
    """How a router is started. words: with ``{urls}``, ``{host}``, ``{port}``, ``{config}``; config: its file.

    ready_path: answers 2xx when it is ready; "": that of the replicas, to which it passes every path on.
    """

    words: tuple[str, ...]
    ready_path: str = "/health"
    config: str = ""


def router_of(name: str, args: Mapping[str, Any]) -> Router:
    """Return a known router with its flags. Raises ConfigError for a name, a flag or a policy that is unknown.

    Its program must be on PATH. The port of a Rust router's metrics is a free one: two may run on a machine.
    """
    if name in RUST_ROUTERS:
        return _rust_router(name, args)
    if name == "nginx":
        return _nginx(args)
    raise ConfigError(f"engine.router={name} is not allowed", hint=f"one of {', '.join(ROUTERS)}, null")


def _rust_router(name: str, args: Mapping[str, Any]) -> Router:
    check_flags(name, args, None, key=ARGS_KEY)  # what benchhydra sets itself, before the program is looked for
    program, *subcommand = RUST_ROUTERS[name]
    start = (require_program(program, "engine.router"), *subcommand)
    declared = help_flags(*start)
    check_flags(name, args, declared, key=ARGS_KEY)
    flags = RUST_DEFAULTS | {flag_name(key): value for key, value in args.items()}
    words = flag_words(flags, declared)
    return Router((*start, "--worker-urls", "{urls}", *words, "--host", "{host}", "--port", "{port}"))


def _nginx(args: Mapping[str, Any]) -> Router:
    flags = {"policy": "round_robin"} | {flag_name(key): value for key, value in args.items()}
    policy = flags.pop("policy")
    if policy not in NGINX_POLICIES or flags:
        raise ConfigError(
            f"{ARGS_KEY}: nginx takes no {', '.join(flags) or f'policy={policy}'}",
            hint=f"{ARGS_KEY}.policy={'|'.join(NGINX_POLICIES)}",
        )
    program = require_program("nginx", "engine.router")
    return Router((program, "-c", "{config}"), "", NGINX_CONFIG.replace("{policy}", NGINX_POLICIES[policy]))

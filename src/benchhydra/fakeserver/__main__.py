"""The command line of the fake engine's server, which serves until SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import resource
import signal
import ssl
import sys
import time

import uvloop
from aiohttp import web

from benchhydra.fakeserver.app import FakeServer
from benchhydra.fakeserver.plan import FAULTS

TIMES = (
    *("ttft-ms", "itl-ms", "ttft-sigma", "itl-sigma", "start-s"),
    *("prefill-us-per-token", "itl-per-request-ms", "cpu-us-per-chunk", "adapter-ms"),
)
#: Default 0: no limit, no crash, seed 0, no speculative decoding.
COUNTS = (
    *("max-concurrency", "crash-after-requests", "fake-seed", "kv-cache-tokens", "draft-tokens", "reasoning-tokens"),
    *("prefix-cache-blocks", "context-tokens"),
)


def main(argv: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    args = _parser().parse_args(argv)
    if args.fail_start:
        raise SystemExit("fake server: RuntimeError: failing to start, as requested by --fail-start")
    time.sleep(args.start_s)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # as vLLM does: every connection takes a file descriptor
    uvloop.run(_serve(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchhydra.fakeserver", allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", default="fake")
    for name in TIMES:
        parser.add_argument(f"--{name}", type=float, default=0.0)
    for fault in FAULTS:
        parser.add_argument(f"--{fault.replace('_', '-')}-fraction", type=float, default=0.0)
    for name in COUNTS:
        parser.add_argument(f"--{name}", type=int, default=0)
    parser.add_argument("--tokens-per-chunk", type=int, default=1)
    parser.add_argument("--prefix-block-tokens", type=int, default=16)
    parser.add_argument("--acceptance", type=float, default=0.7)
    parser.add_argument("--engine-arg", action="append", help="a flag of a real engine, ignored here")
    parser.add_argument("--adapter", action="append", help="the name of a LoRA adapter, which is a model's name too")
    switches = ("fail-start", "reset-fails", "no-chunked-prefill", "no-prefix-caching")
    for name in (*switches, "ignore-disconnects", "priority-scheduling"):
        parser.add_argument(f"--{name}", action="store_true")
    for name in ("api-key", "ssl-certfile", "ssl-keyfile"):
        parser.add_argument(f"--{name}", default="")
    return parser


async def _serve(args: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = FakeServer(args)
    runner = web.AppRunner(
        server.app(), access_log=None, handler_cancellation=not args.ignore_disconnects, shutdown_timeout=0.2
    )
    await runner.setup()
    server.site = web.TCPSite(runner, args.host, args.port, ssl_context=_tls(args), backlog=4096)
    await server.site.start()
    host, port = runner.addresses[0][:2]
    sys.stdout.write(f"fake server: {args.model} on {host}:{port}\n")
    sys.stdout.flush()
    await stop.wait()
    await runner.cleanup()


def _tls(args: argparse.Namespace) -> ssl.SSLContext | None:
    if not args.ssl_certfile:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(args.ssl_certfile, args.ssl_keyfile or None)
    return context


if __name__ == "__main__":
    main()

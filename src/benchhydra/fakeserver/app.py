"""The HTTP application of the fake server: its handlers, and the faults that they inject."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import socket
import struct
import sys
import time
from collections import Counter
from typing import Any

from aiohttp import web

from benchhydra.fakeserver.answers import ChatRequest, CompletionRequest
from benchhydra.fakeserver.generation import FakeEngine, Generation
from benchhydra.fakeserver.items import ClassifyRequest, PoolingRequest, RerankRequest, ScoreRequest, VectorsRequest
from benchhydra.fakeserver.plan import AnswerPlan
from benchhydra.fakeserver.responses import ResponsesRequest
from benchhydra.fakeserver.transcription import TranscriptionRequest

OTHER_MODEL = "another-model"
ERROR = {"error": {"message": "the fake engine was configured to fail", "type": "fake", "code": 500}}

#: The error objects that come with status 200.
ERRORS = {"error_event": ERROR, "bare_error": {"code": 50001, "message": "the fake engine was configured to fail"}}
#: Path of an endpoint -> how its requests are read.
ENDPOINTS: dict[str, type[CompletionRequest]] = {
    "/v1/completions": CompletionRequest,
    "/v1/chat/completions": ChatRequest,
    "/v1/responses": ResponsesRequest,
    "/v1/embeddings": VectorsRequest,
    "/pooling": PoolingRequest,
    "/classify": ClassifyRequest,
    "/v1/score": ScoreRequest,
    "/v1/rerank": RerankRequest,
    "/v1/audio/transcriptions": TranscriptionRequest,
}


class FakeServer:
    """Answers requests as their plans say, and counts what it did."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.engine = FakeEngine(args)
        self.index = itertools.count(1)
        self.classes: Counter[str] = Counter()
        self.truth: Counter[str] = Counter()  # of answers without a fault
        self.site: web.BaseSite | None = None  # where it listens; a crash closes it first
        self.requests = self.resets = 0

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 28)
        app.router.add_get("/health", self.health)
        app.router.add_get("/version", self.version)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/stats", self.stats)
        for path in ENDPOINTS:
            app.router.add_post(path, self.completions)
        for name in ("prefix", "mm", "encoder"):
            app.router.add_post(f"/reset_{name}_cache", self.reset_cache)
        return app

    async def health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "fake"})

    async def models(self, _: web.Request) -> web.Response:
        model = {"id": self.args.model, "object": "model", "owned_by": "benchhydra", "root": self.args.model}
        adapters = [{**model, "id": name, "parent": self.args.model} for name in self.args.adapter or ()]
        return web.json_response({"object": "list", "data": [model, *adapters]})

    async def stats(self, _: web.Request) -> web.Response:
        scheduler = self.engine.scheduler
        body = {"requests": self.requests, "classes": dict(self.classes), "running": len(scheduler.running)}
        body |= {"truth": dict(self.truth)}
        return web.json_response({**body, "most_running": scheduler.most_running, "resets": self.resets})

    async def metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self.engine.metrics_text(), content_type="text/plain")

    async def reset_cache(self, _: web.Request) -> web.Response:
        self.resets += 1
        if not self.args.reset_fails:
            self.engine.cache.clear()
        return web.json_response({"success": not self.args.reset_fails})

    async def completions(self, request: web.Request) -> web.StreamResponse:
        start_ns = time.monotonic_ns()
        index = next(self.index)
        self.requests = index
        if self.args.crash_after_requests and index >= self.args.crash_after_requests:
            sys.stderr.write("fake server: crashing, as requested by --crash-after-requests\n")
            sys.stderr.flush()
            if self.site is not None:  # or the kernel may accept a connection after it has reset this one
                await self.site.stop()
            os._exit(17)
        if self.args.api_key and request.headers.get("Authorization") != f"Bearer {self.args.api_key}":
            return self._refuse(401, "Unauthorized")
        try:
            completion = ENDPOINTS[request.path](await _body(request), self.args.reasoning_tokens)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return self._refuse(400, f"bad request: {error!r}")
        if completion.model not in (self.args.model, *(self.args.adapter or ())):
            return self._refuse(404, f"The model `{completion.model}` does not exist.")
        plan = completion.plan(self.args, index)
        plan.solve(completion.words)
        return await self._serve(request, completion, plan, start_ns)

    def _refuse(self, status: int, message: str) -> web.Response:
        self.classes[f"http_{status // 100}xx"] += 1
        return web.json_response({"error": {"message": message, "code": status}}, status=status)

    async def _serve(
        self, request: web.Request, completion: CompletionRequest, plan: AnswerPlan, start_ns: int
    ) -> web.StreamResponse:
        if plan.fault:
            self.classes[plan.fault] += 1
        if plan.fault == "other_model":
            completion.model = OTHER_MODEL
        if plan.fault in ("http_4xx", "http_5xx"):
            return web.json_response(ERROR, status=400 if plan.fault == "http_4xx" else 500)
        try:
            plan.has_adapter = completion.model != self.args.model
            salt = completion.salt
            if completion.model in (self.args.adapter or ()):
                salt = f"{completion.model}:{salt}"  # as in vLLM, what an adapter has computed is its own
            async with self.engine.generation(
                plan, completion.words, start_ns, salt, completion.priority
            ) as generation:
                answer = await (self._answer_stream if completion.stream else self._answer_whole)(
                    request, completion, plan, generation
                )
        except (ConnectionError, asyncio.CancelledError):
            self.classes["client_gone"] += plan.fault is None
            raise
        self.classes["ok"] += plan.fault is None
        self.truth.update(completion.truth if plan.fault is None else {})
        return answer

    async def _answer_whole(
        self, request: web.Request, completion: CompletionRequest, plan: AnswerPlan, generation: Generation
    ) -> web.StreamResponse:
        """Answer without streaming, when the last token is due."""
        if plan.fault == "timeout":
            await asyncio.Event().wait()
        if plan.fault == "reset":
            await self._reset(request)
        for _ in plan.sizes:
            await generation.next_chunk()
        generation.finish()
        if plan.fault in ERRORS:
            return web.json_response(ERRORS[plan.fault])
        body = json.dumps(completion.whole(completion.pieces(plan), plan)).encode()
        if plan.fault == "early_end":
            await self._cut(request, body)
        if plan.fault == "malformed":
            body = body[: len(body) // 2]
        return web.Response(body=body, content_type="application/json")

    async def _cut(self, request: web.Request, body: bytes) -> None:
        """Send half of the announced Content-Length and close the connection: clients see an incomplete body."""
        answer = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
        await answer.prepare(request)
        await answer.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.close()
        await asyncio.Event().wait()  # until this handler is cancelled, because its connection is closed

    async def _answer_stream(
        self, request: web.Request, completion: CompletionRequest, plan: AnswerPlan, generation: Generation
    ) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        if plan.fault == "timeout":
            await asyncio.Event().wait()
        if plan.fault == "reset" and plan.fault_chunk == 0:
            await self._reset(request)
        await answer.prepare(request)
        complete = await self._send_chunks(request, answer, completion, plan, generation)
        ending = completion.closing(plan) if complete else b""
        ending += b"" if plan.fault in ("early_end", "no_done") else completion.end()
        if ending:
            await answer.write(ending)
        await answer.write_eof()
        return answer

    async def _send_chunks(
        self,
        request: web.Request,
        answer: web.StreamResponse,
        completion: CompletionRequest,
        plan: AnswerPlan,
        generation: Generation,
    ) -> bool:
        """Send each chunk when it is due; False if the plan's fault ended the answer early."""
        pieces = completion.pieces(plan)
        bodies = {piece: completion.chunk(piece, choices=plan.choices) for piece in {*pieces}}
        for i, piece in enumerate(pieces):
            await generation.next_chunk()
            body = bodies[piece]
            if i + 1 == plan.chunks:
                body = completion.chunk(piece, plan.finish, choices=plan.choices)
            if i == 0 and plan.fault == "malformed":
                body = b'data: {"choices": [{"te\n\n'
            elif i == 0:
                body = completion.opening() + body
            if i == plan.fault_chunk and plan.fault in ("reset", "early_end", *ERRORS):
                if plan.fault == "reset":
                    await self._reset(request)
                if plan.fault in ERRORS:
                    await answer.write(b"data: " + json.dumps(ERRORS[plan.fault]).encode() + b"\n\n")
                return False
            await self._write(answer, body)
        generation.finish()
        if plan.fault == "repeat":
            await answer.write(bodies[pieces[0]])
        return True

    async def _write(self, answer: web.StreamResponse, body: bytes) -> None:
        """Send bytes; to a client that is gone only if that does not end the generation."""
        try:
            await answer.write(body)
        except ConnectionError:
            if not self.args.ignore_disconnects:
                raise

    async def _reset(self, request: web.Request) -> None:
        """Reset the connection: SO_LINGER with a time of 0 makes the close a RST."""
        transport = request.transport
        if transport is not None:
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        await asyncio.Event().wait()


async def _body(request: web.Request) -> dict[str, Any]:
    """Return the fields of a JSON body, or of a multipart form, whose files are bytes."""
    if not request.content_type.startswith("multipart/"):
        body: dict[str, Any] = await request.json()
        return body
    form = await request.post()
    return {name: value.file.read() if isinstance(value, web.FileField) else value for name, value in form.items()}

"""A simulated server for the endpoints that are not completions or chat's text, its lies, and the truth about them.

``EndpointServer`` takes the place of ``LyingServer`` in virtual time. ``LIES`` says what is true of an answer with each
lie; ``outcome_of`` runs a load and compares its figures with the server's.
"""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from tests.lying.behaviour import Behaviour
from tests.lying.server import ERRORS, MODEL, Packet
from tests.lying.virtual import run_virtually

from benchhydra import registry
from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import Api, RequestOptions
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.classify import Classify
from benchhydra.client.apis.embeddings import Embeddings
from benchhydra.client.apis.pooling import Pooling
from benchhydra.client.apis.rerank import Rerank
from benchhydra.client.apis.responses import Responses
from benchhydra.client.apis.score import Score
from benchhydra.client.apis.transcription import Transcription
from benchhydra.client.request_encoding import encode_request
from benchhydra.datasets import Media, Prompt
from benchhydra.facts import Facts
from benchhydra.loadgen import LoadPlan
from benchhydra.loads.poisson import Poisson
from benchhydra.measure.answer_checks import REQUEST, checked
from benchhydra.metrics import summarize
from benchhydra.records import ADAPTER
from benchhydra.result import Reason, Verdict
from benchhydra.validity import ValidityLimits, judge
from benchhydra.window import Window, mark_phases

registry.discover()  # rules read facts that other packages declare

MS = 1_000_000
TOKENS, TEXTS, OUTPUT_TOKENS, REASONING_TOKENS, AUDIO_MS = 8, 4, 12, 6, 2000
#: Of vectors; and those that a reranker adds to each document.
NUMBERS, TEMPLATE_TOKENS = 16, 3
ADAPTER_NAME = "adapter"
APIS: dict[str, Api] = {
    "embeddings": Embeddings(batch=TEXTS),
    "base64": Embeddings(batch=TEXTS, encoding="base64", dimensions=NUMBERS),
    "pooling": Pooling(batch=TEXTS),
    "classify": Classify(batch=TEXTS),
    "score": Score(documents=TEXTS, pairs="separate"),
    "rerank": Rerank(documents=TEXTS, template_tokens=TEMPLATE_TOKENS),
    "responses": Responses(reasoning=True),
    "reasoning": Chat(reasoning=True),
    "schema": Chat(json_schema="example"),
    "choice": Chat(choice=["red", "green"]),
    "regex": Chat(regex="(red|green) *"),
    "tools": Chat(tools="example", tool_choice="required"),
    "images": Chat(),
    "adapters": Chat(),  # half of the requests ask for the adapter
    "transcription": Transcription(language="en"),
}
ITEMS = ("embeddings", "base64", "pooling", "classify", "score", "rerank")
STREAMS = tuple(name for name in APIS if name not in ITEMS)
STRUCTURED = ("schema", "choice", "regex", "tools")
CHAT = ("reasoning", *STRUCTURED, "images", "adapters")
#: Lie -> the APIs that can have it. FAILED: an answer with it is none; the others are completed, and not as asked for.
FAILED: dict[str, tuple[str, ...]] = {
    "missing": ITEMS,
    "surplus": ITEMS,
    "doubled": ITEMS,
    "out of order": tuple(name for name in ITEMS if name != "rerank"),
    "no index": ITEMS,
    "nan": ITEMS,
    "null": ITEMS,
    "words": ITEMS,
    "no item": ITEMS,
    "no list": ITEMS,
    "shorter vector": ("embeddings", "base64", "pooling", "classify"),
    "zeros": ("embeddings", "base64", "pooling"),
    "error": tuple(APIS),
    "http error": tuple(APIS),
    "other model": tuple(name for name in APIS if name != "transcription"),
    "base model": ("adapters",),
    "reset": tuple(APIS),
    "broken": tuple(APIS),
    "empty": STREAMS,
    "early end": STREAMS,
    "aborted": tuple(name for name in STREAMS if name != "transcription"),
}
COMPLETED: dict[str, tuple[str, ...]] = {
    "copied": ("embeddings", "base64", "pooling"),
    "one score": ("score", "rerank"),
    "unsorted": ("rerank",),
    "cut": (*ITEMS, "responses", *CHAT),  # half of each text is read, and usage says so
    "usage low": (*ITEMS, "responses", *CHAT),
    "usage high": (*ITEMS, "responses", *CHAT),
    "twice": STREAMS,  # every piece of text comes twice
    "plain words": STRUCTURED,
    "no number": ("schema",),
    "unfinished": ("schema", "tools"),
    "other tool": ("tools",),
    "wrong arguments": ("tools",),
    "no call": ("tools",),
    "unseparated": ("responses", "reasoning"),
    "no answer": ("responses", "reasoning"),
    "reasoning low": ("responses", "reasoning"),
    "no image": ("images",),
}
LIES = FAILED | COMPLETED
#: Habits of honest servers.
HABITS = ("plain", "usage first", "no ids", "spaces", "comments")
#: Lies that only show, or only matter, if all answers have them ...
WHOLE = ("cut", "usage low", "usage high", "unseparated", "no answer", "reasoning low", "no image")
#: ... or of which only that answers differ shows: nobody knows how many tokens an image has.
PARTIAL = {("images", lie): (0.5,) for lie in ("cut", "usage low", "usage high")}
CALL = {"name": "add", "arguments": '{"a": 1, "b": 2}'}
PERSON = '{"name": "w", "age": 3, "colour": "red"}'


def fractions_of(lie: str, api: str) -> tuple[float, ...]:
    """Return the fractions of answers that may have a lie."""
    return PARTIAL.get((api, lie), (1.0,) if lie in WHOLE else (1.0, 0.3, 0.06))


class Request(NamedTuple):
    """A request as the server reads it."""

    row: int
    stream: bool
    model: str = MODEL


@dataclass(frozen=True, kw_only=True)
class Case:
    """A draw: an API, a habit, and a lie (None: an honest server) with the fraction of the answers that have it."""

    api: str
    lie: str | None = None
    fraction: float = 1.0
    habit: str = "plain"
    stream: bool = True
    seed: int = 0
    count: int = 20


@dataclass(kw_only=True)
class Truth:
    """What is true of one request, in the server's times. work: items, or tokens of output, that were really made."""

    received_ns: int
    end_ns: int
    completed: bool = True
    prompt_tokens: int = 0
    work: int = 0
    first_ns: int = -1
    answer_ns: int = -1
    valid: bool = True
    lie: str = ""


class EndpointServer:
    """Answers requests to one API; ``truth``: by row."""

    def __init__(self, case: Case) -> None:
        self.behaviour = Behaviour(network_ms=0.05)
        self.truth: dict[int, Truth] = {}
        self._case = case

    def read(self, data: bytes) -> Request:
        """Read a request; its texts begin with the number of its row."""
        body = data.partition(b"\r\n\r\n")[2]
        if self._case.api == "transcription":
            return Request(int(body.partition(b"RIFF")[2].split(b"\r", 1)[0]), b'name="stream"' in body)
        document = json.loads(body)
        text = document.get("query") or document.get("text_1") or document.get("input") or document.get("messages")
        text = text[0] if isinstance(text, list) else text
        content = text["content"] if isinstance(text, dict) else text
        content = content[-1]["text"] if isinstance(content, list) else content
        return Request(int(content.split()[0]), bool(document.get("stream")), document["model"])

    def answer(self, request: Request, received_ns: int) -> list[Packet]:
        """Return what the server sends for a request that has arrived at ``received_ns``, in order of time."""
        rng = np.random.default_rng([self._case.seed, request.row])
        lie = self._case.lie if self._case.lie and rng.random() < self._case.fraction else ""
        truth = self.truth[request.row] = Truth(received_ns=received_ns, end_ns=received_ns + 30 * MS)
        if lie == "base model" and request.model == MODEL:
            lie = ""  # that is what was asked for
        truth.lie = lie
        truth.completed = lie not in FAILED
        truth.prompt_tokens = self._prompt_tokens() // (2 if lie == "cut" else 1)
        if lie == "http error":
            return [_http(truth.end_ns, b'{"error": {"message": "busy"}}', "503 Busy")]
        if self._case.api in ITEMS:
            packets = self._items(request, truth, lie, rng)
        else:
            packets = _Text(self._case, request, truth, lie, self._usage(truth, lie, OUTPUT_TOKENS)).packets()
        if lie == "reset":
            head = packets[0].data or b""
            return [Packet(truth.end_ns, head[: len(head) // 2]), Packet(truth.end_ns, b"")]
        return packets

    def _prompt_tokens(self) -> int:
        if self._case.api == "score":
            return (1 + TEXTS) * TOKENS
        if self._case.api == "rerank":
            return TEXTS * (2 * TOKENS + TEMPLATE_TOKENS)
        return {"images": TOKENS + 20, "transcription": 50}.get(
            self._case.api, TOKENS * (TEXTS if self._case.api in ITEMS else 1)
        )

    def _usage(self, truth: Truth, lie: str, output: int) -> dict[str, Any]:
        prompt = TOKENS if lie == "no image" else truth.prompt_tokens
        prompt, output = _told(prompt, output, lie)
        return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}

    def _items(self, request: Request, truth: Truth, lie: str, rng: np.random.Generator) -> list[Packet]:
        api = APIS[self._case.api]
        vectors = rng.normal(0, 1, (TEXTS, 3 if self._case.api == "classify" else NUMBERS))
        if lie == "copied":
            vectors[1] = vectors[0]
        if lie == "shorter vector" and request.row:
            vectors = vectors[:, :-1]
        elif lie == "shorter vector" and self._case.api != "base64":
            truth.completed = True  # the first answer says how long vectors are
        elif lie == "shorter vector":
            vectors = vectors[:, :-1]  # not as long as was asked for
        truth.work = TEXTS - (lie == "copied")
        items = [self._item(index, vector, lie) for index, vector in enumerate(vectors)]
        usage = self._usage(truth, lie, 0)
        document: dict[str, Any] = {"id": "x", "model": "other" if lie == "other model" else MODEL, "usage": usage}
        document[getattr(api, "list_key", "data")] = _spoilt(items, lie, sort=self._case.api == "rerank")
        if lie == "no list":
            del document[getattr(api, "list_key", "data")]
        if self._case.habit == "no ids":
            del document["id"]
        body = json.dumps(document, indent=2 if self._case.habit == "spaces" else None).encode()
        if lie == "error":
            body = ERRORS[request.row % 8].partition(b"data: ")[2].strip()
        return [_http(truth.end_ns, body[: len(body) // 2] if lie == "broken" else body)]

    def _item(self, index: int, vector: Any, lie: str) -> dict[str, Any]:
        bad: Any = {"nan": float("nan"), "null": None, "words": "many", "zeros": 0.0}.get(lie, vector[0])
        spoilt = index == 2 and lie in ("nan", "null", "words", "zeros")
        numbers = [bad if spoilt else float(number) for number in vector]
        if lie == "zeros" and spoilt:
            numbers = [0.0] * len(numbers)
        if self._case.api in ("score", "rerank"):
            score = 0.5 if lie == "one score" else numbers[0]
            return {"index": index, "relevance_score" if self._case.api == "rerank" else "score": score}
        if self._case.api == "base64" and lie not in ("null", "words"):
            packed = base64.b64encode(np.array(numbers, "<f4").tobytes()).decode()
            return {"index": index, "embedding": packed}
        return {"index": index, APIS[self._case.api].vector_key: numbers}  # type: ignore[attr-defined]


class _Text:
    """An answer of text: its steps of generation, and its events or document."""

    def __init__(self, case: Case, request: Request, truth: Truth, lie: str, usage: dict[str, Any]) -> None:
        self._case, self._request, self._truth, self._lie, self._usage = case, request, truth, lie, usage
        reasons = case.api in ("responses", "reasoning")
        self._reasoning = REASONING_TOKENS if reasons else 0
        if lie == "no answer":
            self._reasoning = OUTPUT_TOKENS
        self._steps_ns = [truth.received_ns + 20 * MS + step * 5 * MS for step in range(OUTPUT_TOKENS)]
        truth.first_ns, truth.end_ns, truth.work = self._steps_ns[0], self._steps_ns[-1], OUTPUT_TOKENS
        truth.answer_ns = self._steps_ns[self._reasoning] if self._reasoning < OUTPUT_TOKENS else -1
        truth.valid = lie not in ("plain words", "no number", "unfinished", "other tool", "wrong arguments", "no call")
        if reasons:
            told = self._reasoning // 2 if lie == "reasoning low" else self._reasoning
            self._usage["completion_tokens_details"] = {"reasoning_tokens": told}

    def packets(self) -> list[Packet]:
        if not self._request.stream:
            return [_http(self._truth.end_ns, self._broken(self._document()))]
        bodies = [(at_ns, self._broken(body)) for at_ns, body in self._events()]
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        packets = [Packet(self._truth.received_ns + MS, head)]
        packets += [Packet(at_ns, b"%x\r\n%b\r\n" % (len(body), body)) for at_ns, body in bodies]
        return [*packets, Packet(self._truth.end_ns, b"0\r\n\r\n")]

    def _broken(self, body: bytes) -> bytes:
        return body.replace(b"}", b"") if self._lie == "broken" else body

    def _texts(self) -> list[str]:
        words = [f" w{self._request.row}x{step}" for step in range(OUTPUT_TOKENS)]
        answers = {"schema": PERSON, "choice": "green", "regex": "green", "tools": CALL["arguments"]}
        fixed = answers.get(self._case.api)
        if fixed is None or self._lie in ("plain words", "no call"):
            return ["" if self._lie == "empty" else word for word in words]
        text = {"no number": PERSON.replace("3", '"3"'), "wrong arguments": '{"a": "one"}'}.get(self._lie, fixed)
        text = text[:-2] if self._lie == "unfinished" else text
        text += " " * max(0, OUTPUT_TOKENS - len(text))
        cuts = [len(text) * step // OUTPUT_TOKENS for step in range(OUTPUT_TOKENS + 1)]
        return ["" if self._lie == "empty" else text[begin:end] for begin, end in pairwise(cuts)]

    def _events(self) -> list[tuple[int, bytes]]:
        begin = self._truth.received_ns + MS
        content = list(zip(self._steps_ns, range(OUTPUT_TOKENS), self._texts(), strict=True))
        kept = content[: OUTPUT_TOKENS // 2] if self._lie in ("early end", "error", "aborted") else content
        pieces = [
            (at_ns, self._piece(step, text)) for at_ns, step, text in kept for _ in range(1 + (self._lie == "twice"))
        ]
        if self._case.habit == "comments":
            pieces = [(at_ns, b": a comment\n\n" + body) for at_ns, body in pieces]
        events = [(begin, self._opening()), *pieces]
        self._truth.end_ns = events[-1][0]
        if self._lie == "error":
            return [*events, (self._truth.end_ns, ERRORS[self._request.row % 8])]
        return events if self._lie == "early end" else [*events, (self._truth.end_ns, self._closing())]

    def _opening(self) -> bytes:
        if self._case.api == "responses":
            return _named(
                "response.created", response={"object": "response", "model": self._model, "status": "in_progress"}
            )
        return (
            b": hello\n\n" if self._case.api == "transcription" else self._chunk({"role": "assistant", "content": ""})
        )

    def _piece(self, step: int, text: str) -> bytes:
        reasoning = step < self._reasoning and self._lie != "unseparated"
        if self._case.api == "responses":
            kind = "reasoning_text" if reasoning else "output_text"
            return _named(f"response.{kind}.delta", delta=text, sequence_number=step)
        if self._case.api == "tools" and self._lie not in ("plain words", "no call"):
            return self._chunk({"tool_calls": self._calls(text, step)})
        return self._chunk({"reasoning_content" if reasoning else "content": text})

    def _calls(self, arguments: str, step: int) -> list[dict[str, Any]]:
        name = "sing" if self._lie == "other tool" else CALL["name"]
        return [{"index": 0, "function": {**({} if step else {"name": name}), "arguments": arguments}}]

    def _chunk(self, delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return b"data: " + json.dumps({"model": self._model, "choices": [choice], **more}).encode() + b"\n\n"

    @property
    def _model(self) -> str:
        return {"other model": "other", "base model": MODEL}.get(self._lie, self._request.model)

    def _closing(self) -> bytes:
        if self._case.api == "responses":
            kind = "failed" if self._lie == "aborted" else "completed"
            text = "" if self._lie == "empty" else "".join(self._texts()[self._reasoning :])
            return _named("response.output_text.done", text=text) + _named(
                f"response.{kind}", response=self._response()
            )
        end = self._chunk({}, "abort" if self._lie == "aborted" else "stop")
        usage = {"model": self._model, "choices": [], "usage": self._usage}
        return end + b"data: " + json.dumps(usage).encode() + b"\n\ndata: [DONE]\n\n"

    def _response(self) -> dict[str, Any]:
        usage = self._usage
        counts = {"input_tokens": usage["prompt_tokens"], "output_tokens": usage["completion_tokens"]}
        details = {"output_tokens_details": usage["completion_tokens_details"]}
        text = "" if self._lie == "empty" else "".join(self._texts()[self._reasoning :])
        output = [{"type": "message", "content": [{"type": "output_text", "text": text}]}]
        status = "failed" if self._lie == "aborted" else "completed"
        return {
            "object": "response",
            "model": self._model,
            "status": status,
            "output": output,
            "usage": {**counts, "total_tokens": usage["total_tokens"], **details},
        }

    def _document(self) -> bytes:
        if self._lie == "error":
            return ERRORS[self._request.row % 8].partition(b"data: ")[2].strip()
        texts, early = self._texts(), self._lie == "early end"
        body: dict[str, Any]
        if self._case.api == "responses":
            body = self._response()
        elif self._case.api == "transcription":
            body = {"text": "".join(texts), "usage": {"type": "duration", "seconds": AUDIO_MS // 1000}}
        else:
            body = {
                "model": self._model,
                "usage": self._usage,
                "choices": [self._message("".join(texts[self._reasoning :]))],
            }
        data = json.dumps(body).encode()
        return data[: len(data) // 2] if early else data

    def _message(self, text: str) -> dict[str, Any]:
        message: dict[str, Any] = {"content": text}
        if self._case.api == "tools" and self._lie not in ("plain words", "no call", "empty"):
            message = {"content": None, "tool_calls": self._calls(text, 0)}
        finish = "abort" if self._lie == "aborted" else "stop"
        return {"index": 0, "message": message, "finish_reason": finish}


def _told(prompt: int, output: int, lie: str) -> tuple[int, int]:
    if lie == "usage low":
        return prompt // 2, output // 2
    return (prompt * 3, output * 3) if lie == "usage high" else (prompt, output)


def _spoilt(items: list[dict[str, Any]], lie: str, *, sort: bool) -> list[dict[str, Any]]:
    if sort and lie not in ("null", "words", "nan"):
        items = sorted(items, key=lambda item: item["relevance_score"], reverse=lie != "unsorted")
    if lie == "no index":
        return [{key: value for key, value in item.items() if key != "index"} for item in items]
    return {
        "missing": items[:-1],
        "surplus": [*items, {**items[0], "index": len(items)}],
        "doubled": [*items[:-1], items[0]],
        "out of order": items[::-1],
        "no item": [],
    }.get(lie, items)


def _http(at_ns: int, body: bytes, status: str = "200 OK") -> Packet:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return Packet(at_ns, head.encode() + body)


def _named(kind: str, **content: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **content})}\n\n".encode()


# the load, and what comes of it


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One draw. wrong: figure -> (measured, true)."""

    case: Case
    verdict: Verdict
    reasons: Sequence[Reason]
    wrong: Mapping[str, tuple[float | None, float | None]]
    errors: Sequence[str]

    def __str__(self) -> str:
        lines = [str(self.case), f"verdict: {self.verdict}", *(f"  {r.check}: {r.text}" for r in self.reasons)]
        lines += [f"  {name}: measured {measured}, true {true}" for name, (measured, true) in self.wrong.items()]
        return "\n".join([*lines, f"  errors: {list(self.errors[:3])}"])


def outcome_of(case: Case) -> Outcome:
    """Run a case inside ``virtual_time``, and compare its figures with the truth."""
    api, server = dataclasses.replace(APIS[case.api]), EndpointServer(case)
    shape = Poisson(qps=40.0)
    plan = _plan(case, api, shape)
    result = run_virtually(plan, server)
    records = checked(result.records, result.texts or (), api) if api.checks_texts() else result.records
    facts = {**result.facts, "offered_rps": shape.offered_rps(plan.send_times_s), "stationary": True}
    facts |= {"ignore_eos": api.fixed_length(plan.options), "client_cpu_fraction": 0.1, "client_wait_fraction": 0.0}
    facts |= {"media": "image", "equal_images": True} if case.api == "images" else {}
    window = Window.of(mark_phases(records, 0.0, 0.0), facts=Facts(facts))
    verdict, reasons = judge(window, ValidityLimits())
    has = {"requests", "latency", "tokens"} | api.capabilities() | ({"images"} if case.api == "images" else set())
    has |= {"generated"} if api.generates else set()
    has |= {"stream"} if plan.streamed else set()
    figures = {value.key: value.value for value in summarize(window, has)}
    wrong = _wrong(figures, _true_figures(case, server.truth, plan.streamed))
    if case.lie in ("unsorted", "one score", "twice") and any(answer.lie for answer in server.truth.values()):
        wrong[case.lie] = (None, None)  # no figure shows it
    return Outcome(case=case, verdict=verdict, reasons=reasons, wrong=wrong, errors=result.records.errors)


def _plan(case: Case, api: Api, shape: Poisson) -> LoadPlan:
    names = (MODEL, ADAPTER_NAME) if case.api == "adapters" else ()
    endpoint = Endpoint(base_url="http://127.0.0.1:1", api=api, model=MODEL, answer_model=MODEL, adapter_models=names)
    options = RequestOptions(stream=case.stream)
    requests = Requests(prompt_key=api.prompt_key)
    for row in range(case.count):
        texts = tuple(f"{row} text {number}" for number in range(TEXTS))
        media = (Media("audio", "audio/wav", b"RIFF%d\r" % row),) if case.api == "transcription" else ()
        if case.api == "images":
            media = (Media("image", "image/png", b"PNG"),)
        body = {"model": ADAPTER_NAME} if names and row % 2 else {}
        prompt = Prompt(
            texts[0], TOKENS, OUTPUT_TOKENS, texts=texts if case.api in ITEMS else (), media=media, body=body
        )
        labels = {"items": TEXTS} if case.api in ITEMS else {}
        labels |= {"images": 1} if case.api == "images" else {}
        labels |= {ADAPTER: row % 2} if names else {}
        labels |= {"audio_ms": AUDIO_MS} if case.api == "transcription" else {}
        labels |= {REQUEST: row} if api.checks_texts() else {}
        counts = [TOKENS] * (TEXTS + api.has_query if case.api in ITEMS else 1)
        tokens = api.asked_prompt_tokens(counts) if api.reads_text else 0
        asked = OUTPUT_TOKENS if api.limits_length() else 0
        requests.add(encode_request(endpoint, prompt, OUTPUT_TOKENS, options), tokens, asked, labels)
    send_times_s = shape.send_times_s(case.count, np.random.default_rng(case.seed))
    return LoadPlan(
        endpoint=endpoint,
        requests=requests,
        send_times_s=send_times_s,
        options=options,
        timeout_s=2.0,
        processes="1",
        keep_text=api.checks_texts(),
    )


def _true_figures(case: Case, truth: Mapping[int, Truth], streamed: bool) -> dict[str, float | None]:
    done = [answer for answer in truth.values() if answer.completed]
    figures: dict[str, float | None] = {"completed": float(len(done)), "failed": float(case.count - len(done))}
    if not done:
        return figures
    figures["mean_e2el_ms"] = _mean_ms(done, "end_ns")
    if case.api != "transcription" or streamed:
        figures["mean_input_tokens"] = float(np.mean([answer.prompt_tokens for answer in done]))
    if case.lie == "cut":  # it is not what was asked for
        figures["mean_input_tokens"] = 2 * (figures["mean_input_tokens"] or 0)
    if case.api in ITEMS:
        figures["mean_items"] = float(np.mean([answer.work for answer in done]))
    elif case.api != "transcription" or streamed:
        figures["mean_output_tokens"] = float(np.mean([answer.work for answer in done]))
    if case.api not in ITEMS and streamed:
        figures["mean_ttft_ms"] = _mean_ms(done, "first_ns")
        answered = [answer for answer in done if answer.answer_ns >= 0]
        if case.api in ("responses", "reasoning"):
            figures["mean_ttfat_ms"] = _mean_ms(answered, "answer_ns") if answered else None
            figures["mean_reasoning_tokens"] = REASONING_TOKENS if case.lie != "no answer" else OUTPUT_TOKENS
    for api, name in {**dict.fromkeys(STRUCTURED, "output"), "tools": "tool_call"}.items():
        if case.api == api:
            figures[f"valid_{name}_fraction"] = float(np.mean([answer.valid for answer in done]))
            if case.lie in COMPLETED and not all(answer.valid for answer in done):
                figures["as asked for"] = 1.0
    if case.api == "images":
        figures["mean_image_tokens"] = 20.0
    return figures


def _mean_ms(answers: Sequence[Truth], name: str) -> float:
    return float(np.mean([(getattr(answer, name) - answer.received_ns) / MS for answer in answers]))


def _wrong(
    figures: Mapping[str, float], truth: Mapping[str, float | None]
) -> dict[str, tuple[float | None, float | None]]:
    wrong: dict[str, tuple[float | None, float | None]] = {}
    for name, true in truth.items():
        measured = figures.get(name)
        if measured is None or true is None:
            agree = measured is None and true is None
        else:
            agree = abs(measured - true) <= 0.02 * abs(true) + (1.0 if name.endswith("_ms") else 1e-9)
        if not agree:
            wrong[name] = (measured, true)
    return wrong

"""What a simulated server does and which load it gets: one knob for each habit and fault, each with its own truth.

The defaults are a plain honest server. A fault makes a fraction of the answers wrong; ``FAULTS`` says what is true of
such an answer. Lies that no client can see are left out: a usage that is wrong in a way that the load allows (chunks of
several tokens, no length asked for), and a delay that all answers share.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from benchhydra.client.apis import Api
from benchhydra.client.apis.chat import Chat
from benchhydra.client.apis.completions import Completions

#: The APIs whose texts these servers answer with. ``endpoints.APIS`` are the others, and the other parts of chat.
TEXT_APIS: dict[str, Api] = {"completions": Completions(), "chat": Chat()}
#: Fault -> what is true of an answer that has it.
FAULTS = {
    "empty": "failed: no text",
    "blank": "no answer to measure: chunks without any text, and a usage that claims tokens",
    "aborted": "failed: some tokens, and a finish_reason that is no normal end",
    "other_model": "failed: another model has answered",
    "error_event": "failed: an error object after some tokens",
    "early_end": "failed: the stream ends in order after some tokens, without finish_reason and [DONE]",
    "reset": "failed: the connection breaks after some tokens",
    "http_error": "failed: status 429, 500 or 503",
    "no_answer": "failed: a page, nothing at all, gzip, or an empty object with status 200; a redirect; status 204",
    "wrong_kind": "failed: a document although a stream was asked for, or the other way round",
    "dropped": "failed: the connection breaks as soon as the request has arrived, as where keep-alive ends",
    "malformed": "failed: an event that is no JSON",
    "stalled": "failed: the answer stops coming",
    "early_space": "completed: a space is sent before the first token, to keep the connection alive",
    "no_usage": "completed: the tokens were generated, and nobody says how many",
    "usage_low": "completed: more tokens were generated than the usage says",
    "usage_high": "completed: fewer tokens were generated than the usage says",
    "total_differs": "completed: usage.total_tokens counts tokens that nobody got",
    "repeated_events": "completed: every event is sent twice",
    "repeated_answer": "completed: at its end the stream repeats all events at once",
    "repeated_message": "completed: the whole HTTP answer is sent again, with its end or later",
    "several_choices": "completed: three choices interleaved; TPOT and ITL are those of each choice",
    "gathered": "completed: a proxy passes events on in groups; the times are those of the generation",
    "one_piece": "completed: a proxy passes the whole answer on at its end",
    "too_many": "completed: more tokens than asked for",
    "too_few": "completed: fewer tokens than asked for",
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault, the fraction of the answers that have it, and its variant (an index into the server's list)."""

    name: str
    fraction: float = 1.0
    variant: int = 0


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """The knobs of a server."""

    # when tokens are generated
    prefill_ms: float = 30.0
    prefill_spread: float = 0.1  # uniform, as a fraction of the mean
    decode_ms: float = 5.0  # one step of generation
    decode_spread: float = 0.1
    step_tokens: int = 1  # speculative decoding: tokens of one step, sent in one chunk
    slots: int | None = None  # requests served at once; further ones wait
    network_ms: float = 0.05  # each way
    natural_end: float = 0.0  # without ignore_eos, answers have this much of their length less, at random
    eos: bool = False  # natural ends are a token of their own, without text, that usage counts
    # what events look like
    newline: str = "\n"
    bom: bool = False
    space: bool = True  # "data: " or "data:"
    comments: bool = False
    empty_data: bool = False
    pings: bool = False  # events of another type
    ids: bool = False  # fields id and retry
    message_events: bool = False  # the default type of events, named
    nulls: bool = False  # keys that are null: usage, error, logprobs
    split_data: bool = False  # the JSON over two data lines
    json_spaces: bool = False
    model_named: bool = True
    model_last: bool = False  # the key "model" after the choices
    role_first: bool = False
    empty_texts: bool = False  # events with an empty text among the others
    filter_first: bool = False  # a first event without choices
    text_as: str = "content"  # of a chat
    odd_texts: bool = False  # quotes, escapes, emoji, spaces
    finish_in_last: bool = False  # finish_reason in the last event with text
    finish_reason: str | None = "length"
    done: bool = True  # [DONE]
    usage_in: str = "own"  # own: an event without choices; last: with the finish_reason; every: in each event
    # how HTTP carries them
    framing: str = "chunked"  # chunked, length, close, http10
    head_early: bool = False
    early_hints: bool = False
    extensions: bool = False  # of chunks, and a trailer
    odd_headers: bool = False
    chunks_anywhere: bool = False  # HTTP chunks begin and end inside events
    cuts: bool = False  # packets begin and end anywhere
    closes: bool = False  # connection: close after each answer
    idle_close_s: float | None = None
    # faults
    faults: tuple[Fault, ...] = ()
    gather_events: int = 4
    gather_ms: float | None = None  # by time instead of by number
    seed: int = 1

    def fault(self, name: str) -> Fault | None:
        """Return the fault with this name, if the server has it."""
        return next((fault for fault in self.faults if fault.name == name), None)


@dataclass(frozen=True, kw_only=True)
class Load:
    """The knobs of a load."""

    shape: str = "constant"  # constant, poisson, burst, closed, at_once
    qps: float = 40.0
    count: int = 24
    in_flight: int = 4  # of a closed loop
    output_tokens: tuple[int, int] = (12, 12)  # uniform between
    api: str = "completions"
    stream: bool = True
    ignore_eos: bool = True
    timeout_s: float = 10.0
    seed: int = 1


@dataclass(frozen=True, kw_only=True)
class Case:
    """A server and a load, with the names of the features that were drawn; ``lies``: those that change a figure."""

    behaviour: Behaviour = Behaviour()
    load: Load = Load()
    features: tuple[str, ...] = ()

    @property
    def lies(self) -> tuple[str, ...]:
        overload = ("overload",) if "overload" in self.features else ()
        return tuple(fault.name for fault in self.behaviour.faults) + overload

    @property
    def utilization(self) -> float:
        """Offered work / capacity of the server; 0 if it serves all requests at once."""
        behaviour, load = self.behaviour, self.load
        if behaviour.slots is None or load.shape in ("closed", "at_once"):
            return 0.0
        mean_tokens = sum(load.output_tokens) / 2
        steps = max(0.0, mean_tokens / behaviour.step_tokens - 1)
        return load.qps * (behaviour.prefill_ms + behaviour.decode_ms * steps) / 1e3 / behaviour.slots

    def __str__(self) -> str:
        parts = []
        for knobs in (self.behaviour, self.load):
            changed = {
                field.name: getattr(knobs, field.name)
                for field in dataclasses.fields(knobs)
                if getattr(knobs, field.name) != field.default
            }
            values = ", ".join(f"{name}={value!r}" for name, value in changed.items())
            parts.append(f"{type(knobs).__name__}({values})")
        return f"Case(behaviour={parts[0]}, load={parts[1]})"

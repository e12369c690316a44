"""``engine=fake``: a built-in server with configurable times and errors, to test the whole path without a model."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from benchhydra.engines import Engine, ServerSpec
from benchhydra.engines.programs import interpreter_path
from benchhydra.engines.starts import StartCaches
from benchhydra.errors import ConfigError
from benchhydra.fakeserver.plan import FAULTS
from benchhydra.registry import knob, option
from benchhydra.target import WORD_TOKENIZER, Gpus, Model, Sparsity, Target, sparse_variant

WORKER = Path(__file__).resolve().parents[1] / "engine_side" / "fake_worker.py"
#: Fields that are flags of the server: ``ttft_ms`` is ``--ttft-ms``.
TIMES = (
    *("ttft_ms", "itl_ms", "ttft_sigma", "itl_sigma", "start_s"),
    *("prefill_us_per_token", "itl_per_request_ms", "cpu_us_per_chunk", "adapter_ms", "acceptance"),
)
COUNTS = (
    *("tokens_per_chunk", "max_concurrency", "crash_after_requests", "fake_seed"),
    *("kv_cache_tokens", "draft_tokens", "reasoning_tokens", "prefix_cache_blocks", "prefix_block_tokens"),
    "context_tokens",
)
FRACTIONS = tuple(f"{fault}_fraction" for fault in FAULTS)
SWITCHES = ("fail_start", "reset_fails", "ignore_disconnects", "priority_scheduling")
#: Fields that are on unless a flag switches them off: ``chunked_prefill=false`` is ``--no-chunked-prefill``.
FEATURES = ("chunked_prefill", "prefix_caching")


@option("engine", "fake")
class Fake(Engine):
    """A built-in OpenAI-compatible server with programmable times and errors."""

    python: str | None = knob(None, "Python interpreter, or a wrapper of one; null: the one that runs benchhydra")
    ttft_ms: float = knob(50.0, "time to first token", unit="ms")
    itl_ms: float = knob(10.0, "time between chunks", unit="ms")
    ttft_sigma: float = knob(0.0, "lognormal sigma of the time to first token; 0: constant")
    itl_sigma: float = knob(0.0, "lognormal sigma of the times between chunks; 0: constant")
    tokens_per_chunk: int = knob(1, "tokens in each chunk", unit="tokens")
    prefill_us_per_token: float = knob(
        0.0, "time that each prompt token adds to the time to first token, unless it is in the prefix cache", unit="us"
    )
    itl_per_request_ms: float = knob(
        0.0, "time that each other running request adds to the time between chunks", unit="ms"
    )
    cpu_us_per_chunk: float = knob(0.0, "CPU time that the server uses for each chunk, one after another", unit="us")
    max_concurrency: int | None = knob(None, "requests served at once; more wait in a queue", unit="requests")
    kv_cache_tokens: int | None = knob(
        None, "size of the KV cache: requests wait for room, and are preempted without it", unit="tokens"
    )
    prefix_caching: bool = knob(True, "prompt tokens that were computed before are found in a cache")
    prefix_cache_blocks: int | None = knob(
        None, "size of the prefix cache: the blocks used least recently are forgotten; null: 200,000", unit="blocks"
    )
    prefix_block_tokens: int = knob(16, "length of a block of the prefix cache", unit="tokens")
    chunked_prefill: bool = knob(True, "prefills run beside decoding; false: a prefill stops all decoding")
    draft_tokens: int = knob(0, "tokens drafted by speculative decoding in each step; 0: no speculation", unit="tokens")
    acceptance: float = knob(0.7, "chance that a drafted token is right if those before it are", unit="fraction")
    adapters: list[str] = knob([], "names of LoRA adapters that the server has: [sql,law]")
    adapter_ms: float = knob(0.0, "time that an adapter adds to the time to first token", unit="ms")
    priority_scheduling: bool = knob(False, "waiting requests are admitted by their priority, lower ones first")
    ignore_disconnects: bool = knob(False, "the engine goes on generating for clients that have closed the connection")
    start_s: float = knob(0.0, "time from start to ready", unit="s")
    fake_seed: int = knob(0, "random seed of faults and times")
    reset_fraction: float = knob(0.0, "fraction of requests whose connection is reset")
    timeout_fraction: float = knob(0.0, "fraction of requests that are never answered")
    http_4xx_fraction: float = knob(0.0, "fraction of requests answered 400")
    http_5xx_fraction: float = knob(0.0, "fraction of requests answered 500")
    malformed_fraction: float = knob(0.0, "fraction of answers with a broken event")
    error_event_fraction: float = knob(0.0, "fraction of answers with an error event")
    early_end_fraction: float = knob(0.0, "fraction of answers that end without [DONE], or in the middle of a body")
    short_fraction: float = knob(0.0, "fraction of answers with fewer tokens than requested")
    empty_fraction: float = knob(0.0, "fraction of answers without text")
    blank_fraction: float = knob(0.0, "fraction of answers of white space")
    abort_fraction: float = knob(0.0, "fraction of answers with the finish_reason abort")
    other_model_fraction: float = knob(0.0, "fraction of answers with another model's name")
    bare_error_fraction: float = knob(0.0, "fraction of answers with an error object of another form")
    no_done_fraction: float = knob(0.0, "fraction of streams that end without [DONE]")
    several_choices_fraction: float = knob(0.0, "fraction of answers with two choices")
    long_fraction: float = knob(0.0, "fraction of answers with twice as many tokens as requested")
    usage_low_fraction: float = knob(0.0, "fraction of answers whose usage says half of the tokens")
    repeat_fraction: float = knob(0.0, "fraction of streams that send text again after their end")
    wrong_fraction: float = knob(0.0, "fraction of wrong answers to sums (arithmetic) and to texts to copy (copying)")
    context_tokens: int | None = knob(
        None, "last tokens of a prompt that the engine answers to; null: all of it", unit="tokens"
    )
    broken_items_fraction: float = knob(0.0, "fraction of answers with an embedding or score that is missing or wrong")
    invalid_output_fraction: float = knob(0.0, "fraction of answers that ignore a schema, a choice, or tools")
    reasoning_tokens: int = knob(0, "tokens of reasoning before each answer, part of its output tokens", unit="tokens")
    crash_after_requests: int | None = knob(None, "the server crashes at this request, counted from 1", unit="requests")
    fail_start: bool = knob(False, "the server prints an error and exits at once")
    reset_fails: bool = knob(False, "cache resets answer success: false")

    def __post_init__(self) -> None:
        fractions = [getattr(self, name) for name in FRACTIONS]
        if min(fractions) < 0 or sum(fractions) > 1:
            raise ConfigError(f"engine=fake: {', '.join(FRACTIONS)} must be at least 0 and sum to at most 1")
        for name in TIMES:
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"engine.{name}={getattr(self, name)} must be at least 0")
        if min(self.draft_tokens, self.reasoning_tokens) < 0 or self.acceptance > 1:
            raise ConfigError(
                "engine=fake: draft_tokens and reasoning_tokens must be at least 0, and acceptance at most 1"
            )
        counts = ("tokens_per_chunk", "max_concurrency", "crash_after_requests", "kv_cache_tokens")
        for name in (*counts, "prefix_cache_blocks", "prefix_block_tokens", "context_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"engine.{name}={value} must be at least 1")

    def target(self, model: Model, sparsity: Sparsity, gpus: Gpus) -> Target:
        """Return any model by its name: no files, no GPU, one token per word."""
        name = sparse_variant(model, sparsity)
        return Target(
            model=name,
            tokenizer=WORD_TOKENIZER,
            max_model_len=model.max_model_len,
            sparsity=sparsity.name,
            served_name=name,
            warnings=("the fake engine ignores engine.args; they only make it start another server",)
            if self.args
            else (),
        )

    def server(self, target: Target) -> ServerSpec:
        """Return the spec of the fake server."""
        argv = [self.interpreter(), "-P", "-m", "benchhydra.fakeserver", "--model", target.served_name, *self._flags()]
        argv += [word for name in self.adapters for word in ("--adapter", name)]
        for key, value in sorted(self.args.items()):
            argv += ["--engine-arg", f"{key}={value}"]
        return ServerSpec(kind="http", argv=tuple(argv), env=tuple(sorted(self.env.items())))

    def offline(self, target: Target, *, first_token_times: bool = False) -> ServerSpec:
        """Return the spec of a worker that sleeps for as long as generating would take."""
        argv = (self.interpreter(), str(WORKER), "--ttft-ms", str(self.ttft_ms), "--itl-ms", str(self.itl_ms))
        return ServerSpec(kind="worker", argv=argv, env=tuple(sorted(self.env.items())))

    def interpreter(self) -> str:
        """Return the absolute path of the interpreter. Raises ConfigError if it does not exist."""
        return interpreter_path(self.python)

    def weights(self, target: Target) -> str | None:
        """Return None: there are no weights."""
        return None

    def version(self, base_url: str) -> str | None:
        """Return ``fake-`` and benchhydra's version."""
        from importlib.metadata import version

        return f"fake-{version('benchhydra')}"

    def start_caches(self, target: Target) -> StartCaches:
        """Return no caches: every start takes as long as the first."""
        return StartCaches()

    def _flags(self) -> list[str]:
        flags: list[str] = []
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name in (*TIMES, *COUNTS, *FRACTIONS):
            value = getattr(self, name)
            if value != defaults[name] or name in ("ttft_ms", "itl_ms"):
                flags += [f"--{name.replace('_', '-')}", str(value)]
        switched = [name for name in SWITCHES if getattr(self, name)]
        switched += [f"no_{name}" for name in FEATURES if not getattr(self, name)]
        return flags + [f"--{name.replace('_', '-')}" for name in switched]

"""Builds the requests of a load and of its warm-up: from a dataset's prompts or sessions to encoded requests."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import RequestOptions
from benchhydra.client.request_encoding import encode_request
from benchhydra.client.request_store import RequestStore
from benchhydra.datasets import Prompt
from benchhydra.datasets.conversations import conversations_of
from benchhydra.datasets.request_mix import mix_of, mixed
from benchhydra.datasets.warmup_prompts import warmup_prompts
from benchhydra.measure import Point
from benchhydra.measure.answer_checks import REQUEST
from benchhydra.measure.prompt_lengths import PromptLengths
from benchhydra.measure.replicas import REPLICA, dealt_replica, dealt_replicas
from benchhydra.measure.session_requests import SessionLengths, SessionRequests
from benchhydra.measure.several_texts import joined_prompts, prompts_per_request, text_lengths

REMEMBERED_LENGTHS = 65536  # of texts, for the warm-up


class BuilderOptions(Protocol):
    """The script's options that requests depend on."""

    ignore_eos: bool
    keep_text: bool

    def asked_tokens(self, output_tokens: int) -> int: ...
    def request_options(self) -> RequestOptions: ...


@dataclass(frozen=True)
class BuiltRequests:
    """Encoded requests. prompts: only with ``keep_text``; recorded_s: send times of a recording, else empty."""

    requests: Requests
    prompts: Sequence[Prompt]
    recorded_s: Sequence[float]


class RequestBuilder:
    """Builds the requests of one point to one endpoint. Deterministic, but for ``dataset.cache_salt``."""

    def __init__(self, options: BuilderOptions, point: Point, lengths: PromptLengths, endpoint: Endpoint) -> None:
        self._options, self._point, self._lengths, self._endpoint = options, point, lengths, endpoint
        self._replicas = len(endpoint.replica_urls)
        self.request_options = options.request_options()
        self.mixes = mix_of(point.dataset.adapters, point.dataset.priorities)
        self._text_lengths: list[int] = []  # tokens of each text, if a request has several; for the warm-up

    def build(self, count: int) -> BuiltRequests:
        """Return ``count`` requests of independent prompts. Raises ConfigError or DatasetError."""
        point = self._point
        requests, prompts, recorded_s = self._no_requests(), list[Prompt](), list[float]()
        size, rng = prompts_per_request(point.dataset, point.api), point.rng("prompts")
        needed, longest = count // point.load.loops * size, point.target.max_model_len
        loops = (self._lengths.sample(point.dataset, needed, rng, longest) for _ in range(point.load.loops))
        sampled = self._recording_lengths(itertools.chain.from_iterable(loops))
        for prompt in self._with_expectation(self._requests_of(sampled, size, "media")):
            self._add(requests, prompt)
            if self._options.keep_text:
                prompts.append(prompt)
            if prompt.send_at_s is not None:
                recorded_s.append(prompt.send_at_s)
        return BuiltRequests(requests, prompts, recorded_s)

    def build_sessions(self, count: int) -> tuple[SessionRequests, Sequence[Prompt]]:
        """Return the requests of ``count`` sessions, and with ``keep_text`` their prompts. Raises DatasetError."""
        point, dataset, options = self._point, conversations_of(self._point.dataset), self._options
        lengths = SessionLengths.of(self._lengths.tokenizer, point.api, dataset, ignore_eos=options.ignore_eos)
        requests = SessionRequests(
            self._endpoint, self.request_options, lengths.tokenizer.chat, real_history=dataset.real_history
        )
        longest, expect = point.target.max_model_len, dataset.expect or ""
        sessions = lengths.sessions(dataset, count, point.rng("prompts"), longest, self.mixes)
        prompts = [prompt for session in sessions for prompt in requests.add(session, self._asked_tokens, expect)]
        if self._replicas:
            requests.labels[REPLICA] = dealt_replicas(requests.labels, len(requests), self._replicas, point.engine.deal)
        return requests, prompts if options.keep_text else ()

    def build_warmup(self, load: RequestStore, count: int) -> Requests:
        """Return ``count`` requests of other prompts with the lengths of a load's."""
        requests, texts = self._no_requests(), self._warmup_texts(load, count)
        for prompt in self._requests_of(texts, self._point.api.texts_per_request(), "warmup media"):
            self._add(requests, prompt)
        return requests

    def kind(self) -> str:
        """Return what distinguishes warm-ups apart from the number and length of prompts: path, options and body."""
        api, options = self._endpoint.api, self.request_options
        shared = api.shared_body(self._endpoint.model, options)
        return json.dumps([api.path, options.stream, shared, options.body], sort_keys=True, default=str)

    def _requests_of(self, texts: Iterable[Prompt], size: int, stream: str) -> Iterable[Prompt]:
        """Return a prompt for each request, with what it carries besides text.

        size: prompts of the dataset in a request; stream: of random numbers.
        """
        prompts = self._point.dataset.with_media(joined_prompts(texts, self._point.api, size), self._point.rng(stream))
        return mixed(prompts, self.mixes, self._point.rng(f"{stream} mix"))

    def _with_expectation(self, prompts: Iterable[Prompt]) -> Iterable[Prompt]:
        """Return the prompts with the answer that the config expects, where the data has none."""
        expect = self._point.dataset.expect
        if expect is None:
            return prompts
        return (prompt if prompt.expect else dataclasses.replace(prompt, expect=expect) for prompt in prompts)

    def _recording_lengths(self, prompts: Iterable[Prompt]) -> Iterator[Prompt]:
        """Yield prompts of the dataset, and remember the lengths of the first ones if a request has several."""
        several = self._point.api.texts_per_request() > 1
        for prompt in prompts:
            if (several or prompt.text_tokens) and len(self._text_lengths) < REMEMBERED_LENGTHS:
                self._text_lengths += text_lengths(prompt)
            yield prompt

    def _warmup_texts(self, load: RequestStore, count: int) -> Iterable[Prompt]:
        """Return the texts of ``count`` warm-up requests."""
        prompt_tokens: Sequence[int] = load.prompt_tokens
        output_tokens: Sequence[int] = load.output_tokens
        if self._text_lengths:
            prompt_tokens, output_tokens = self._text_lengths, [1] * len(self._text_lengths)
        texts, rng = count * self._point.api.texts_per_request(), self._point.rng("warmup")
        return warmup_prompts(texts, prompt_tokens, output_tokens, self._lengths.templated, rng)

    def _no_requests(self) -> Requests:
        return Requests(prompt_key=self._endpoint.api.prompt_key)

    def _add(self, requests: Requests, prompt: Prompt) -> None:
        """Encode a prompt, and append it."""
        labels, endpoint = prompt.labels, self._endpoint
        if self._replicas:
            replica = dealt_replica(len(requests), labels, self._replicas, self._point.engine.deal)
            labels, endpoint = {**labels, REPLICA: replica}, endpoint.replica(replica)
        request = encode_request(endpoint, prompt, prompt.output_tokens, self.request_options)
        output_tokens = self._asked_tokens(prompt.output_tokens)
        is_checked = endpoint.api.checks_texts() or bool(prompt.expect)
        labels = {**labels, REQUEST: len(requests)} if is_checked else labels
        prompt_tokens = prompt.prompt_tokens if endpoint.api.reads_text else 0
        requests.add(request, prompt_tokens, output_tokens, labels, prompt.expect)

    def _asked_tokens(self, output_tokens: int) -> int:
        return self._options.asked_tokens(output_tokens) if self._endpoint.api.limits_length() else 0

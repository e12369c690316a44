"""A load over HTTP: prepare it, warm the server up, start the probes, send it, stop the probes, cut the window.

``HttpLoad(options, point, lease).measure()`` runs all steps, and may be called more than once. A script with other
steps calls ``prepare``, ``warm_up`` and ``send`` itself.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchhydra import calibration, environment, interruption, window
from benchhydra.artifacts import SERVER_LOG_FILE
from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import RequestOptions
from benchhydra.client.model_names import ANY
from benchhydra.client.request_encoding import encode_request
from benchhydra.client.request_store import RequestStore
from benchhydra.datasets import Prompt
from benchhydra.datasets.conversations import conversations_of
from benchhydra.datasets.request_mix import adapter_models, mix_of, mixed
from benchhydra.datasets.tokenization import load_tokenizer
from benchhydra.datasets.warmup_prompts import warmup_prompts
from benchhydra.errors import ConfigError, EngineError
from benchhydra.facts import fact
from benchhydra.loadgen import LoadPlan, client_facts, run_load
from benchhydra.loadgen.client_behaviour import TRIES, ClientBehaviour, Retries
from benchhydra.loadgen.client_limits import check_connections
from benchhydra.loadgen.early_stop import EarlyStop
from benchhydra.loadgen.pacing import Pacing, Seconds
from benchhydra.loadgen.ray import cluster
from benchhydra.loads import LoadShape
from benchhydra.loads.sessions import SessionLoad
from benchhydra.measure import Measurement, Point
from benchhydra.measure.answer_checks import REQUEST, checked, output_check, unchecked_warning, with_outcomes
from benchhydra.measure.failure_hints import failure_hint
from benchhydra.measure.media import check_media
from benchhydra.measure.prompt_lengths import PromptLengths
from benchhydra.measure.replicas import REPLICA, dealt_replica, dealt_replicas, replica_groups
from benchhydra.measure.session_requests import SessionLengths, SessionRequests
from benchhydra.measure.several_texts import joined_prompts
from benchhydra.measure.texts import write_texts
from benchhydra.measure.warmup import WarmupHistory, check_warmup, warmup_count
from benchhydra.output_check import CORRECT
from benchhydra.probes.watch import Watch, target_of
from benchhydra.progress import Progress
from benchhydra.records import ADAPTER, Records
from benchhydra.registry import knob, option_name
from benchhydra.servers import Lease

REMEMBERED_LENGTHS = 65536  # of texts, for the warm-up
fact("asked_rps", unit="requests/s", doc="mean rate that the config asks for; none for closed loops and recordings")
fact("offered_rps", unit="requests/s", doc="rate of the schedule; none for closed loops and loads sent all at once")
fact("stationary", unit="bool", doc="the load has a schedule of constant rate")
fact("media", unit="", doc="kind of media that prompts carry: image or audio; none for text alone", in_metadata=True)
fact("equal_images", unit="bool", doc="all images in prompts have the same size")
fact("max_in_flight", unit="requests", doc="maximum number of requests in flight that the load allows")
fact("prefix_cache_intended", unit="bool", doc="prompts share prefixes on purpose")
fact("planned_sessions", unit="sessions", doc="sessions of the load", in_metadata=True)
fact("planned_turns", unit="requests", doc="turns of all sessions of the load", in_metadata=True)
fact("offered_sessions_per_s", unit="sessions/s", doc="rate at which sessions start; none if all start at once")
fact("calibrated_rps", unit="requests/s", doc="highest rate at which this client's TTFT error stayed under 1 ms")


@dataclass(kw_only=True)
class HttpLoadOptions:
    """Options of scripts that send a load over HTTP. Such a script inherits from this and from ``Script``."""

    uses_api: ClassVar[bool] = True

    stream: bool = knob(True, "stream the answers; otherwise TTFT, TPOT and ITL are not measured")
    ignore_eos: bool = knob(True, "make the server generate exactly the requested number of tokens")
    temperature: float = knob(0.0, "sampling temperature")
    request_timeout_s: float = knob(600.0, "a request that takes longer has failed", unit="s")
    warmup_requests: int | None = knob(
        None,
        "warm-up requests with other prompts, sent at once before the load; null: load.max_in_flight, at least 8 "
        "(0 if the server has already had as many of the same kind and length)",
        unit="requests",
    )
    body: dict[str, Any] = knob({}, "further fields of each request's JSON body; null leaves out one of ours")
    keep_text: bool = knob(False, "write prompts and generated texts to texts.jsonl")
    retries: int = knob(0, "how often a failed request is sent again, as OpenAI's client does; latencies include it")
    retry_backoff_s: float = knob(0.5, "wait before the first retry; it doubles with each, up to 8 s", unit="s")
    answer_model: str | None = knob(
        None, "model name that answers must have; null: the one that was asked for; any: do not check"
    )

    def check(self, point: Point) -> None:
        """Raise ConfigError if the point cannot be run."""
        check_warmup(self.warmup_requests)
        check_retries(self.retries, self.retry_backoff_s)
        count = planned_requests(point)
        if isinstance(point.load, SessionLoad):
            check_sessions(point, count)
        else:
            point.dataset.check(count // point.load.loops * point.api.texts_per_request())
        check_media(point.dataset, point.api)
        mixes = mix_of(point.dataset.adapters, point.dataset.priorities)
        if isinstance(point.load, SessionLoad) and (mixes or point.dataset.expect):
            raise ConfigError("load=sessions has neither adapters nor priorities nor an output check")
        if point.load.cancel_after_chunks is not None and not (self.stream and point.api.streams):
            raise ConfigError("load.cancel_after_chunks needs streamed answers", hint="load.cancel_after_s=2")
        self.load_s(point)
        if point.load.warmup_s + point.load.cooldown_s and point.load.open_loop and count < 2:
            raise ConfigError("load.warmup_s and cooldown_s leave nothing to measure", hint="a larger num_prompts")
        if point.load.executor == "ray":
            cluster.require_ray("load.executor=ray")
        else:
            self._check_connections(point.load, count)

    def _check_connections(self, load: LoadShape, count: int) -> None:
        """Raise ConfigError if the load or its warm-up certainly needs more connections than this machine can open."""
        together = load.at_once(count)
        cause = f"load.max_in_flight={load.max_in_flight}" if load.max_in_flight else f"a load of {together:,} requests"
        processes = max(1, len(os.sched_getaffinity(0)) - 1) if load.processes == "auto" else int(load.processes)
        check_connections(together, processes, cause)
        warmup = warmup_count(self.warmup_requests, count, load.max_in_flight)
        check_connections(warmup, 1, f"a warm-up of script.warmup_requests={warmup}")

    def load_s(self, point: Point) -> float | None:
        """Return about how long sending takes, in seconds; None if that is not known before.

        Raises DatasetError if the load replays send times that the dataset does not have.
        """
        count = planned_requests(point)
        if isinstance(point.load, SessionLoad):
            starts_s = point.load.length_s(count)
            return None if starts_s is None else starts_s + conversations_of(point.dataset).mean_think_s()
        recorded_s = point.dataset.recorded_s(count // point.load.loops) if point.load.replays else None
        return point.load.length_s(count, None if recorded_s is None else np.asarray(recorded_s))

    def load_label(self, point: Point) -> str:
        """The load in a few words: ``qps=5``."""
        return load_label(point.load)

    def expected_model(self, model: str) -> str:
        """Return the model's name that answers must have, if requests ask for ``model``; "" for any."""
        asked = self.answer_model or str(self.body.get("model", model) or "")
        return "" if asked == ANY else asked

    def asked_tokens(self, output_tokens: int) -> int:
        """Return the number of output tokens that a request asks for: ``output_tokens`` unless ``body`` has another."""
        limits = (self.body.get(key) for key in ("max_tokens", "max_completion_tokens"))
        return next((limit for limit in limits if type(limit) is int and limit > 0), output_tokens)

    def request_options(self) -> RequestOptions:
        """Return the options that all requests of the load share."""
        return RequestOptions(
            stream=self.stream, ignore_eos=self.ignore_eos, temperature=self.temperature, body=self.body
        )


def check_retries(retries: int, backoff_s: float) -> None:
    """Raise ConfigError if ``script.retries`` or ``script.retry_backoff_s`` is impossible."""
    if retries < 0:
        raise ConfigError(f"script.retries={retries} must be at least 0")
    if not 0 <= backoff_s < math.inf:
        raise ConfigError(f"script.retry_backoff_s={backoff_s:g} must be at least 0 and finite")


def planned_requests(point: Point) -> int:
    """Return how many requests (of ``load=sessions``: sessions) a point sends; by default, all of a recording."""
    recorded = point.dataset.recorded_count() if point.load.replays and point.num_prompts is None else None
    return point.load.count(point.num_prompts if recorded is None else recorded)


def check_sessions(point: Point, count: int) -> None:
    """Raise ConfigError or DatasetError if a point cannot send ``count`` sessions."""
    if not point.api.generates:
        raise ConfigError(f"load=sessions: answers of api={option_name(point.api)} are no text", hint="api=chat")
    conversations_of(point.dataset).check_sessions(count)


def load_label(load: LoadShape) -> str:
    """Return a short label of a load: ``qps=5``, ``concurrency=8``, or the option's name if it has no single rate."""
    if not math.isinf(load.qps):
        return f"qps={load.qps:g}"
    if not load.stationary:
        return option_name(load)
    return "qps=inf" if load.max_in_flight is None else f"concurrency={load.max_in_flight}"


@dataclass(frozen=True, kw_only=True)
class PreparedLoad:
    """A load that is ready to be sent once. prompts: only with ``keep_text``; offered_rps: None without a schedule.

    facts: about the load, beside those of every load; groups: as those of ``Measurement``.
    """

    plan: LoadPlan
    prompts: Sequence[Prompt]
    offered_rps: float | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    groups: dict[str, Sequence[str]] = field(default_factory=dict)


class HttpLoad:
    """A load on one point's server. The constructor raises EngineError if there is no server."""

    def __init__(self, options: HttpLoadOptions, point: Point, lease: Lease | None) -> None:
        if lease is None:
            raise EngineError("a load over HTTP needs a server", hint="Script.spec returns engine.server(target)")
        self._options = options
        self._point = point
        self._lease = lease
        self._lengths = PromptLengths.of(load_tokenizer(point.target), point.api, point.dataset)
        self._request_options = options.request_options()
        self._warmup_requests = 0
        self._mixes = mix_of(point.dataset.adapters, point.dataset.priorities)
        self._text_lengths: list[int] = []  # tokens of each text, if a request has several; for the warm-up
        self._replica_urls = () if lease.routed else lease.replica_urls
        model = self._model_name(lease)
        expected_model = options.expected_model(model)
        self.endpoint = Endpoint(
            base_url=lease.base_url,
            api=point.api,
            api_path=lease.api_path,
            model=model,
            answer_model=expected_model,
            adapter_models=adapter_models(point.dataset.adapters, expected_model),
            headers=point.engine.request_headers(),
            verify_tls=lease.verify_tls,
            ca_file=lease.ca_file,
            replica_urls=self._replica_urls,
            keep_alive=point.engine.reuses_connections(),
        )

    def _model_name(self, lease: Lease) -> str:
        """Return the model's name in requests. Raises EngineError if the servers do not all have it."""
        urls = lease.replica_urls or (lease.base_url,)
        names = {self._point.engine.model_name(self._point.target, url) for url in urls}
        if len(names) > 1:
            raise EngineError(
                f"the servers serve different models: {', '.join(sorted(names))}", hint="engine.served_model=NAME"
            )
        return names.pop()

    def measure(self) -> Measurement:
        """Prepare the load, warm the server up, send the load. Raises EngineError."""
        with self.watch() as watch:  # first, so that the probes' helper process starts in parallel
            prepared = self.prepare()
            self.warm_up(prepared)
            return self.send(prepared, watch)

    def prepare(self) -> PreparedLoad:
        """Return the load: request bytes and send times. Deterministic, but for ``dataset.cache_salt``.

        Raises ConfigError or DatasetError.
        """
        point = self._point
        count = planned_requests(point)
        if isinstance(point.load, SessionLoad):
            return self._prepare_sessions(point.load, count)
        point.progress.status(f"preparing {count} prompts")
        requests = self._no_requests()
        prompts: list[Prompt] = []
        recorded_s: list[float] = []
        max_model_len = point.target.max_model_len
        texts, rng = count // point.load.loops * point.api.texts_per_request(), point.rng("prompts")
        loops = (self._lengths.sample(point.dataset, texts, rng, max_model_len) for _ in range(point.load.loops))
        sampled = itertools.chain.from_iterable(loops)
        for prompt in self._with_expectation(self._requests_of(self._recording_lengths(sampled), "media")):
            self._add(requests, prompt)
            if self._options.keep_text:
                prompts.append(prompt)
            if prompt.send_at_s is not None:
                recorded_s.append(prompt.send_at_s)
        recorded = np.array(recorded_s) if len(recorded_s) == len(requests) else None
        send_times_s = point.load.send_times_s(len(requests), point.rng("arrivals"), recorded)
        plan = self._plan(requests, send_times_s)
        return PreparedLoad(plan=plan, prompts=prompts, offered_rps=point.load.offered_rps(send_times_s))

    def _prepare_sessions(self, load: SessionLoad, count: int) -> PreparedLoad:
        """Return a load of ``count`` sessions, whose requests are encoded when they are sent."""
        point, dataset = self._point, conversations_of(self._point.dataset)
        point.progress.status(f"preparing {count} sessions")
        lengths = SessionLengths.of(self._lengths.tokenizer, point.api, dataset, ignore_eos=self._options.ignore_eos)
        requests = SessionRequests(
            self.endpoint, self._request_options, lengths.tokenizer.chat, real_history=dataset.real_history
        )
        max_model_len = point.target.max_model_len
        sessions = lengths.sessions(dataset, count, point.rng("prompts"), max_model_len)
        prompts = [prompt for session in sessions for prompt in requests.add(session, self._asked_tokens)]
        if self._replica_urls:
            replicas, deal = len(self._replica_urls), point.engine.deal
            requests.labels[REPLICA] = dealt_replicas(requests.labels, len(requests), replicas, deal)
        turns = requests.turns()
        starts_s = load.send_times_s(count, point.rng("arrivals"))
        send_times_s = starts_s[turns.session]
        return PreparedLoad(
            plan=self._plan(requests, send_times_s, load.pacing(send_times_s, turns)),
            prompts=prompts if self._options.keep_text else (),
            offered_rps=None,
            facts={
                "planned_sessions": count,
                "planned_turns": len(turns),
                "offered_sessions_per_s": load.sessions_per_s(starts_s),
            },
            groups=requests.turn_groups(),
        )

    def warm_up(self, prepared: PreparedLoad) -> None:
        """Send other prompts of the load's lengths, all at once, unless the server has already had such a warm-up.

        Raises EngineError if all of them fail.
        """
        plan, configured = prepared.plan, self._options.warmup_requests
        count = warmup_count(configured, len(plan.requests), plan.max_in_flight) * max(1, len(self._lease.replica_urls))
        longest = max(plan.requests.prompt_tokens[:count], default=0)
        history, kind = WarmupHistory(by_kind=self._lease.warmed), self._request_kind()
        if not count or (configured is None and history.covers(kind, count, longest)):
            return
        self._point.progress.status(f"warming up with {count} requests")
        requests = self._no_requests()
        for prompt in self._requests_of(self._warmup_texts(plan, count), "warmup media"):
            self._add(requests, prompt)
        self._send_warmup(plan, requests)
        history.add(kind, count, longest)
        self._warmup_requests += count

    def send(self, prepared: PreparedLoad, watch: Watch | None = None) -> Measurement:
        """Send a prepared load, wait for all answers, and return the measurement. watch: by default, a new one."""
        point, load = self._point, self._point.load
        with watch or self.watch() as probes:
            probes.begin()
            result = run_load(prepared.plan, point.progress)
            observed = probes.end(client_processes=result.facts[client_facts.PROCESSES])
        texts, expected = result.texts or (), prepared.plan.requests.expected
        outcomes = output_check(texts, expected)
        if self._options.keep_text:
            write_texts(point.out_dir, prepared.prompts, texts, outcomes)
        records = window.mark_phases(result.records, load.warmup_s, load.cooldown_s, load.steady)
        if point.api.checks_texts():
            records = checked(records, texts, point.api)
        records = with_outcomes(records, outcomes)
        return Measurement(
            records=records,
            facts={**self._load_facts(prepared), **result.facts, **observed.facts},
            has=self._capabilities(records),
            groups={mix.label: mix.names for mix in self._mixes}
            | replica_groups(self._replica_urls, self._lease)
            | prepared.groups,
            series=(*result.series, *observed.series),
            metadata=self._metadata(records, len(prepared.plan.requests)),
            warnings=(
                *observed.warnings,
                *self._lengths.warnings(),
                *point.dataset.warnings(),
                *unchecked_warning(records, expected),
            ),
        )

    def watch(self) -> Watch:
        """Start the probes without waiting for them. Call it before ``prepare``, so that both run in parallel."""
        return Watch.start(target_of(self._lease, self.endpoint.headers), self._point.probes)

    def _requests_of(self, texts: Iterable[Prompt], stream: str) -> Iterable[Prompt]:
        """Return a prompt for each request, with what it carries besides text. stream: of random numbers."""
        prompts = self._point.dataset.with_media(joined_prompts(texts, self._point.api), self._point.rng(stream))
        return mixed(prompts, self._mixes, self._point.rng(f"{stream} mix"))

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
            if several and len(self._text_lengths) < REMEMBERED_LENGTHS:
                self._text_lengths.append(prompt.prompt_tokens)
            yield prompt

    def _warmup_texts(self, plan: LoadPlan, count: int) -> Iterable[Prompt]:
        """Return the texts of ``count`` warm-up requests."""
        prompt_tokens: Sequence[int] = plan.requests.prompt_tokens
        output_tokens: Sequence[int] = plan.requests.output_tokens
        if self._text_lengths:
            prompt_tokens, output_tokens = self._text_lengths, [1] * len(self._text_lengths)
        texts, rng = count * self._point.api.texts_per_request(), self._point.rng("warmup")
        return warmup_prompts(texts, prompt_tokens, output_tokens, self._lengths.templated, rng)

    def _no_requests(self) -> Requests:
        return Requests(prompt_key=self.endpoint.api.prompt_key)

    def _add(self, requests: Requests, prompt: Prompt) -> None:
        labels = prompt.labels
        endpoint = self.endpoint
        if self._replica_urls:
            replica = dealt_replica(len(requests), labels, len(self._replica_urls), self._point.engine.deal)
            labels, endpoint = {**labels, REPLICA: replica}, endpoint.replica(replica)
        request = encode_request(endpoint, prompt, prompt.output_tokens, self._request_options)
        output_tokens = self._asked_tokens(prompt.output_tokens)
        is_checked = self.endpoint.api.checks_texts() or bool(prompt.expect)
        labels = {**labels, REQUEST: len(requests)} if is_checked else labels
        prompt_tokens = prompt.prompt_tokens if self.endpoint.api.reads_text else 0
        requests.add(request, prompt_tokens, output_tokens, labels, prompt.expect)

    def _asked_tokens(self, output_tokens: int) -> int:
        return self._options.asked_tokens(output_tokens) if self.endpoint.api.limits_length() else 0

    def _plan(self, requests: RequestStore, send_times_s: Seconds, pacing: Pacing | None = None) -> LoadPlan:
        load, options = self._point.load, self._options
        return LoadPlan(
            endpoint=self.endpoint,
            requests=requests,
            send_times_s=send_times_s,
            pacing=pacing or load.pacing(send_times_s),
            max_in_flight=load.max_in_flight,
            timeout_s=options.request_timeout_s,
            options=self._request_options,
            processes=load.processes,
            executor=load.executor,
            keep_text=options.keep_text or self.endpoint.api.checks_texts() or bool(requests.expected),
            early_stop=self._early_stop(),
            behaviour=ClientBehaviour(
                cancellations=load.cancellations(len(requests), self._point.rng("cancellations")),
                retries=Retries(count=options.retries, backoff_s=options.retry_backoff_s) if options.retries else None,
            ),
        )

    def _early_stop(self) -> EarlyStop | None:
        """Return what ends the load as soon as it is sure whether slo is met; None if that is not asked for."""
        point, load = self._point, self._point.load
        if not load.stop_when_decided or not point.limits:
            return None
        has_rate = load.open_loop and load.stationary and not math.isinf(load.qps)
        return EarlyStop(request_limits=point.slo, limits=point.limits, has_rate=has_rate, warmup_s=load.warmup_s)

    def _request_kind(self) -> str:
        """Return what distinguishes warm-ups apart from the number and length of prompts: path, options and body."""
        api, options = self.endpoint.api, self._request_options
        shared = api.shared_body(self.endpoint.model, options)
        return json.dumps([api.path, options.stream, shared, options.body], sort_keys=True, default=str)

    def _send_warmup(self, plan: LoadPlan, requests: Requests) -> None:
        warmup = dataclasses.replace(
            plan,
            requests=requests,
            send_times_s=np.zeros(len(requests)),
            pacing=None,
            processes="1",
            executor="local",
            keep_text=False,
            behaviour=ClientBehaviour(),
            early_stop=None,
        )
        result = run_load(warmup, Progress())
        if result.facts[client_facts.INTERRUPTED]:
            raise interruption.interrupt_exception()  # the load generator caught the signal; nothing is measured yet
        if not result.records.completed.any():
            error = result.records.errors[0] if result.records.errors else "no answer"
            hint = failure_hint(error, self._log_file())
            raise EngineError(f"all {len(requests)} warm-up requests failed: {error}", hint=hint)

    def _log_file(self) -> Path | None:
        """Return the file that will hold this point's part of the server's log; None for an attached server."""
        return self._point.out_dir / SERVER_LOG_FILE if self._lease.log is not None else None

    def _load_facts(self, prepared: PreparedLoad) -> dict[str, Any]:
        load = self._point.load
        return {
            "asked_rps": load.asked_rps(),
            "offered_rps": prepared.offered_rps,
            **prepared.facts,
            "stationary": load.open_loop and load.stationary and prepared.offered_rps is not None,
            "max_in_flight": load.max_in_flight,
            "ignore_eos": self.endpoint.api.fixed_length(self._request_options),
            "prefix_cache_intended": self._point.dataset.prefix_cache_intended,
            "media": self._point.dataset.media,
            "equal_images": self._point.dataset.has_equal_images(),
            **self._lengths.facts(self._point.dataset),
            "calibrated_rps": calibration.load_calibration(environment.this_machine_class()),
            "warmup_requests": self._warmup_requests,
        }

    def _capabilities(self, records: Records) -> frozenset[str]:
        api, load = self.endpoint.api, self._point.load
        has = {"requests", "latency", "tokens"}
        has |= {"output_check"} if CORRECT in records.labels else set()
        has |= {"retries"} if TRIES in records.labels else set()
        has |= {"cancellations"} if load.cancel_fraction else set()
        has |= {"adapters"} if ADAPTER in records.labels else set()
        has |= {"schedule"} if load.open_loop or load.has_schedule else set()
        has |= {"sessions"} if isinstance(load, SessionLoad) else set()
        has |= {"generated"} if api.generates else set()
        has |= api.capabilities() | ({"images"} if self._point.dataset.media == "image" else set())
        has |= {"stream"} if api.streamed(self._request_options) else set()
        return frozenset(has)

    def _metadata(self, records: Records, planned: int) -> dict[str, Any]:
        """Return the metadata that nm-vllm's serving benchmark has."""
        rows = records.measured()
        completed = rows.where(rows.completed)
        load = self._point.load
        metadata: dict[str, Any] = {
            "completed": len(completed),
            "num_prompts": planned,
            "request_rate": load.qps if load.open_loop else "inf",
        }
        for key, tokens in {"total_input": completed.prompt_tokens, "total_output": completed.output_tokens}.items():
            if len(tokens) and (tokens >= 0).all():
                metadata[key] = int(tokens.sum())
        return metadata

"""A load over HTTP: prepare it, warm the server up, start the probes, send it, stop the probes, cut the window.

``HttpLoad(options, point, lease).measure()`` runs all steps, and may be called more than once. A script with other
steps calls ``prepare``, ``warm_up`` and ``send`` itself.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchhydra import calibration, environment, interruption, window
from benchhydra.artifacts import SERVER_LOG_FILE
from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import RequestOptions
from benchhydra.client.model_names import ANY
from benchhydra.client.request_store import RequestStore
from benchhydra.datasets import Prompt
from benchhydra.datasets.conversations import conversations_of
from benchhydra.datasets.request_mix import adapter_models, mix_of
from benchhydra.datasets.tokenization import load_tokenizer
from benchhydra.errors import ConfigError, EngineError
from benchhydra.facts import fact
from benchhydra.loadgen import LoadPlan, client_facts, run_load
from benchhydra.loadgen.client_behaviour import ClientBehaviour, Retries
from benchhydra.loadgen.client_limits import check_connections
from benchhydra.loadgen.early_stop import EarlyStop
from benchhydra.loadgen.pacing import Pacing, Seconds
from benchhydra.loadgen.ray import cluster
from benchhydra.loads import LoadShape
from benchhydra.loads.sessions import SessionLoad
from benchhydra.measure import Measurement, Point
from benchhydra.measure.answer_checks import checked, output_check, unchecked_warning, with_outcomes
from benchhydra.measure.failure_hints import failure_hint
from benchhydra.measure.load_description import capabilities, nm_vllm_metadata
from benchhydra.measure.media import check_media
from benchhydra.measure.prompt_lengths import PromptLengths
from benchhydra.measure.replicas import replica_groups
from benchhydra.measure.request_builder import RequestBuilder
from benchhydra.measure.several_texts import prompts_per_request
from benchhydra.measure.texts import write_texts
from benchhydra.measure.warmup import WarmupHistory, check_warmup, warmup_count
from benchhydra.probes.watch import Watch, target_of
from benchhydra.progress import Progress
from benchhydra.registry import knob, option_name
from benchhydra.servers import Lease

fact("asked_rps", unit="requests/s", doc="mean rate that the config asks for; none for closed loops and recordings")
fact("offered_rps", unit="requests/s", doc="rate of the schedule; none for closed loops and loads sent all at once")
fact("gap_variation", unit="ratio", doc="squared coefficient of variation of the times between arrivals; 1: Poisson")
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
    retry_backoff_s: float = knob(
        0.5, "wait before the first retry, unless the server says how long; it doubles with each, up to 8 s", unit="s"
    )
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
            point.dataset.check(count // point.load.loops * prompts_per_request(point.dataset, point.api))
        check_media(point.dataset, point.api)
        mix_of(point.dataset.adapters, point.dataset.priorities)
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
        self._warmup_requests = 0
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
        self._builder = RequestBuilder(options, point, self._lengths, self.endpoint)

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
        built = self._builder.build(count)
        recorded = np.array(built.recorded_s) if len(built.recorded_s) == len(built.requests) else None
        send_times_s = point.load.send_times_s(len(built.requests), point.rng("arrivals"), recorded)
        plan = self._plan(built.requests, send_times_s)
        return PreparedLoad(plan=plan, prompts=built.prompts, offered_rps=point.load.offered_rps(send_times_s))

    def _prepare_sessions(self, load: SessionLoad, count: int) -> PreparedLoad:
        """Return a load of ``count`` sessions, whose requests are encoded shortly before they are sent."""
        point = self._point
        point.progress.status(f"preparing {count} sessions")
        requests, prompts = self._builder.build_sessions(count)
        turns = requests.turns()
        starts_s = load.send_times_s(count, point.rng("arrivals"))
        send_times_s = starts_s[turns.session]
        return PreparedLoad(
            plan=self._plan(requests, send_times_s, load.pacing(send_times_s, turns)),
            prompts=prompts,
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
        history, kind = WarmupHistory(by_kind=self._lease.warmed), self._builder.kind()
        if not count or (configured is None and history.covers(kind, count, longest)):
            return
        self._point.progress.status(f"warming up with {count} requests")
        self._send_warmup(plan, self._builder.build_warmup(plan.requests, count))
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
            has=capabilities(point, self._builder.request_options, records),
            groups={mix.label: mix.names for mix in self._builder.mixes}
            | replica_groups(self._replica_urls, self._lease)
            | prepared.groups,
            series=(*result.series, *observed.series),
            metadata=nm_vllm_metadata(records, load, len(prepared.plan.requests)),
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

    def _plan(self, requests: RequestStore, send_times_s: Seconds, pacing: Pacing | None = None) -> LoadPlan:
        load, options = self._point.load, self._options
        return LoadPlan(
            endpoint=self.endpoint,
            requests=requests,
            send_times_s=send_times_s,
            pacing=pacing or load.pacing(send_times_s),
            max_in_flight=load.max_in_flight,
            timeout_s=options.request_timeout_s,
            options=self._builder.request_options,
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
            "gap_variation": load.gap_variation(),
            "stationary": load.open_loop and load.stationary and prepared.offered_rps is not None,
            "max_in_flight": load.max_in_flight,
            "ignore_eos": self.endpoint.api.fixed_length(self._builder.request_options),
            "prefix_cache_intended": self._point.dataset.prefix_cache_intended,
            "media": self._point.dataset.media,
            "equal_images": self._point.dataset.has_equal_images(),
            **self._lengths.facts(self._point.dataset),
            "calibrated_rps": calibration.load_calibration(environment.this_machine_class()),
            "warmup_requests": self._warmup_requests,
        }

"""``script=serving``: a real server and a streaming client under a load shape."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from benchhydra import calibration, environment, interruption, window
from benchhydra.client import APIS, Endpoint, Requests
from benchhydra.client.request_encoding import encode_request
from benchhydra.datasets import Prompt
from benchhydra.datasets.tokenization import load_tokenizer
from benchhydra.datasets.warmup_prompts import warmup_prompts
from benchhydra.engines import Engine, ServerSpec
from benchhydra.errors import ConfigError, EngineError
from benchhydra.loadgen import LoadPlan, LoadResult, run_load
from benchhydra.loadgen.ray import cluster
from benchhydra.metrics import MetricContext
from benchhydra.probes.host_contention import HostContentionMonitor
from benchhydra.progress import Progress
from benchhydra.records import Records
from benchhydra.registry import knob, option
from benchhydra.scripts import Measurement, Point, Script
from benchhydra.servers import Lease
from benchhydra.servers.control import ServerCounters, scrape
from benchhydra.target import Target
from benchhydra.validity import Facts
from benchhydra.validity.answers import few_samples

LEAST_WARMUPS = 8


@option("script", "serving")
class Serving(Script):
    """A real server and a streaming client: TTFT, TPOT, ITL, latency and throughput under a load."""

    api: str = knob("completions", "endpoint that requests go to", choices=tuple(APIS))
    stream: bool = knob(True, "stream the answers; without it there is no TTFT, TPOT and ITL")
    ignore_eos: bool = knob(True, "make the server generate exactly the asked number of tokens")
    temperature: float = knob(0.0, "sampling temperature")
    request_timeout_s: float = knob(600.0, "a request that takes longer has failed", unit="s")
    warmup_requests: int | None = knob(
        None,
        "requests with other prompts before the load, at once; null: load.max_in_flight, at least 8 "
        "(none where the server has had as many of the same kind and length already)",
        unit="requests",
    )
    slo: dict[str, float] = knob({}, "limits of goodput: script.slo.ttft_ms, .tpot_ms, .e2el_ms", unit="ms")
    body: dict[str, Any] = knob({}, "further fields of each request's JSON body")

    def check(self, point: Point) -> None:
        count = point.load.count(point.num_prompts)
        if self.warmup_requests is not None and self.warmup_requests < 0:
            raise ConfigError(f"script.warmup_requests={self.warmup_requests} is negative", hint="0 for none")
        if point.load.warmup_s + point.load.cooldown_s and point.load.open_loop and count < 2:
            raise ConfigError("load.warmup_s and cooldown_s leave nothing to measure", hint="a larger num_prompts")
        if point.load.executor == "ray":
            cluster.require_ray("load.executor=ray")
        unknown = set(self.slo) - {"ttft_ms", "tpot_ms", "e2el_ms"}
        if unknown:
            raise ConfigError(f"script.slo.{min(unknown)}: no such limit", hint="ttft_ms, tpot_ms or e2el_ms")

    def spec(self, engine: Engine, target: Target) -> ServerSpec:
        return engine.server(target)

    def measure(self, point: Point, lease: Lease | None) -> Measurement:
        if lease is None:
            raise EngineError("script=serving needs a server")
        endpoint = self._endpoint(point, lease)
        plan, prompts = self._plan(point, endpoint)
        warmups = self._warm_up(point, plan, lease.warmed)
        before = _counters(endpoint)
        watch = HostContentionMonitor(lease)
        driven = run_load(plan, point.progress)
        watch.stop()
        neighbours = watch.facts(driven.processes)
        after = _counters(endpoint)
        if self.keep_text:
            _write_texts(point, prompts, driven)
        records = window.mark_phases(driven.records, point.load.warmup_s, point.load.cooldown_s, point.load.steady)
        offered = point.load.offered_rps(plan.offsets_s)
        return Measurement(
            records=records,
            facts=replace(
                self._facts(point, lease, driven, offered, before, after),
                notes=few_samples(records),
                **neighbours,
            ),
            context=MetricContext(slo=dict(self.slo), offered_rps=offered),
            metadata=_metadata(point, records, len(plan.requests))
            | {"warmup_requests": warmups}
            | _client(driven, neighbours),
        )

    def _endpoint(self, point: Point, lease: Lease) -> Endpoint:
        return Endpoint(
            base_url=lease.base_url,
            api=self.api,
            model=point.engine.model_name(point.target, lease.base_url),
            stream=self.stream,
            headers=point.engine.headers(),
            verify_tls=lease.verify_tls,
            ca_file=lease.ca_file,
        )

    def _plan(self, point: Point, endpoint: Endpoint) -> tuple[LoadPlan, list[Prompt]]:
        """The whole load, prepared: request bytes and send times. Prompts are kept only with keep_text."""
        count = point.load.count(point.num_prompts)
        point.progress.status(f"preparing {count} prompts")
        tokenizer = load_tokenizer(point.target)
        kept: list[Prompt] = []
        recorded: list[float] = []
        requests = Requests()
        for prompt in point.dataset.sample(count, tokenizer, point.rng("prompts"), point.target.max_model_len):
            self._add(requests, endpoint, prompt)
            if self.keep_text:
                kept.append(prompt)
            if prompt.send_at_s is not None:
                recorded.append(prompt.send_at_s)
        offsets = point.load.offsets_s(
            len(requests), point.rng("arrivals"), np.array(recorded) if len(recorded) == len(requests) else None
        )
        return self._plan_of(point, endpoint, requests, offsets), kept

    def _plan_of(self, point: Point, endpoint: Endpoint, requests: Requests, offsets_s: Any) -> LoadPlan:
        return LoadPlan(
            endpoint=endpoint,
            requests=requests,
            offsets_s=offsets_s,
            max_in_flight=point.load.max_in_flight,
            timeout_s=self.request_timeout_s,
            ignore_eos=self.ignore_eos,
            processes=point.load.processes,
            executor=point.load.executor,
            keep_text=self.keep_text,
        )

    def _add(self, requests: Requests, endpoint: Endpoint, prompt: Prompt) -> None:
        request = encode_request(endpoint, prompt.text, prompt.messages, prompt.output_tokens, self._sampling())
        requests.add(request, prompt.prompt_tokens, prompt.output_tokens)

    def _sampling(self) -> dict[str, Any]:
        return {"temperature": self.temperature, **self.body, **({"ignore_eos": True} if self.ignore_eos else {})}

    def _warm_up(self, point: Point, plan: LoadPlan, warmed: dict[str, tuple[int, int]]) -> int:
        """Other prompts, at the load's concurrency: its limit, or, where the rate decides and none is known, 8.

        ``warmed`` is the server's memory of its warm-ups; one that it need not have again is left out. Returns how
        many requests were sent.
        """
        count = self._warmups(plan)
        longest = max(plan.requests.prompt_tokens[:count], default=0)
        kind = json.dumps([self.api, self.stream, self._sampling()], sort_keys=True)
        had = warmed.get(kind, (0, 0))
        if not count or (self.warmup_requests is None and count <= had[0] and longest <= had[1]):
            return 0
        point.progress.status(f"warming up with {count} requests")
        requests = Requests()
        tokenizer, draw = load_tokenizer(point.target), point.rng("warmup")
        lengths = plan.requests.prompt_tokens, plan.requests.output_tokens
        for prompt in warmup_prompts(count, *lengths, tokenizer, draw):
            self._add(requests, plan.endpoint, prompt)
        at_once = np.zeros(len(requests))
        here = replace(plan, requests=requests, offsets_s=at_once, keep_text=False, processes="1", executor="local")
        driven = run_load(here, Progress())
        if driven.interrupted:
            raise interruption.interrupt_exception()  # the driver has taken the signal; nothing is measured yet
        failed = ~driven.records.completed
        if failed.all():
            text = driven.records.errors[0] if driven.records.errors else "no answer"
            raise EngineError(f"all {len(requests)} warm-up requests failed: {text}", hint="see server.log")
        if count >= had[0]:
            warmed[kind] = (count, longest)
        return count

    def _warmups(self, plan: LoadPlan) -> int:
        if self.warmup_requests is not None:
            return self.warmup_requests
        return max(LEAST_WARMUPS, min(plan.max_in_flight or 0, len(plan.requests)))

    def _facts(
        self,
        point: Point,
        lease: Lease,
        driven: LoadResult,
        offered: float | None,
        before: ServerCounters | None,
        after: ServerCounters | None,
    ) -> Facts:
        moved = after.since(before) if before is not None and after is not None else None
        return Facts(
            script="serving",
            offered_rps=offered,
            stationary=point.load.open_loop and point.load.stationary and offered is not None,
            max_in_flight=point.load.max_in_flight,
            client_lag_p99_ms=driven.client_lag_p99_ms,
            lost_processes=driven.lost_processes,
            clock_uncertainty_ms=max((clock.uncertainty_ms for clock in driven.clocks), default=None),
            calibrated_rps=calibration.load_calibration(environment.machine_class()),
            ignore_eos=self.ignore_eos,
            interrupted=driven.interrupted,
            client_cpu_share=driven.client_cpu_share,
            loop_stall_p99_ms=driven.loop_stall_p99_ms,
            loop_stall_max_ms=driven.loop_stall_max_ms,
            prefix_cache_queries=moved.prefix_cache_queries if moved else None,
            prefix_cache_hits=moved.prefix_cache_hits if moved else None,
            prefix_cache_intended=point.dataset.prefix_cache_intended,
            preemptions=moved.preemptions if moved else None,
            cache_reset=lease.cache_reset,
            server_restarted=lease.restarted,
        )


def _metadata(point: Point, records: Records, planned: int) -> dict[str, Any]:
    """nm-vllm's metadata of a serving run."""
    rows = records.measured()
    done = rows.where(rows.completed)
    found: dict[str, Any] = {
        "completed": len(done),
        "num_prompts": planned,
        "request_rate": point.load.qps if point.load.open_loop else "inf",
    }
    if len(done):
        if (done.prompt_tokens >= 0).all():
            found["total_input"] = int(done.prompt_tokens.sum())
        if (done.output_tokens >= 0).all():
            found["total_output"] = int(done.output_tokens.sum())
    return found


def _counters(endpoint: Endpoint) -> ServerCounters | None:
    return scrape(endpoint.base_url, endpoint.headers, verify_tls=endpoint.verify_tls, ca_file=endpoint.ca_file)


def _client(driven: LoadResult, neighbours: dict[str, Any]) -> dict[str, Any]:
    """What the client knows about itself and its core."""
    found: dict[str, Any] = {
        "client_processes": driven.processes,
        "client_cpu_share": driven.client_cpu_share,
        "client_awake_s": driven.client_awake_s or None,
        "client_wait_share": neighbours["client_wait_share"],
        "other_cpu_share": neighbours["other_cpu_share"],
        "client_loop_stall_p99_ms": driven.loop_stall_p99_ms,
        "client_loop_stall_max_ms": driven.loop_stall_max_ms,
    }
    if driven.clocks:
        found["client_clocks"] = [clock.facts() for clock in driven.clocks]
    return {key: value for key, value in found.items() if value is not None}


def _write_texts(point: Point, prompts: Iterable[Prompt], driven: LoadResult) -> None:
    with (point.out_dir / "texts.jsonl").open("w", encoding="utf-8") as file:
        for prompt, generated in zip(prompts, driven.texts or (), strict=True):
            line = {"prompt": prompt.messages or prompt.text, "generated": generated}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")

"""``script=throughput``: the offline engine, given every prompt at once, without a server."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from benchhydra.datasets import Prompt
from benchhydra.datasets.tokenization import load_tokenizer
from benchhydra.datasets.warmup_prompts import warmup_prompts
from benchhydra.engines import Engine, ServerSpec
from benchhydra.errors import EngineError
from benchhydra.probes.host_contention import HostContentionMonitor
from benchhydra.records import Records, Status
from benchhydra.registry import knob, option
from benchhydra.scripts import Measurement, Point, Script
from benchhydra.servers import Lease
from benchhydra.target import Target
from benchhydra.validity import Facts

DEFAULT_PROMPTS = 100


@option("script", "throughput")
class Throughput(Script):
    """The offline engine, given every prompt at once: request and token throughput."""

    ignore_eos: bool = knob(True, "make the engine generate exactly the asked number of tokens")
    temperature: float = knob(0.0, "sampling temperature")
    warmup_requests: int = knob(8, "other prompts generated before, not measured", unit="requests")
    timeout_s: float = knob(3600.0, "the engine has failed if it takes longer", unit="s")

    def spec(self, engine: Engine, target: Target) -> ServerSpec:
        return engine.offline(target)

    def measure(self, point: Point, lease: Lease | None) -> Measurement:
        if lease is None:
            raise EngineError("script=throughput needs an offline engine")
        count = DEFAULT_PROMPTS if point.num_prompts is None else point.num_prompts
        tokenizer = load_tokenizer(point.target)
        prompts = list(point.dataset.sample(count, tokenizer, point.rng("prompts"), point.target.max_model_len))
        emptied = lease.cache_reset
        if self.warmup_requests:
            point.progress.status(f"warming up with {self.warmup_requests} prompts")
            lengths = [p.prompt_tokens for p in prompts], [p.output_tokens for p in prompts]
            self._generate(lease, warmup_prompts(self.warmup_requests, *lengths, tokenizer, point.rng("warmup")))
            emptied = lease.reset()
        point.progress.status(f"generating for {count} prompts")
        watch = HostContentionMonitor(lease)
        answer = self._generate(lease, prompts)
        watch.stop()
        if self.keep_text:
            _write_texts(point, prompts, answer["texts"])
        records = _records(prompts, answer, self.ignore_eos)
        return Measurement(
            records=records,
            facts=Facts(
                script="throughput",
                ignore_eos=self.ignore_eos,
                cache_reset=emptied,
                server_restarted=lease.restarted,
                **watch.facts(client_processes=0),
            ),
            metadata={"num_prompts": count, "completed": int(records.completed.sum()), "request_rate": "inf"},
        )

    def _generate(self, lease: Lease, prompts: list[Prompt]) -> dict[str, Any]:
        request = {
            "op": "generate",
            "prompts": [prompt.text for prompt in prompts],
            "output_tokens": [prompt.output_tokens for prompt in prompts],
            "ignore_eos": self.ignore_eos,
            "temperature": self.temperature,
            "keep_text": self.keep_text,
        }
        return lease.call(request, timeout_s=self.timeout_s)


def _records(prompts: list[Prompt], answer: dict[str, Any], ignore_eos: bool) -> Records:
    """One row a prompt: sent when the batch was handed over, done when it was back. Tokens are those generated."""
    n = len(prompts)
    rows = Records.of_spans(
        [answer["start_ns"]] * n,
        [answer["end_ns"]] * n,
        prompt_tokens=answer["prompt_tokens"],
        output_tokens=answer["output_tokens"],
    )
    asked = np.array([prompt.output_tokens for prompt in prompts], dtype=np.int32)
    short = (rows.output_tokens < asked) & ignore_eos
    return replace(
        rows,
        asked_prompt_tokens=np.array([prompt.prompt_tokens for prompt in prompts], dtype=np.int32),
        asked_output_tokens=asked,
        status=np.where(short, Status.SHORT, Status.OK).astype(np.int32),
    )


def _write_texts(point: Point, prompts: list[Prompt], texts: list[str]) -> None:
    with (point.out_dir / "texts.jsonl").open("w", encoding="utf-8") as file:
        for prompt, generated in zip(prompts, texts, strict=True):
            file.write(json.dumps({"prompt": prompt.text, "generated": generated}, ensure_ascii=False) + "\n")

"""``engine=llamacpp``: its words, its checks, its tokenizer, and that its caches are proven empty."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import llamacpp

from benchhydra import gguf
from benchhydra.client import Endpoint, Requests
from benchhydra.client.apis import RequestOptions
from benchhydra.client.apis.completions import Completions
from benchhydra.client.request_encoding import encode_request
from benchhydra.datasets import Prompt
from benchhydra.engine_side import llamacpp_server
from benchhydra.engines.deployment import deployed
from benchhydra.engines.llamacpp import LlamaCpp
from benchhydra.errors import ConfigError
from benchhydra.fetch import fetch
from benchhydra.loadgen import LoadPlan, run_load
from benchhydra.loadgen.plan import REPLICA
from benchhydra.probes.server_metrics import parse_metrics
from benchhydra.progress import Progress
from benchhydra.servers.health import ControlPlane
from benchhydra.servers.llamacpp_slots import reset_slots
from benchhydra.servers.pool import ServerPool
from benchhydra.target import Gpus, Model, Sparsity

CPU = Gpus(device="cpu", count=0)


def words(engine: LlamaCpp, model: Model) -> list[str]:
    return engine.server(engine.target(model, Sparsity(), CPU)).command("127.0.0.1", 8080)


def test_the_package_and_the_program_get_the_same_flags(tmp_path: Path) -> None:
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\necho 'usage: --ctx-size --threads'\n")
    program.chmod(0o755)
    of_package = words(LlamaCpp(args={"threads": 1}), llamacpp.MODEL)
    of_program = words(LlamaCpp(args={"threads": 1}, program=[str(program)]), llamacpp.MODEL)
    assert of_package[:2] == [sys.executable, llamacpp_server.__file__]
    assert of_program[0] == str(program)
    assert of_package[2:] == of_program[1:]
    values = llamacpp_server.parse(of_package[2:])
    assert values["ctx-size"] == 1024 * 4  # for each of 4 slots
    assert values["threads"] == 1
    assert values["metrics"] is True
    assert (values["host"], values["port"]) == ("127.0.0.1", 8080)


@pytest.mark.parametrize(
    ("args", "reset"), [({}, "restart"), ({"cache-ram": 0}, "llamacpp"), ({"cache_ram": 9}, "restart")]
)
def test_a_server_that_keeps_prompts_in_memory_is_started_again(args: dict[str, Any], reset: str) -> None:
    engine = LlamaCpp(args=args)
    assert engine.server(engine.target(llamacpp.MODEL, Sparsity(), CPU)).cache_reset == reset


def test_flags_of_both_forms_are_checked(tmp_path: Path) -> None:
    engine = llamacpp.engine(ctx_sise=1)
    with pytest.raises(ConfigError, match="ctx_sise"):
        engine.check(engine.target(llamacpp.MODEL, Sparsity(), CPU))
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\necho 'usage: --ctx-size --threads'\n")
    program.chmod(0o755)
    engine = LlamaCpp(program=[str(program)], args={"thread": 1})
    with pytest.raises(ConfigError, match="thread: llama"):
        engine.check(engine.target(llamacpp.MODEL, Sparsity(), CPU))


def test_a_switch_is_off_by_either_form() -> None:
    engine = llamacpp.engine(warmup=False, no_jinja=False)
    target = engine.target(llamacpp.MODEL, Sparsity(), CPU)
    engine.check(target)
    words = engine.server(target).argv
    assert "--no-warmup" in words
    assert not any("jinja" in word for word in words)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Model(id="tiny", build="tiny"), "has no GGUF file"),
        (Model(id="/no/such.gguf"), "no such file"),
        (Model(id="org/model"), "is no GGUF file"),
    ],
)
def test_models_that_it_cannot_load_are_refused(model: Model, message: str) -> None:
    engine = LlamaCpp()
    with pytest.raises(ConfigError, match=message):
        engine.check(engine.target(model, Sparsity(), CPU))


@pytest.mark.parametrize("flags", [["--no-such", "1"], ["--threads"], ["--threads", "many"], ["--no-threads"]])
def test_the_server_program_refuses_what_llama_server_refuses(flags: list[str]) -> None:
    with pytest.raises(ValueError, match=r"no-such|threads|many"):
        llamacpp_server.parse(flags)


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    without_tokens = gguf_of({"tokenizer.ggml.model": "gpt2"})
    nested = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<QI", 0, 9) + struct.pack("<IQ", 9, 1) * 5000
    for content, message in (
        (b"PK", "no GGUF"),
        (b"GGUF\x03\0\0\0", "truncated|buffer"),
        (gguf_of({}), "cannot read"),
        (without_tokens, "tokenizer in model.gguf is damaged: KeyError"),
        (nested, "cannot be read as GGUF"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            gguf.write_tokenizer(path, tmp_path / "out")


def test_the_type_of_the_weights_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    target = LlamaCpp().target(Model(id=str(path), tokenizer="t", dtype="float32"), Sparsity(), CPU)
    assert target.dtype is None
    assert target.warnings == ("model.dtype=float32 has no effect on engine=llamacpp: a GGUF file has its own types",)
    assert LlamaCpp().weights(target) is None  # there is no such file
    for kind, name in ((15, "Q4_K_M"), (1, "F16"), (5, None)):
        key = b"general.file_type"
        entry = struct.pack("<Q", len(key)) + key + struct.pack("<II", 4, kind)
        path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + entry)  # the second entry is never read
        assert LlamaCpp().weights(target) == name


def gguf_of(metadata: dict[str, str]) -> bytes:
    """A GGUF without tensors, whose metadata are texts."""

    def text(value: str) -> bytes:
        return len(value).to_bytes(8, "little") + value.encode()

    entries = b"".join(text(key) + (8).to_bytes(4, "little") + text(value) for key, value in metadata.items())
    return b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + len(metadata).to_bytes(8, "little") + entries


def test_prompts_are_counted_as_the_server_counts_them_and_its_caches_are_proven_empty(tmp_path: Path) -> None:
    """One server for all that needs one: it takes 1.5 s to start."""
    from tokenizers import Tokenizer

    with llamacpp.leased(tmp_path) as lease:
        control = ControlPlane(base_url=lease.base_url, timeout_s=60.0)
        tokenizer = Tokenizer.from_file(str(Path(llamacpp.target(llamacpp.engine()).tokenizer) / "tokenizer.json"))
        for text in ("hello world 1234", "don't  I'll\n\n x", "日本語 🎉", "<|im_start|>user\nhi<|im_end|>", "\t a  "):
            assert tokenizer.encode(text).ids == post(control, "/tokenize", content=text, parse_special=True)["tokens"]
        prompt = " ".join(map(str, range(20)))
        cached = [ask(control, prompt) for _ in range(2)]
        assert cached[0] == 0
        assert cached[1] > 30
        assert reset_slots(control) is True
        assert ask(control, prompt) == 0
        assert lease.reset() is True
    with llamacpp.leased(tmp_path, cache_ram=100) as lease:
        assert (
            reset_slots(ControlPlane(base_url=lease.base_url)) is False
        )  # found in memory after the slots were erased


def test_two_servers_share_a_load(tmp_path: Path) -> None:
    engine = LlamaCpp(slots=1, args={"threads": 1, "cache_ram": 0}, replicas=2)
    target = llamacpp.target(engine)
    pool = ServerPool(tmp_path)
    try:
        spec = deployed(engine, engine.server(target), target)
        with pool.lease(spec, Progress(), ready_timeout_s=60.0, stop_timeout_s=10.0, headers={}) as lease:
            endpoint = Endpoint(
                base_url=lease.base_url,
                api=Completions(),
                model="smollm2",
                replica_urls=lease.replica_urls,
                keep_alive=engine.reuses_connections(),
            )
            options, requests = RequestOptions(stream=True, ignore_eos=True, temperature=0.0), Requests()
            for row in range(6):
                request = encode_request(endpoint.replica(row % 2), Prompt(f"{row} go", 0, 3), 3, options)
                requests.add(request, 0, 3, {REPLICA: row % 2})
            plan = LoadPlan(
                endpoint=endpoint, requests=requests, send_times_s=np.zeros(6), max_in_flight=2, options=options
            )
            records = run_load(plan, Progress()).records
            assert records.completed.all(), records.errors
            assert records.labels[REPLICA].tolist() == [0, 1, 0, 1, 0, 1]
            controls = [ControlPlane(base_url=url) for url in lease.replica_urls]
            assert [predicted_tokens(control) for control in controls] == [9, 9]
            assert lease.reset() is True
    finally:
        pool.close()


def predicted_tokens(control: ControlPlane) -> int:
    answer = control.ask("/metrics")
    assert answer is not None
    return int(parse_metrics(answer.body.decode()).counters["generation_tokens", ""])


def post(control: ControlPlane, path: str, **body: Any) -> Any:
    answer = fetch(f"{control.base_url}{path}", method="POST", body=json.dumps(body).encode(), timeout_s=60.0)
    assert answer.ok
    return answer.json()


def ask(control: ControlPlane, prompt: str) -> int:
    answer = post(control, "/v1/completions", prompt=prompt, max_tokens=1, temperature=0, id_slot=0)
    return int(answer["timings"]["cache_n"])

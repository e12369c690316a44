"""The presets of ``engine=command`` for servers that do not run here: their words, their checks, and stand-ins.

SGLang's words are parsed with the flags of its real parser, recorded from 0.5.23. TensorRT-LLM and TGI have no package
from which their parsers could be taken: TensorRT-LLM's flags were compared with the source of 1.2.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchhydra.engines.command import CommandLine, ServerProgram
from benchhydra.engines.programs import help_flags, package_facts
from benchhydra.engines.sglang import SGLang
from benchhydra.engines.tgi import Tgi
from benchhydra.engines.transformers import Transformers
from benchhydra.engines.trtllm import TrtLlm
from benchhydra.errors import ConfigError
from benchhydra.progress import Progress
from benchhydra.servers.pool import ServerPool
from benchhydra.target import Target

TARGET = Target(
    model="/models/m",
    tokenizer="/models/t",
    revision="main",
    max_model_len=2048,
    gpus=2,
    device="cuda",
    served_name="m",
)
RECORDINGS = Path(__file__).parent / "recordings"
ADDRESS = {"--host": "127.0.0.1", "--port": "8123"}
#: Program -> what it must be told, besides the address.
EXPECTED: dict[type[ServerProgram], dict[str, str]] = {
    SGLang: {
        "--model-path": "/models/m",
        "--served-model-name": "m",
        "--tokenizer-path": "/models/t",
        "--context-length": "2048",
        "--tp-size": "2",
        **ADDRESS,
    },
    TrtLlm: {"--tokenizer": "/models/t", "--max_seq_len": "2048", "--tp_size": "2", **ADDRESS},
    Tgi: {"--model-id": "/models/m", "--max-total-tokens": "2048", "--num-shard": "2", "--hostname": "127.0.0.1"},
    Transformers: ADDRESS,
}


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    package_facts.cache_clear()
    help_flags.cache_clear()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for the engines' packages and programs: the files of which flags and versions are read."""
    sources = {
        "sglang/srt/arg_groups/fields/parallel.py": 'class Parallel:\n    tp_size: A[int, "h"] = 1\n',
        "sglang/srt/server_args.py": "parser.add_argument('--config')\nparser.add_argument('--max-running-requests')\n",
        "tensorrt_llm/commands/serve.py": "click.option('--tensor_parallel_size', '--tp_size')\n'--max_batch_size'\n"
        "click.option('--trust_remote_code', is_flag=True)\n"
        "click.option('--enable_chunked_prefill/--no_enable_chunked_prefill')\n",
    }
    for name, text in sources.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        (tmp_path / name.split("/")[0] / "__init__.py").write_text("raise ImportError('it was imported')\n")
    for program in ("trtllm-serve", "text-generation-launcher"):
        path = tmp_path / program
        path.write_text(
            "#!/bin/sh\nprintf '  --model-id <ID>\\n  --max-batch-total-tokens N\\n  --trust-remote-code\\n'\n"
        )
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("kind", EXPECTED)
def test_the_target_becomes_words(kind: type[ServerProgram]) -> None:
    engine = kind(args={"some_flag": 7})
    words = engine.server(TARGET).command("127.0.0.1", 8123)
    given = dict(pairwise(words))
    assert EXPECTED[kind].items() <= given.items()
    assert "7" in words
    assert engine.server(TARGET).places_address


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("engine", "known", "unknown"),
    [
        (SGLang(), "max_running_requests", "max_runing_requests"),
        (SGLang(), "tp-size", "tb_size"),
        (TrtLlm(), "max_batch_size", "max_batchsize"),
        (Tgi(), "max_batch_total_tokens", "max_batch_tokens"),
        (Transformers(), "continuous_batching", "continous_batching"),
    ],
)
def test_flags_are_compared_with_those_of_the_program(engine: ServerProgram, known: str, unknown: str) -> None:
    target = TARGET if not isinstance(engine, Transformers) else Target(model="/models/m", tokenizer="/models/m")
    engine.args = {known: 1}
    engine.check(target)
    engine.args = {unknown: 1}
    with pytest.raises(ConfigError, match=f"{unknown}: .* no such flag") as caught:
        engine.check(target)
    assert known.replace("-", "_") in caught.value.hint


@pytest.fixture
def recorded_sglang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The flags of SGLang 0.5.23, and a stand-in for its package that declares them."""
    record: dict[str, list[str]] = json.loads((RECORDINGS / "sglang-0.5.23.json").read_text())
    lines = [f'parser.add_argument("--{name.replace("_", "-")}")' for name in record["values"]]
    for name in (name for name in record["switches"] if not name.startswith("no_")):
        action = "argparse.BooleanOptionalAction" if f"no_{name}" in record["switches"] else '"store_true"'
        lines.append(f'parser.add_argument("--{name.replace("_", "-")}", action={action})')
    source = tmp_path / "sglang/srt/server_args.py"
    source.parent.mkdir(parents=True)
    source.write_text("\n".join(lines))
    (tmp_path / "sglang/__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return record


def parsed(record: dict[str, list[str]], words: Sequence[str]) -> dict[str, Any]:
    """The words as a parser with the recorded flags reads them. Raises SystemExit if it refuses them."""
    parser = argparse.ArgumentParser(allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for name in record["values"]:
        parser.add_argument(f"--{name.replace('_', '-')}")
    for name in record["switches"]:
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true")
    return vars(parser.parse_args(words))


def test_the_real_parser_of_sglang_takes_the_words(recorded_sglang: dict[str, list[str]]) -> None:
    target = dataclasses.replace(TARGET, dtype="bfloat16", quantization="fp8", chat_template="/t.jinja")
    engine = SGLang(args={"enable_tf32_matmul": False, "disable_radix_cache": False, "pp-size": 2})
    engine.check(target)
    python, module, name, *words = engine.server(target).command("127.0.0.1", 8123)
    assert (python, module, name) == (sys.executable, "-m", "sglang.launch_server")
    assert parsed(recorded_sglang, words) == {
        "model_path": "/models/m",
        "served_model_name": "m",
        "tokenizer_path": "/models/t",
        "revision": "main",
        "dtype": "bfloat16",
        "quantization": "fp8",
        "context_length": "2048",
        "chat_template": "/t.jinja",
        "tp_size": "2",
        "pp_size": "2",
        "enable_metrics": True,
        "no_enable_tf32_matmul": True,  # disable_radix_cache=false is its default, and has no other word
        "host": "127.0.0.1",
        "port": "8123",
    }
    on_cpu = dataclasses.replace(target, gpus=0, device="cpu")
    assert parsed(recorded_sglang, SGLang().server(on_cpu).command("127.0.0.1", 1)[3:])["device"] == "cpu"


@pytest.mark.usefixtures("recorded_sglang")
def test_a_value_of_sglang_cannot_be_off() -> None:
    with pytest.raises(ConfigError, match=r"chunked_prefill_size=false: SGLang .* has no --no-chunked-prefill-size"):
        SGLang(args={"chunked_prefill_size": False}).check(TARGET)
    engine = SGLang(args={"enable_metrics": False})
    engine.check(TARGET)
    assert "--enable-metrics" not in engine.server(TARGET).argv


@pytest.mark.usefixtures("installed")
def test_switches_of_the_others_are_turned_off_as_they_declare_it() -> None:
    trtllm = TrtLlm(args={"trust_remote_code": False, "enable_chunked_prefill": False})
    trtllm.check(TARGET)
    words = trtllm.server(TARGET).argv
    assert "--trust_remote_code" not in words
    assert "--no_enable_chunked_prefill" in words
    with pytest.raises(ConfigError, match="max_batch_size=false"):
        TrtLlm(args={"max_batch_size": False}).check(TARGET)
    tgi = Tgi(args={"trust_remote_code": False})
    tgi.check(TARGET)
    assert "--trust-remote-code" not in tgi.server(TARGET).argv
    with pytest.raises(ConfigError, match="model_id=false"):
        Tgi(args={"model_id": False}).check(TARGET)


def test_a_switch_of_transformers_that_has_no_other_form_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "transformers/cli/serve.py"
    source.parent.mkdir(parents=True)
    source.write_text('parser.add_argument("--eager", action="store_true")\n')
    (tmp_path / "transformers/__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    engine = Transformers(args={"eager": False})
    engine.check(dataclasses.replace(TARGET, chat_template=None))
    assert not any("eager" in word for word in engine.server(TARGET).argv)


def test_the_weights_are_those_that_the_server_is_told() -> None:
    target = dataclasses.replace(TARGET, dtype="bfloat16")
    assert SGLang().weights(target) == "bfloat16"
    assert Tgi(args={"--quantize": "awq"}).weights(target) == "awq"
    assert Tgi().weights(target) == "bfloat16"
    assert CommandLine(command=["x", "{port}"]).weights(target) is None  # it is told no type


@pytest.mark.parametrize("engine", [SGLang(), TrtLlm(), Tgi()])
def test_an_engine_that_is_not_installed_is_named(engine: ServerProgram) -> None:
    with pytest.raises(ConfigError, match=r"no SGLang|no TensorRT-LLM|text-generation-launcher is not a program"):
        engine.check(TARGET)


@pytest.mark.parametrize(
    ("args", "gpus"),
    [
        ({}, 2),
        ({"dp_size": 2}, 4),
        ({"dp-size": 2, "enable_dp_attention": True}, 2),
        ({"pp_size": 3, "dp_size": 2}, 12),
    ],
)
def test_sglang_counts_its_gpus(args: dict[str, Any], gpus: int) -> None:
    assert SGLang(args=args).gpu_count(TARGET) == gpus


def test_sglang_is_reused_if_its_flush_was_answered_200(tmp_path: Path) -> None:
    """A stand-in with SGLang's answers: 200 if the cache was emptied, 400 while requests are under way."""
    program = tmp_path / "sglang_stand_in.py"
    program.write_text(STAND_IN)
    engine = SGLang(ready_timeout_s=60.0)
    spec = engine.server(TARGET)
    words = (sys.executable, str(program), "--port", "{port}")
    pool = ServerPool(tmp_path)
    pids = []
    try:
        for _ in range(3):
            changed = type(spec)(
                kind="http", argv=words, places_address=True, ready_path=spec.ready_path, cache_reset=spec.cache_reset
            )
            with pool.lease(changed, Progress(), ready_timeout_s=60.0, stop_timeout_s=5.0, headers={}) as lease:
                pids.append(lease.pid)
    finally:
        pool.close()
    assert pids[0] == pids[1] != pids[2]  # the second flush is refused


STAND_IN = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    flushes = 0

    def do_GET(self):
        self.answer(200)

    def do_POST(self):
        Handler.flushes += self.path == "/flush_cache"
        self.answer(200 if Handler.flushes == 1 else 400)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

HTTPServer(("127.0.0.1", int(sys.argv[-1])), Handler).serve_forever()
"""

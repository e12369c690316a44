"""What is wrong is said in one line, with an exit code, within seconds, and before anything is started."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchhydra.engines import vllm
from benchhydra.overrides.explain import explain

Program = Callable[..., Any]
FAKE = ("engine=fake", "tracking=none")
ATTACH = ("engine=attach", "tracking=none", "num_prompts=2")
VLLM = ("engine=vllm", "tracking=none", "model=custom")
LIMIT_S = 60.0

#: words -> what the error line must hold, what the hint must hold.
BAD: dict[str, tuple[tuple[str, ...], str, str]] = {
    "wrong-key": ((*FAKE, "qpz=1"), "no such key: qpz", "did you mean qps?"),
    "key-of-a-group": ((*FAKE, "load.burstines=2"), "no such key: load.burstines", "load.burstiness"),
    "key-without-its-group": ((*FAKE, "prompt_tokens=2"), "no such key: prompt_tokens", "dataset.prompt_tokens"),
    "limit-key": ((*FAKE, "validity.least_complete=2"), "no such key", "validity.least_completed"),
    "added-key": ((*FAKE, "+new_key=1"), "no such key: new_key", "benchhydra options"),
    "added-group-key": ((*FAKE, "+script.strem=1"), "no such key: script.strem", "script.stream"),
    "key-in-a-dictionary": ((*FAKE, "slo={ttft:200}"), "no such key: slo.ttft", "slo.ttft_ms"),
    "open-key-in-a-dictionary": ((*FAKE, "script={body:{n:4}}"), "script.body.n cannot be set", "script.body.n=VALUE"),
    "no-dictionary": ((*FAKE, "script.body=4"), "script.body=4: the value must be keys and values", "script.body.NAME"),
    "null-dictionary": ((*FAKE, "script.body=null"), "must be keys and values", "script.body.NAME=VALUE"),
    "null": ((*FAKE, "qps=null"), "qps=null: the value must not be null", "options qps"),
    "key-of-another-engine": (
        (*FAKE, "engine.headers.a=B"),
        "no such key: engine.headers",
        "engine=attach or command or",
    ),
    "header-without-variable": (
        (*ATTACH, "engine.headers.api-key=NO_SUCH"),
        "engine.headers.api-key=NO_SUCH: this environment variable is not set",
        "export NO_SUCH=",
    ),
    "header-with-its-value": (
        (*ATTACH, "engine.headers.api-key=sk-x"),
        "engine.headers.api-key holds a secret",
        "export API_KEY=... and engine.headers.api-key=API_KEY",
    ),
    "header-without-a-name": (
        (*ATTACH, "engine.headers.x-route=blue-green"),
        "engine.headers.x-route must be the name of an environment variable that is set",
        "export MY_KEY=",
    ),
    "endpoint-in-the-path": ((*ATTACH, "engine.path=/v1/chat/completions"), "is added by the API", "api=chat"),
    "token-limit": ((*FAKE, "api.token_limit=max_token"), "api.token_limit=max_token is not", "max_completion_tokens"),
    "group": ((*FAKE, "modle=llama2"), "no such key: modle", "did you mean model?"),
    "option": ((*FAKE, "model=lama2"), "no such option: model=lama2", "did you mean model=llama2?"),
    "preset": (("experiment=decod",), "no such option: experiment=decod", "experiment=decode"),
    "launcher": ((*FAKE, "launcher=joblb"), "no such option: launcher=joblb", "launcher=joblib"),
    "text-for-number": ((*FAKE, "qps=fast"), "qps=fast: the value must be a number", "requests/s"),
    "fraction-for-whole": ((*FAKE, "num_prompts=1.5"), "num_prompts=1.5: the value must be a whole number", "null"),
    "text-for-bool": ((*FAKE, "script.keep_text=perhaps"), "must be true or false", "options script.keep_text"),
    "no-value": ((*FAKE, "qps="), "qps=: the value must be a number", ""),
    "negative-rate": ((*FAKE, "qps=-1"), "qps=-1 must be above 0", "qps=inf"),
    "negative-count": ((*FAKE, "num_prompts=-5"), "num_prompts=-5 must be at least 1", ""),
    "negative-length": ((*FAKE, "dataset.prompt_tokens=-3"), "dataset.prompt_tokens=-3", ""),
    "negative-warmup": ((*FAKE, "load.warmup_s=-1"), "load.warmup_s=-1 must be at least 0", ""),
    "fraction": ((*FAKE, "engine.http_5xx_fraction=2"), "sum to at most 1", ""),
    "choice": ((*FAKE, "script.fail_on=sometimes"), "script.fail_on='sometimes'", "invalid, suspect, never"),
    "order": ((*FAKE, "sweep.order=random"), "sweep.order='random'", "blocked, interleaved, shuffled"),
    "everything-at-once": ((*FAKE, "qps=inf"), "qps=inf needs num_prompts", "num_prompts=100"),
    "closed-loop": ((*FAKE, "load=concurrency"), "needs load.max_in_flight", "load.max_in_flight=8"),
    "idle-rate": ((*FAKE, "load=concurrency", "load.max_in_flight=2", "qps=5"), "qps=5 has no effect", "load=poisson"),
    "idle-rate-of-a-trace": ((*FAKE, "load=trace", "num_prompts=5", "qps=5"), "qps=5 has no effect", ""),
    "no-repeats": ((*FAKE, "-m", "repeats=0"), "repeats=0 must be at least 1", ""),
    "values-without-sweep": ((*FAKE, "qps=1,2"), "several values need a sweep", "add -m"),
    "values-with-dash": ((*FAKE, "--resolve", "qps=1,2"), "several values need a sweep", "add -m"),
    "values-with-preset": (("experiment=minimal_serving", *FAKE, "qps=1,2"), "several values need a sweep", "add -m"),
    "key-without-value": ((*FAKE, "sweep.plan"), "sweep.plan has no value", "sweep.plan=VALUE"),
    "hydra-key": ((*FAKE, "hydra.foo=1"), "no such key: hydra.foo", "benchhydra options"),
    "group-twice": ((*FAKE, "+load=burst"), "load was given twice", ""),
    "limit": ((*FAKE, "slo.ttft=5"), "no such key: slo.ttft", "slo.ttft_ms"),
    "empty-model": ((*FAKE, "model.id="), "model.id is empty", ""),
    "bad-point-of-a-sweep": ((*FAKE, "-m", "qps=1,-2", "num_prompts=2"), "qps=-2 must be above 0", ""),
    "zip": ((*FAKE, "-m", "qps=1,2,3", "num_prompts=1,2", "sweep.zip=[[qps,num_prompts]]"), "different lengths", ""),
    "zip-of-nothing": ((*FAKE, "-m", "qps=1,2", "sweep.zip=[[qps,seed]]"), "'seed', which is not swept", "seed="),
    "pairs": ((*FAKE, "nr_qps_pair='150,0.5','300'"), "every pair is NUM_PROMPTS,QPS", "'150,0.5','300,1'"),
    "interval": ((*FAKE, "-m", "qps=1,2", "search=repeats", "search.ci=fast"), "search.ci=fast", "p99_ttft_ms:2%"),
    "slo": ((*FAKE, "-m", "search=capacity", "slo.output_throughput=900"), "needs a limit on a percentile", "slo.p99"),
    "resume": ((*FAKE, "-m", "qps=1,2", "sweep.resume=/no/such"), "has no readable sweep.json", "sweep.resume=auto"),
    "syntax": ((*FAKE, "qps=[1"), "qps=[1: cannot be read as KEY=VALUE", "quote"),
    "dash-option": ((*FAKE, "--mutlirun"), "no such option: --mutlirun", "--multirun"),
    "dash-option-value": (("-c", "bogus"), "-c bogus is not allowed", "job, hydra, all"),
    "config-dir": (("--config-dir", "/no/such", *FAKE), "'/no/such' not found", ""),
    "subcommand": (("optoins",), "unknown command: optoins", "did you mean options?"),
    "suite": (("suite", "no_such"), "no such suite: no_such", "nightly"),
    "options-group": (("options", "scirpt"), "no such group or key: scirpt", "did you mean script?"),
    "options-option": (("options", "load=poison"), "no such option: load=poison", "load=poisson"),
    "compare": (("compare", "/no/such", "/no/other"), "no such file or directory: /no/such", ""),
    "secret": ((*FAKE, "engine.env.MY_API_KEY=abc"), "engine.env.MY_API_KEY", "export MY_API_KEY"),
    "sparsity": ((*FAKE, "model=llama2", "sparsity=sparse_w16a16"), "no variant for sparsity", "sparsity=dense"),
    "data-file": ((*FAKE, "dataset=jsonl", "dataset.path=/no/such", "num_prompts=2"), "no such file: /no/such", ""),
    "data-unnamed": ((*FAKE, "dataset=jsonl"), "dataset.path has no value", "dataset.path="),
    "model-unnamed": ((*FAKE, "model=custom"), "model.id has no value", "model.id="),
    "output": ((*FAKE, "hydra.run.dir=/proc/x", "num_prompts=2"), "/proc/x", "hydra.run.dir=DIR"),
    "output-of-a-sweep": ((*FAKE, "-m", "qps=1,2", "num_prompts=2", "hydra.sweep.dir=/proc/x"), "/proc/x", ""),
    "url": ((*ATTACH, "engine.base_url=nonsense"), "'nonsense' is not a server's URL", "http://HOST:PORT"),
    "dead-url": (
        (*ATTACH, "engine.base_url=http://127.0.0.1:9", "engine.ready_timeout_s=0"),
        "no server answers at http://127.0.0.1:9",
        "",
    ),
    "key-variable": (
        (*ATTACH, "engine.api_key_env=NO_SUCH"),
        "this environment variable is not set",
        "export NO_SUCH=",
    ),
    "interpreter": ((*VLLM, "model.id=a/b", "engine.python=/no/python"), "/no/python is not a program", "VENV"),
    "gpus": ((*VLLM, "model.id=a/b", "gpus=tp4"), "4 GPUs requested", ""),
}


def assert_one_line(ran: Any, error: str, hint: str) -> None:
    lines = ran.err.splitlines()
    found = [line for line in lines if line.startswith("error: ")]
    assert ran.code != 0
    assert len(found) == 1, ran.err
    assert error in found[0]
    assert hint in ran.err.partition("hint: ")[2]
    assert "Traceback" not in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line(name: str, program: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words, error, hint = BAD[name]
    began_s = time.monotonic()
    ran = program(*words)
    assert time.monotonic() - began_s < LIMIT_S
    assert_one_line(ran, error, hint)
    assert len(ran.err.splitlines()) <= 2, ran.err
    assert not (tmp_path / "cache").exists()  # no model was made for it


@pytest.mark.parametrize("name", ["wrong-key", "negative-rate", "bad-point-of-a-sweep", "subcommand", "output"])
def test_bad_input_is_one_line_in_a_real_process(name: str, process: Program) -> None:
    words, error, hint = BAD[name]
    assert_one_line(process(*words), error, hint)


def test_port_that_is_taken(process: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert_one_line(process("ui", "--port", port), f"cannot listen on port {port}", "--port N")


def test_interpreter_without_vllm(program: Program, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys._base_executable} -I -S "$@"\n')  # type: ignore[attr-defined]
    bare.chmod(0o755)
    assert_one_line(program(*VLLM, "model.id=a/b", f"engine.python={bare}"), "has no vLLM", "engine.python=PATH")


class TestModels:
    @pytest.fixture(autouse=True)
    def vllm_here(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(vllm, "_facts", lambda interpreter: {"vllm": "0.0", "flags": ["max_num_seqs"]})
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HF_HUB_OFFLINE", "HF_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        vllm._check_hub.cache_clear()

    def test_directory_without_a_model(self, program: Program) -> None:
        assert_one_line(program(*VLLM, "model.id=/no/such"), "/no/such contains no config.json", "model.id=")

    def test_model_id_that_is_neither_a_directory_nor_a_hub_id(self, program: Program) -> None:
        assert_one_line(program(*VLLM, "model.id='a b'"), "neither a directory nor a hub id", "OWNER/NAME")

    def test_hub_out_of_reach(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        assert_one_line(program(*VLLM, "model.id=no/such"), "http://127.0.0.1:9 cannot be reached", "model=tiny")

    def test_hub_that_never_answers(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(vllm, "HUB_TIMEOUT_S", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
            assert_one_line(program(*VLLM, "model.id=no/such"), "cannot be reached (TimeoutError)", "")

    def test_hub_model_in_offline_mode(self, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert_one_line(program(*VLLM, "model.id=no/such"), "HF_HUB_OFFLINE forbids", "model=tiny")

    def test_misspelt_flag(self, program: Program) -> None:
        ran = program(*VLLM, "model.id=a/b", "engine.args.max_num_seq=8")
        assert_one_line(ran, "has no such flag", "engine.args.max_num_seqs")

    def test_flag_that_benchhydra_sets(self, program: Program) -> None:
        assert_one_line(
            program(*VLLM, "model.id=a/b", "engine.args.port=8"), "engine.args.port is set by benchhydra", "attach"
        )


def test_server_that_does_not_start_shows_the_end_of_its_log(process: Program) -> None:
    ran = process(*FAKE, "engine.fail_start=true", "num_prompts=2")
    assert_one_line(ran, "the server exited with code 1", "")
    assert "fake server: RuntimeError: failing to start, as requested" in ran.err.splitlines()[-1]
    assert ".log:" in ran.err


def test_errors_that_caused_each_other_are_explained() -> None:
    first, second = ValueError("Could not load"), KeyError("no such thing")
    first.__cause__, second.__context__ = second, first
    assert explain(first, [])[0]


@pytest.mark.parametrize("option", [("--config-dir", "own"), ("--config-dir=own",)])
def test_a_config_file_that_is_not_utf_8_is_named(option: tuple[str, ...], program: Program, tmp_path: Path) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "mine.yaml").write_bytes(b"\xff\xfeid: x")
    assert_one_line(program(*option, *FAKE, "model=mine"), "own/model/mine.yaml is not UTF-8: byte 0", "")

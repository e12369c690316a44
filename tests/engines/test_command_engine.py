"""``engine=command``: its words, what it refuses, and a server of one's own measured by it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchhydra.engine_side.program_facts import declared_flags
from benchhydra.engines import Engine
from benchhydra.engines.command import CommandLine
from benchhydra.engines.flags import ProgramFlags, check_flags, flag_words
from benchhydra.engines.llamacpp import LlamaCpp
from benchhydra.engines.programs import help_flags, package_facts, printed_version
from benchhydra.engines.tgi import Tgi
from benchhydra.errors import ConfigError
from benchhydra.progress import Progress
from benchhydra.redaction import redact
from benchhydra.servers.pool import ServerPool
from benchhydra.target import Target

TARGET = Target(model="org/model", tokenizer="org/model", served_name="org/model", max_model_len=2048)
FAKE = [sys.executable, "-P", "-m", "benchhydra.fakeserver", "--model", "{served_model}"]
ADDRESS = ["--host", "{host}", "--port", "{port}"]


def test_words_are_filled_in_and_other_braces_stay() -> None:
    engine = CommandLine(
        command=["{python}", "--model={model}", "-c", "{max_model_len}", '{"a": {"b": 1}}', "--port", "{port}"]
    )
    spec = engine.server(TARGET)
    assert spec.command("127.0.0.1", 8123) == [
        *(sys.executable, "--model=org/model", "-c", "2048", '{"a": {"b": 1}}', "--port", "8123")
    ]


def test_a_variable_is_filled_in_at_the_start_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_SERVER_KEY", "sk-hidden-value")
    engine = CommandLine(command=["server", "--api-key", "{env:MY_SERVER_KEY}", "--port", "{port}"])
    spec = engine.server(TARGET)
    assert "sk-hidden-value" not in repr(spec)
    assert "sk-hidden-value" in spec.command("127.0.0.1", 1)
    assert "sk-hidden-value" not in redact("key sk-hidden-value")
    monkeypatch.delenv("MY_SERVER_KEY")
    with pytest.raises(ConfigError, match="MY_SERVER_KEY"):
        spec.command("127.0.0.1", 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"command": []}, "needs the words"),
        ({"command": [sys.executable, "serve"]}, r"no \{port\}"),
        ({"command": [sys.executable, "{modle}", "{port}"]}, r"no such placeholder: \{modle\}"),
        ({"command": ["no-such-server-program", "{port}"]}, "no-such-server-program is not a program"),
        ({"command": [sys.executable, "{port}"], "api_key_env": "NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE"),
    ],
)
def test_what_cannot_start_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CommandLine(**fields).check(TARGET)


@pytest.mark.parametrize(
    "words",
    [["x", "--api-key", "sk-in-words"], ["x", "--hf-token=sk-in-words"], ["env", "MY_API_KEY=sk-in-words", "x"]],
)
def test_secrets_in_the_words_are_refused_and_not_repeated(words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        CommandLine(command=words)
    assert "sk-in-words" not in f"{caught.value.message} {caught.value.hint}"
    assert "sk-in-words" not in redact("sk-in-words")


@pytest.mark.parametrize("preset", [LlamaCpp, Tgi])
def test_secrets_in_the_words_of_a_preset_are_refused(preset: Any) -> None:
    with pytest.raises(ConfigError, match=r"engine\.program: --api-key has a secret"):
        preset(program=["server", "--api-key", "sk-in-preset"])


@pytest.mark.parametrize("reset", ["sometimes", "POST flush", "DELETE /cache"])
def test_a_reset_that_is_none_is_refused(reset: str) -> None:
    with pytest.raises(ConfigError, match="cache_reset"):
        CommandLine(cache_reset=reset)


def test_a_command_is_not_told_our_word_tokenizer() -> None:
    engine = CommandLine(command=["x", "{tokenizer}", "{port}"])
    words = [engine.words(replace(TARGET, tokenizer=name))[1] for name in ("word", "org/tok")]
    assert words == ["org/model", "org/tok"]


def test_flags_become_words() -> None:
    flags = {"ctx_size": 64, "metrics": True, "warmup": False, "gone": None, "sizes": [1, 2], "config": {"a": 1}}
    assert flag_words(flags) == [
        *("--ctx-size", "64", "--metrics", "--no-warmup", "--sizes", "1", "2", "--config", '{"a": 1}')
    ]
    switches = ProgramFlags(frozenset(flags), switches=frozenset(("metrics", "warmup")))
    assert flag_words(flags, switches, separator="_") == [
        *("--ctx_size", "64", "--metrics", "--sizes", "1", "2", "--config", '{"a": 1}')
    ]


def test_a_flag_is_turned_off_as_its_program_does_it() -> None:
    declared = ProgramFlags(frozenset(("cache", "no_cache", "verbose", "size")), frozenset(("cache", "verbose")))
    assert flag_words({"cache": False}, declared) == ["--no-cache"]
    assert flag_words({"cache": False}, declared, separator="_") == ["--no_cache"]
    assert flag_words({"verbose": False}, declared) == []  # it is off unless it is named
    check_flags("it", {"cache": False, "verbose": False, "size": "false"}, declared)
    with pytest.raises(
        ConfigError, match=r"args\.size=false: it has no --no-size, and the flag takes a value"
    ) as caught:
        check_flags("it", {"size": False}, declared)
    assert "engine.args.size='false'" in caught.value.hint


def test_flags_are_checked() -> None:
    known = ProgramFlags(frozenset(("ctx_size", "metrics")))
    check_flags("it", {"ctx-size": 1, "no_metrics": True}, known)
    check_flags("it", {"anything": 1}, None)
    with pytest.raises(ConfigError, match="ctx_sise") as caught:
        check_flags("it", {"ctx_sise": 1}, known)
    assert "ctx_size" in caught.value.hint
    with pytest.raises(ConfigError, match="is set by benchhydra"):
        check_flags("it", {"port": 1}, None)


def test_what_programs_say_of_themselves(tmp_path: Path) -> None:
    program = tmp_path / "server"
    program.write_text(
        "#!/bin/sh\necho 'build info'\necho 'usage: --ctx-size N, --no-warmup' \necho 'version: 17 (abc)'\n"
    )
    program.chmod(0o755)
    assert help_flags(str(program)) == ProgramFlags(frozenset(("ctx_size", "no_warmup")))
    assert printed_version((str(program),)) == "version: 17 (abc)"
    assert help_flags("/no/such/program") is None
    assert printed_version(("/no/such/program",)) is None


#: Lines as argparse, clap, click and llama.cpp write them.
HELP = """usage: server [-h]
              [--worker-urls [WORKER_URLS ...]]
  --worker-urls [WORKER_URLS ...]
                        the workers, see --policy
  --enable-igw          with a gateway
  -t TEMP, --temperature TEMP
      --model-id <MODEL_ID>
          A model
  -e, --env
  --compile / --no-compile        compiles
  --tp_size, --tensor_parallel_size INTEGER
-fa,   --flash-attn [on|off]            attention
--mmap, --no-mmap                       maps the file
"""


def test_switches_are_read_from_what_a_program_prints(tmp_path: Path) -> None:
    program = tmp_path / "server"
    (tmp_path / "help").write_text(HELP)
    program.write_text(f"#!/bin/sh\ncat {tmp_path}/help\n")
    program.chmod(0o755)
    declared = help_flags(str(program))
    assert declared is not None
    assert declared.switches == {"enable_igw", "env", "compile", "no_compile", "mmap", "no_mmap"}
    assert declared.names - declared.switches == {
        *("worker_urls", "policy", "temperature", "model_id", "tp_size", "tensor_parallel_size", "flash_attn")
    }


#: Declarations as argparse, click, typer and SGLang make them -> whether the flag is a switch.
DECLARATIONS = {
    'parser.add_argument("--tp-size", "--tensor-parallel-size")': {"tp_size": False, "tensor_parallel_size": False},
    'parser.add_argument("--quiet", action="store_true")': {"quiet": True},
    'parser.add_argument("--old", action=DeprecatedStoreTrueAction)': {"old": True},
    'parser.add_argument("--fuse", action=argparse.BooleanOptionalAction)': {"fuse": True, "no_fuse": True},
    'click.option("--cache/--no-cache", default=True)': {"cache": True, "no_cache": True},
    'click.option("--trust", is_flag=True)': {"trust": True},
    'def serve(port: Annotated[int, typer.Option("p")], jit: Annotated[bool, typer.Option("j")]): pass': {
        "port": False, "jit": True, "no_jit": True
    },
    'class Fields:\n    size: A[int, "help"] = 1\n    eager: A[bool, "help"] = False\n    plain: int = 1': {
        "size": False, "eager": True
    },
    'class Fields:\n    a: A[Optional[bool], Arg(action=argparse.BooleanOptionalAction)] = None': {
        "a": True, "no_a": True
    },
    'class Fields:\n    a: A[bool, Arg(cli_name="--bb", aliases=["--cc"])] = False': {"bb": True, "cc": True},
    'class Fields:\n    a: A[bool, Arg(no_cli=True)] = False': {},
    'class Fields:\n    eager: A[bool, "help"] = False\nwords.append("--eager")': {"eager": True},
}  # fmt: skip


@pytest.mark.parametrize("declaration", DECLARATIONS)
def test_flags_are_read_from_source_files(declaration: str) -> None:
    assert declared_flags([declaration]) == DECLARATIONS[declaration]


def test_facts_of_a_package_are_read_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_server"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError('it was imported')\n")
    (package / "args.py").write_text('parser.add_argument("--tp-size", "--tensor-parallel-size")\n')
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    facts = package_facts(sys.executable, "some_server", "args.py", "missing.py")
    assert facts["flags"] == ["tensor_parallel_size", "tp_size"]
    assert facts["version"] == "unknown"
    assert "version" not in package_facts(sys.executable, "no_such_package")


@pytest.mark.parametrize(
    ("reset", "reused", "proven"),
    [("restart", False, None), ("none", True, False), ("POST /reset_prefix_cache", True, True), ("vllm", True, True)],
)
def test_a_server_is_reused_as_its_reset_allows(tmp_path: Path, reset: str, reused: bool, proven: bool | None) -> None:
    engine = CommandLine(command=[*FAKE, *ADDRESS], cache_reset=reset, ready_path="/v1/models")
    engine.check(TARGET)
    pool = ServerPool(tmp_path)
    try:
        pids = []
        for _ in range(2):
            with lease_of(pool, engine) as lease:
                pids.append(lease.pid)
                assert not lease.restarted  # as intended, so it is no reason for a doubt
                cache_reset = lease.cache_reset
        assert (pids[0] == pids[1]) is reused
        assert cache_reset is proven
    finally:
        pool.close()


def lease_of(pool: ServerPool, engine: Engine) -> Any:
    return pool.lease(engine.server(TARGET), Progress(), ready_timeout_s=60.0, stop_timeout_s=5.0, headers={})

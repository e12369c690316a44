"""What TAB offers: subcommands, their options, groups, keys, values, and the flags of the installed vLLM."""

from __future__ import annotations

import math
import os
import pty
import resource
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchhydra.commands import _vocabulary
from benchhydra.commands._completion import candidates, engine_python
from benchhydra.commands._vocabulary import Vocabulary

BIN = Path(sys.executable).parent
BASH = shutil.which("bash")
#: CPU time within which an answer must come.
LIMIT_S = 0.3


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache with the vocabulary of this version, and with flags of a vLLM where one is installed."""
    directory = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(directory))
        _vocabulary.build(None)
        yield directory


@pytest.fixture
def vocabulary(cache: Path) -> Vocabulary:
    cached = _vocabulary.read_vocabulary()
    assert cached is not None
    return cached


CASES = {
    "subcommand": ("ga", ["gate"]),
    "help": ("help exp", ["experiment", "export"]),
    "help-of-the-program": ("hel", ["help"]),
    "subcommands-come-first": ("qps=1 ga", []),
    "option": ("gate --thr", ["--thresholds"]),
    "option-value": ("gate --against ", ["history"]),
    "files": ("compare out", []),
    "topic": ("options loa", ["load"]),
    "group-and-its-keys": ("mod", ["model.", "model="]),
    "group-option": ("engine=f", ["engine=fake"]),
    "swept-option": ("-m model=tiny,mis", ["model=tiny,mistral"]),
    "root-key": ("num_p", ["num_prompts="]),
    "key": ("slo.tt", ["slo.ttft_ms="]),
    "key-of-the-selected-option": ("load=ramp load.sta", ["load.start_qps="]),
    "no-key-of-another-option": ("load=poisson load.sta", []),
    "key-of-an-option-that-may-be-selected": ("load.sta", ["load.start_qps="]),
    "internal-key": ("sweep.j", []),
    "choice": ("script.fail_on=in", ["script.fail_on=invalid"]),
    "boolean": ("script.stream=", ["script.stream=false", "script.stream=true"]),
    "flag": ("engine.args.max_num_s", ["engine.args.max_num_seqs="]),
    "flags-of-a-group": ("engine.ar", ["engine.args.", "engine.args="]),
    "dashes": ("--multi", ["--multirun"]),
    "dash-value": ("--cfg ", ["all", "hydra", "job"]),
    "directory": ("--config-dir ", []),
}


@pytest.mark.parametrize("name", CASES)
def test_candidates(name: str, vocabulary: Vocabulary) -> None:
    typed, expected = CASES[name]
    assert candidates(f"benchhydra {typed}", vocabulary, ["max_num_seqs", "port"]) == expected


def test_an_empty_line_offers_commands_groups_and_keys(vocabulary: Vocabulary) -> None:
    offered = candidates("benchhydra ", vocabulary)
    assert {"gate", "help", "version", "model=", "engine.", "qps="} <= set(offered)


def test_the_interpreter_of_the_engine_is_that_of_the_line() -> None:
    assert engine_python("benchhydra qps=1 engine.python=/opt/v/bin/python engine.a") == "/opt/v/bin/python"
    assert engine_python("benchhydra qps=1") is None


def test_flags_are_those_of_the_engines_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    packages = tmp_path / "venv" / "lib" / "python3.11" / "site-packages"
    (packages / "vllm-9.1.dist-info").mkdir(parents=True)
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir()
    python.write_text("""#!/bin/sh\necho '{"vllm": "9.1", "flags": ["made_up"]}'\n""")
    python.chmod(0o755)
    assert _vocabulary.read_flags(str(python)) is None
    _vocabulary.build(str(python))
    assert _vocabulary.read_flags(str(python)) == ["made_up"]
    assert (tmp_path / "cache" / "benchhydra" / "vllm-flags-9.1.json").is_file()


def test_an_interpreter_without_vllm_has_no_flags(tmp_path: Path) -> None:
    assert _vocabulary.read_flags(str(tmp_path / "bin" / "python")) == []


def query(line: str, cache: Path) -> list[str]:
    command = [str(BIN / "benchhydra"), "completion", "--query"]
    env = os.environ | {"COMP_LINE": line, "XDG_CACHE_HOME": str(cache)}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=True).stdout.split()


def test_an_answer_takes_little_cpu(cache: Path) -> None:
    def cpu_s() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    least_s = math.inf
    for _ in range(4):  # other programs on the same cores, and their caches, make some of them slower
        began_s = cpu_s()
        assert query("benchhydra engine=fa", cache) == ["engine=fake"]
        least_s = min(least_s, cpu_s() - began_s)
    assert least_s < LIMIT_S


def test_without_a_cache_the_subcommands_are_offered_and_the_rest_is_cached(tmp_path: Path) -> None:
    assert query("benchhydra compar", tmp_path) == ["compare"]
    deadline_s = time.monotonic() + 60
    while query("benchhydra engine=fa", tmp_path) != ["engine=fake"]:
        assert time.monotonic() < deadline_s, "nothing was cached in the background"
        time.sleep(0.5)


@pytest.fixture
def bash_script(cache: Path, tmp_path: Path) -> Path:
    path = tmp_path / "completion.bash"
    command = [str(BIN / "benchhydra"), "completion", "bash"]
    path.write_text(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)
    return path


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("line", "breaks", "reply"),
    [
        ("benchhydra engine=fa", " =:", "fake"),
        ("benchhydra engine=fa", " ", "engine=fake"),
        ("benchhydra gate --thr", " =:", "--thresholds"),
        ("benchhydra num_p", " =:", "num_prompts="),
    ],
)
def test_bash_replaces_the_part_that_readline_replaces(
    line: str, breaks: str, reply: str, cache: Path, bash_script: Path
) -> None:
    program = (
        'source "$1"; COMP_WORDBREAKS="$3"; COMP_LINE="$2"; COMP_POINT=${#2}; _benchhydra benchhydra; '
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    env = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(cache)}
    words = [str(BASH), "--norc", "-c", program, "bash", str(bash_script), line, breaks]
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines() == [reply], done.stderr


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
def test_tab_completes_in_a_terminal(cache: Path, bash_script: Path) -> None:
    """TAB in an interactive bash; then Ctrl-A turns the line into an argument of echo, which prints it."""
    terminal, bash_side = pty.openpty()
    env = {"PATH": f"{BIN}:{os.environ['PATH']}", "XDG_CACHE_HOME": str(cache), "TERM": "dumb", "PS1": "$ "}
    bash = subprocess.Popen(
        [str(BASH), "--norc", "--noprofile", "-i"],
        stdin=bash_side,
        stdout=bash_side,
        stderr=bash_side,
        env=env,
        start_new_session=True,
    )
    try:
        os.write(terminal, f"source {bash_script}; echo re''ady\n".encode())
        read_until(terminal, b"ready\r\n")
        os.write(terminal, b"benchhydra -m engine=fa\t")
        read_until(terminal, b"engine=fake")
        os.write(terminal, b"\x01echo typed: \n")
        read_until(terminal, b"\ntyped: benchhydra -m engine=fake")
    finally:
        bash.kill()
        bash.wait()
        os.close(bash_side)
        os.close(terminal)


def read_until(terminal: int, text: bytes) -> bytes:
    output, deadline_s = b"", time.monotonic() + 30
    while text not in output:
        assert time.monotonic() < deadline_s, output
        if select.select([terminal], [], [], 0.5)[0]:
            output += os.read(terminal, 4096)
    return output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_of_each_shell_parses(shell: str) -> None:
    command = [str(BIN / "benchhydra"), "completion", shell]
    script = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "completion --query" in script
    program = shutil.which(shell)
    if program is not None:
        assert subprocess.run([program, "-n"], input=script, text=True, timeout=120).returncode == 0


def test_a_shell_must_be_named() -> None:
    done = subprocess.run([str(BIN / "benchhydra"), "completion"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr == "error: completion needs the name of a shell\n  hint: benchhydra completion bash\n"

"""The program as a whole: its help, its subcommands, its exit codes, and what it does not import."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import OmegaConf

from benchhydra import __version__, commands, interruption, registry
from benchhydra.errors import ConfigError
from benchhydra.exit_codes import EXIT_CODES
from benchhydra.overrides import groups
from benchhydra.sweep.plan.compose import Composer

Program = Callable[..., Any]
SCRIPT = str(Path(sys.executable).with_name("benchhydra"))
HEAVY = ("mlflow", "transformers", "pyarrow", "pandas", "scipy", "matplotlib", "torch", "vllm")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Any], int]], None]:
    """``command(function)`` makes a subcommand ``probe``."""

    def make(function: Callable[[Any], int]) -> None:
        module = ModuleType("probe", "a probe")
        module.add_arguments = lambda parser: parser.add_argument("--level", type=int, default=0)  # type: ignore[attr-defined]
        module.run = function  # type: ignore[attr-defined]
        monkeypatch.setattr(commands, "command_names", lambda: ["probe"])
        monkeypatch.setattr(commands, "load_command", lambda name: module)

    return make


def raising(error: BaseException) -> Callable[[Any], int]:
    def run(args: Any) -> int:
        raise error

    return run


def test_help_names_everything(program: Program) -> None:
    lines = program("--help").out.splitlines()
    text = " ".join(line.strip() for line in lines)
    for group in (*registry.GROUPS, "model", "gpus", "sparsity", "launcher", "experiment"):
        assert f" {group} " in re.sub(" +", " ", text)
        options = groups.group_options(group)
        assert ", ".join(options) in text, group
        shown = [row.split() for row in program("help", group).out.splitlines()]
        for option, line in options.items():
            assert line, f"{group}={option} has no line"
            assert [option, *line.split()] in shown, f"{group}={option}"
    for name in commands.command_names():
        assert any(line.startswith(f"  {name} ") for line in lines)


def test_help_is_one_screen(process: Program) -> None:
    lines = process("--help").out.splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 120
    assert not any("***" in line for line in lines)  # what looks like a secret is hidden


def test_declared_options_are_those_that_are_registered(program: Program) -> None:
    """The help reads them from the source files, because importing all options takes half a second."""
    registry.discover()
    assert groups.declared_options() == {group: list(groups.group_options(group)) for group in groups.group_names()}


@pytest.mark.parametrize("name", commands.command_names())
def test_every_subcommand_has_help_of_its_own(name: str, program: Program) -> None:
    asked = program("help", name)
    assert asked.code == 0
    assert asked.out.startswith(f"usage: benchhydra {name} ")
    assert commands.summary(name) in asked.out
    for flag in ("-h", "--help"):
        with pytest.raises(SystemExit, match="0"):
            program(name, flag)


def test_help_on_exit_codes(program: Program) -> None:
    text = program("help", "exit-codes").out
    assert all(f"{code}  {meaning}" in text for code, meaning in EXIT_CODES.items())


def test_help_on_an_unknown_topic(program: Program) -> None:
    ran = program("help", "gat")
    assert (ran.code, ran.err) == (1, "error: no help on gat\n  hint: did you mean gate?\n")


@pytest.mark.parametrize("word", ["--version", "version"])
def test_version(word: str, program: Program) -> None:
    ran = program(word)
    assert (ran.code, ran.out) == (0, f"benchhydra {__version__}\n")


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("help", "gate"), ("gate", "-h")])
def test_help_imports_no_hydra(words: tuple[str, ...], process: Program) -> None:
    """Hydra takes 0.2 s to import: --help answers in a tenth of a second of CPU without it."""
    check = (
        "import sys\nfrom benchhydra import cli\n"
        f"try: cli.run({words!r})\nexcept SystemExit: pass\n"
        "print([name for name in ('hydra', 'omegaconf') if name in sys.modules])"
    )
    ran = process("-c", check, program=(sys.executable,))
    assert ran.out.splitlines()[-1] == "[]", ran.err


def test_help_leaves_out_groups_that_cannot_be_overridden(program: Program) -> None:
    assert not {"suite", "local"} & {line.strip().partition(" ")[0] for line in help_groups(program("--help").out)}


def help_groups(text: str) -> list[str]:
    return text.partition("groups:")[2].partition("subcommands:")[0].splitlines()


def test_no_arguments_print_help(program: Program) -> None:
    assert program().out == program("-h").out == program("qps=1", "--help").out


def test_module_and_console_script_are_one_program(process: Program) -> None:
    as_module, as_script = process("--help"), process("--help", program=(SCRIPT,))
    assert as_module.code == as_script.code == 0
    assert as_module.out == as_script.out != ""


def test_subcommand_is_called_with_its_arguments(program: Program, command: Any) -> None:
    command(lambda args: int(args.level))
    assert program("probe", "--level", "7").code == 7


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConfigError("wrong", hint="right"), 1, "error: wrong\n  hint: right\n"),
        (KeyboardInterrupt(), 130, "interrupted; results measured so far are saved\n"),
        (interruption.Terminated(), 143, "terminated; results measured so far are saved\n"),
    ],
)
def test_exit_codes(error: BaseException, code: int, text: str, program: Program, command: Any) -> None:
    command(raising(error))
    ran = program("probe")
    assert (ran.code, ran.err) == (code, text)


def test_sigterm_unwinds_the_stack(program: Program, command: Any) -> None:
    unwound = []

    def wait(args: Any) -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            unwound.append(True)
        return 0

    command(wait)
    assert program("probe").code == 143
    assert unwound == [True]


def swallowed(*_: Any, **__: Any) -> NoReturn:
    """SIGTERM comes, and what is put away on its way out fails."""
    try:
        signal.raise_signal(signal.SIGTERM)
    finally:
        raise AttributeError("half made")


def test_an_error_that_masks_an_interruption_counts_as_one(program: Program, command: Any) -> None:
    command(swallowed)
    assert program("probe").code == 143
    command(raising(ConfigError("wrong")))
    assert program("probe").code == 1, "the interruption was the other program's"


def test_a_sweep_ends_after_a_point_that_swallowed_an_interruption(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchhydra.run._PointRun.measure", swallowed)
    assert interrupted_sweep(program, tmp_path / "out") == ["interrupted", "skipped"]


def test_a_sweep_ends_after_a_composition_that_swallowed_an_interruption(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, compose = tmp_path / "out", Composer.__call__

    def in_the_job(self: Composer, overrides: Any) -> Any:
        return swallowed() if (out / "sweep.json").exists() else compose(self, overrides)

    monkeypatch.setattr(Composer, "__call__", in_the_job)
    assert interrupted_sweep(program, out) == ["skipped", "skipped"]


def interrupted_sweep(program: Program, out: Path) -> list[str]:
    """How the points of a sweep stand that was interrupted."""
    words = ("-m", "engine=fake", "model=custom", "model.id=m", "tracking=none", "qps=1,2", f"hydra.sweep.dir={out}")
    assert program(*words).code == 143
    sweep = json.loads((out / "sweep.json").read_text())
    assert sweep["stopped"] == "interrupted"
    return [point["status"] for point in sweep["points"]]


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str], Path]:
    """``plugin(text)`` makes a plugin of it, and returns where it is found."""

    def make(text: str) -> Path:
        package = tmp_path / "path" / registry.PLUGIN_NAMESPACE
        package.mkdir(parents=True)
        (package / "made.py").write_text(text)
        return package.parent

    return make


def test_an_interruption_in_generated_code_keeps_its_exit_code(process: Program, plugin: Callable[[str], Path]) -> None:
    """Python remembers it (dataclasses are such code), and would die of the signal after the program has ended."""
    path = plugin("""exec("import signal; signal.raise_signal(signal.SIGINT)")\n""")
    ran = process("options", PYTHONPATH=str(path))
    assert (ran.code, ran.err) == (130, "interrupted; results measured so far are saved\n")


def test_a_process_with_ray_exits_without_destructors(process: Program, plugin: Callable[[str], Path]) -> None:
    path = plugin(
        "import atexit, sys, types\n"
        "class Last:\n"
        "    def __del__(self, write=sys.stderr.write): write('taken down')\n"
        "last = Last()\n"
        "sys.modules['ray'] = types.ModuleType('ray')\n"
        "atexit.register(print, 'put away')\n"
    )
    ran = process("options", PYTHONPATH=str(path))
    assert ran.code == 0 and ran.out.endswith("put away\n") and ran.err == ""


def test_wrong_usage_of_a_subcommand_exits_with_2(process: Program) -> None:
    ran = process("metrics", "--no-such")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: no such option: --no-such\n  hint: benchhydra metrics --help\n"


def test_a_misspelt_option_of_a_subcommand(process: Program) -> None:
    ran = process("gate", "a", "b", "--tresholds", "x")
    assert ran.err == "error: no such option: --tresholds\n  hint: did you mean --thresholds? benchhydra gate --help\n"


def test_a_trace_is_shown_on_request(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert "Traceback" in program("engine=fake", "qps=-1").err


@pytest.mark.parametrize(
    "work",
    [
        "from benchhydra.cli import main, run",
        "from benchhydra import render; assert 'table' in render.formats('comparison')",
        "from benchhydra import cli; cli.run(['--help'])",
        "from benchhydra import cli; assert cli.run(['--cfg', 'job', 'engine=fake']) == 0",
        "from benchhydra import cli; assert cli.run(['options']) == 0",
    ],
    ids=["import", "renderers", "help", "compose", "options"],
)
def test_nothing_heavy_is_imported(work: str, process: Program) -> None:
    check = f"{work}\nimport sys\nprint('heavy:', [name for name in {HEAVY!r} if name in sys.modules])"
    ran = process("-c", check, program=(sys.executable,))
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1] == "heavy: []"


def test_arguments_override_presets_and_presets_override_defaults(program: Program) -> None:
    ran = program("experiment=minimal_serving", "description=mine", "--cfg", "job")
    assert ran.code == 0, ran.err
    assert "description: mine" in ran.out
    assert "id: mistralai/Mistral-7B-Instruct-v0.2" in ran.out


def test_one_point_is_measured_as_typed(program: Program, tmp_path: Path) -> None:
    words = ["engine=fake", "engine.ttft_ms=1", "engine.itl_ms=1", "num_prompts=3", "qps=inf", "tracking=none"]
    ran = program(*words, "script.fail_on=never", "hydra.run.dir=point", "dataset.output_tokens=4")
    assert ran.code == 0, ran.err
    assert (tmp_path / "point" / "result.json").is_file()
    assert "p99_ttft_ms" in ran.out or "TTFT" in ran.out


def test_one_point_composes_once(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    composed: list[list[str]] = []
    compose = ConfigLoaderImpl.load_configuration

    def counted(self: ConfigLoaderImpl, config_name: str, overrides: list[str], *args: Any, **more: Any) -> Any:
        composed.append(overrides)
        return compose(self, config_name, overrides, *args, **more)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counted)
    ran = program("engine=fake", "num_prompts=1", "qps=inf", "tracking=none", "script.fail_on=never")
    assert ran.code == 0, ran.err
    assert len(composed) == 1


def test_only_presets_set_the_hydra_mode() -> None:
    """What one composition rests on: presets alone have a mode."""
    ours = [path for path in registry.CONF_DIR.rglob("*.yaml") if path.parent.name != "experiment"]
    assert ours and not [path for path in ours if OmegaConf.select(OmegaConf.load(path), "hydra.mode") is not None]


def test_bash_completion_is_installed_and_answers(process: Program) -> None:
    installed = process("-sc", "install=bash", program=(SCRIPT,))
    assert installed.code == 0, installed.err
    assert "complete" in installed.out
    line = "benchhydra engine=f"
    asked = process("-sc", "query=bash", program=(SCRIPT,), COMP_LINE=line, COMP_POINT=str(len(line)))
    assert asked.out.split() == ["engine=fake"], asked.err

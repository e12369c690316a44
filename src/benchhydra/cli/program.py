"""The program: the first word is a subcommand, or all words are Hydra's. Errors end as one line and an exit code.

Exit codes: 0 success, 1 an error or a result that must not be believed, 2 wrong usage of a subcommand, 130 and 143
after SIGINT and SIGTERM, when everything that was started has been stopped.
"""

from __future__ import annotations

import argparse
import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from benchhydra import commands, interruption
from benchhydra.errors import BenchhydraError
from benchhydra.overrides import grammar
from benchhydra.renamed_keys import rename

HELP = ("-h", "--help")


def main() -> NoReturn:
    """Run the program on ``sys.argv``, and exit."""
    code = run(sys.argv[1:])
    # CPython remembers a SIGINT that came while code made from text ran (a dataclass), and kills the process with it at
    # exit. Running more such code clears that.
    exec("")
    if "ray" in sys.modules:  # its threads sometimes crash a process whose interpreter is torn down beside them
        _exit_without_teardown(code)
    sys.exit(code)


def run(words: Sequence[str]) -> int:
    """Run the program on these words, and return its exit code."""
    _handle_signals()
    work: Callable[[Sequence[str]], int] = _subcommand if words and words[0] in commands.command_names() else _hydra
    try:
        with interruption.reraising_interrupts():
            return work(words)
    except interruption.Terminated:
        return _end(143, "terminated; what was measured is kept")
    except KeyboardInterrupt:
        return _end(130, "interrupted; what was measured is kept")
    except BrokenPipeError:  # benchhydra ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BenchhydraError as error:
        _print_trace(error)
        return _end(1, f"error: {error}")


def _subcommand(words: Sequence[str]) -> int:
    name, *arguments = words
    command = commands.load_command(name)
    summary = (command.__doc__ or "").strip()
    parser = argparse.ArgumentParser(
        prog=f"benchhydra {name}", description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_arguments(parser)
    return command.run(parser.parse_intermixed_args(arguments))


def _hydra(words: Sequence[str]) -> int:
    from benchhydra import config  # start-up time: all options, which a subcommand may not need

    config.register()
    if not words or any(word in HELP for word in words):
        from benchhydra.cli import help  # start-up time: every subcommand, which a run does not need

        sys.stdout.write(help.help_text())
        return 0
    renamed, notes = rename(words)
    sys.stderr.write("".join(f"{note}\n" for note in notes))
    rewritten = grammar.rewrite(renamed)
    try:
        _run_hydra(rewritten)
    except BenchhydraError:
        raise
    except Exception as error:  # Hydra and OmegaConf raise many kinds: each becomes one line here
        _print_trace(error)
        from benchhydra.overrides.explain import explain  # start-up time: Hydra's composing, only for errors

        message, hint = explain(error, renamed, commands.command_names())
        raise BenchhydraError(message, hint=hint) from error
    return 0


def _run_hydra(words: Sequence[str]) -> None:
    import hydra
    from hydra._internal import utils
    from hydra._internal.hydra import Hydra

    from benchhydra.registry import CONF_DIR  # start-up time: a subcommand may not run anything
    from benchhydra.sweep.task_function import task_function

    with (
        _replaced(sys, "argv", [*(sys.argv or ["benchhydra"])[:1], *words]),
        _replaced(utils, "run_and_report", _raise_error),  # Hydra prints traces and exits; we print one line
        # Hydra composes everything once more (0.1 s) to look for a mode in the config
        _replaced(Hydra, "get_mode", _no_mode_in_config if grammar.decides_mode(words) else Hydra.get_mode),
    ):
        hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")(task_function)()


@contextmanager
def _replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """Set an attribute to a value, and restore it afterwards."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _no_mode_in_config(*_: Any, **__: Any) -> None:
    """The value of ``hydra.mode`` in our config: null, so that the command line decides."""


def _raise_error(func: Callable[[], Any]) -> Any:
    """Run Hydra, and raise the error that a single run returned (Hydra would print a second line about it)."""
    job_return = func()
    error = getattr(job_return, "_return_value", None)
    if isinstance(error, Exception):
        raise error
    return job_return


def _handle_signals() -> None:
    interruption.forget_signals()
    signal.signal(signal.SIGINT, _on_signal)
    signal.signal(signal.SIGTERM, _on_signal)


def _on_signal(number: int, frame: FrameType | None) -> NoReturn:
    """The first signal raises KeyboardInterrupt or Terminated; a second one ends the process at once."""
    signal.signal(number, signal.SIG_DFL)
    interruption.unwind(number)


def _exit_without_teardown(code: int) -> NoReturn:
    """Run the functions registered for exit, then end the process without tearing the interpreter down."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _end(code: int, line: str) -> int:
    """Print the program's last line, and return its exit code."""
    sys.stderr.write(f"{line}\n")
    return code


def _print_trace(error: Exception) -> None:
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        import traceback  # only for traces

        traceback.print_exception(error)

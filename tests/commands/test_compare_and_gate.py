"""compare and gate as they are typed: exit codes, formats, files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchhydra.analysis import rerun
from benchhydra.analysis.read_runs import read_runs
from benchhydra.analysis.runs import Runs
from benchhydra.cli import program
from benchhydra.result import Better, MetricValue, Reason, Result, Verdict

pytestmark = pytest.mark.usefixtures("own_place")

KEY = "0123456789abcdef"
Write = Callable[..., str]


@pytest.fixture
def write() -> Write:
    """Write runs of a point with 1 % noise below the working directory: write("base", 5, ttft_ms=100)."""

    def runs(
        name: str,
        count: int,
        ttft_ms: float = 100.0,
        *,
        verdict: Verdict = Verdict.VALID,
        key: str = KEY,
        overrides: list[str] | None = None,
    ) -> str:
        rng = np.random.default_rng([*name.encode()])
        for i in range(count):
            value = ttft_ms * float(np.exp(rng.normal(0, 0.01)))
            metric = MetricValue(key="mean_ttft_ms", unit="ms", value=value, better=Better.SMALLER)
            Result(
                status="ok",
                verdict=verdict,
                run_id=f"{name}{i}",
                point_key=key,
                script="serving",
                config={"qps": 2.0},
                epoch_time=float(i + 1),
                reasons=()
                if verdict is Verdict.VALID
                else (Reason(check="failed", severity=verdict, text="all failed"),),
                environment={"machine_class": "box"},
                metadata={} if overrides is None else {"overrides": overrides},
                metrics={metric.key: metric},
            ).write(Path(name) / str(i))
        return name

    return runs


def gate(*words: str) -> int:
    return program.run(["gate", *words])


def test_the_gates_exit_codes(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    base = write("base", 8)
    assert gate(base, write("fine", 8)) == 0
    assert "no regression" in capsys.readouterr().out
    assert gate(base, write("slow", 8, ttft_ms=115)) == 3
    assert "**mean_ttft_ms** +1" in capsys.readouterr().out
    assert gate(base, write("other", 8, key="f" * 16), "--history", base) == 0
    assert gate(base, write("invalid", 8, ttft_ms=1, verdict=Verdict.INVALID)) == 5
    assert "all failed" in capsys.readouterr().out


def test_nothing_comparable_exits_with_4(write: Write) -> None:
    two_points, third = write("a/x", 5), write("b", 5, key="f" * 16)
    write("a/y", 5, key="e" * 16)
    assert gate(str(Path(two_points).parent), third) == 4
    assert gate(write("one", 1), write("another", 1)) == 4


def test_against_history(write: Write) -> None:
    write("outputs/sweeps/x", 20)
    assert gate(write("fine", 5), "--against", "history") == 0
    assert gate(write("slow", 5, ttft_ms=115), "--against", "history") == 3
    assert gate("slow", "--against", "history", "--history", write("short", 3)) == 4


def test_wrong_arguments_exit_with_1_and_a_hint(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    base = write("base", 5)
    assert gate(base) == 1
    assert "--against history" in capsys.readouterr().err
    assert gate(base, "missing") == 1
    assert "missing" in capsys.readouterr().err
    assert gate(base, base, "--confirm") == 1
    assert "--no-confirm" in capsys.readouterr().err


def test_what_looks_worse_is_measured_again(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    base, slow = write("base", 8), write("slow", 8, ttft_ms=103.5, overrides=["qps=2"])
    asked: list[tuple[list[str], int]] = []

    def measure(overrides: list[str], directory: Path, repeats: int) -> Runs:
        asked.append((overrides, repeats))
        return read_runs(write(f"again{len(asked)}", repeats))

    monkeypatch.setattr(rerun, "measure_again", measure)
    assert gate(base, slow) == 0
    assert asked[0] == (["qps=2"], 8)
    assert gate(base, slow, "--no-confirm") == 3


def test_the_job_summary_and_the_comment_are_written(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    assert gate(write("base", 8), write("slow", 8, ttft_ms=115), "--comment", "c/body.md", "-o", "c/gate.md") == 3
    assert page.read_text().startswith("before\n## Benchmark gate: REGRESSION")
    assert Path("c/body.md").read_text() == Path("c/gate.md").read_text()


def test_gate_formats(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    base, slow = write("base", 8), write("slow", 8, ttft_ms=115)
    capsys.readouterr()
    assert gate(base, slow, "--format", "json") == 3
    data = json.loads(capsys.readouterr().out)
    assert (data["exit_code"], data["regressions"][0]["metric"]) == (3, "mean_ttft_ms")
    assert gate(base, slow, "--format", "junit") == 3
    assert ElementTree.fromstring(capsys.readouterr().out)[0].get("failures") == "1"


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("table", "worse"),
        ("markdown", "**worse**"),
        ("html", "<!doctype"),
        ("json", '"change": "worse"'),
        ("junit", "<failure"),
    ],
)
def test_compare_prints_and_never_fails(write: Write, capsys: pytest.CaptureFixture[str], kind: str, said: str) -> None:
    base, slow = write("base", 8), write("slow", 8, ttft_ms=115)
    assert program.run(["compare", base, slow, "--format", kind]) == 0
    assert said in capsys.readouterr().out
    assert program.run(["compare", base, slow, "--format", kind, "-o", "deep/er/file"]) == 0
    assert said in Path("deep/er/file").read_text()


def test_files_left_out_are_named(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    base = write("base", 5)
    Path("base/3/result.json").write_text("{")
    assert program.run(["compare", base, write("b", 5)]) == 0
    assert "base: skipped 1 file, the first: base/3/result.json" in capsys.readouterr().err


def test_thresholds_are_read(write: Write) -> None:
    Path("loose.yaml").write_text("min_effect_percent: 50\n")
    assert gate(write("base", 8), write("slow", 8, ttft_ms=115), "--thresholds", "loose.yaml") == 0


def test_an_empty_outputs_directory_counts_as_no_history(write: Write) -> None:
    Path("outputs/sweeps").mkdir(parents=True)
    assert gate(write("base", 8), write("fine", 8)) == 0

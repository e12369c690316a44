"""report as it is typed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.report.made import result, write_history

from benchhydra.cli import program


def piece(site: Path, name: str) -> Any:
    text = (site / "data" / f"{name}.js").read_text(encoding="utf-8")
    return json.loads(text[text.index(",") + 1 : text.rindex(")")])


@pytest.mark.usefixtures("own_place")
class TestReport:
    def test_report_is_written_to_a_folder(self, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert program.run(["report", str(tree), "-o", "site", "--title", "Nightly"]) == 0
        assert re.search(r"31 results, \d+ benchmarks, requests of 6 runs", capsys.readouterr().out)
        assert "<title>Nightly</title>" in Path("site/index.html").read_text(encoding="utf-8")
        assert piece(Path("site"), "index")["comparison"] is False

    def test_report_is_written_to_one_file(self, tree: Path) -> None:
        assert program.run(["report", str(tree / "history"), "-o", "out/r.html", "--requests", "0"]) == 0
        assert [path.name for path in Path("out").iterdir()] == ["r.html"]

    def test_report_without_arguments_is_of_outputs(self, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
        Path("outputs").symlink_to(tree / "history")
        assert program.run(["report"]) == 0
        assert "report: report/index.html" in capsys.readouterr().out
        assert piece(Path("report"), "index")["sources"] == ["outputs"]

    def test_copies_of_the_tracker_are_not_reported_twice(self, tree: Path) -> None:
        shutil.copytree(tree / "sweep", "outputs/sweep")
        shutil.copytree(tree / "sweep/q2-0", "outputs/mlartifacts/1/artifacts")
        assert program.run(["report", "--no-mlflow"]) == 0
        assert piece(Path("report"), "index")["results"] == 6

    def test_two_parts_of_one_source_are_compared(self, systems: Path) -> None:
        sides = ["--base", "max_num_seqs=64", "--candidate", "max_num_seqs=256"]
        assert program.run(["report", str(systems / "both"), "--compare", *sides, "--no-mlflow"]) == 0
        data = piece(Path("report"), "comparison")
        assert data["headline"].startswith("WORSE: mean_tpot_ms")
        assert (data["base"], data["candidate"]) == (
            f"{systems}/both max_num_seqs=64",
            f"{systems}/both max_num_seqs=256",
        )

    def test_several_sources_are_one_history(self, tree: Path) -> None:
        assert program.run(["report", str(tree / "history"), str(tree / "sweep"), "-o", "s", "--no-mlflow"]) == 0
        assert piece(Path("s"), "index")["results"] == 30

    def test_report_of_two_sources_has_a_comparison(self, capsys: pytest.CaptureFixture[str]) -> None:
        for side, factor in (("a", 1.0), ("b", 1.3)):
            for i in range(4):
                made = result(f"{side}{i}", ttft_ms=20 * factor * (1 + (i in (1, 2)) / 1000))  # noise without drift
                made.write(Path(side) / str(i))
        assert program.run(["report", "a", "b", "--compare", "-o", "s"]) == 0
        data = piece(Path("s"), "comparison")
        changes = {one["metric"]: one for one in data["points"][0]["metrics"]}
        assert (data["base"], data["candidate"]) == ("a", "b")
        assert changes["p99_ttft_ms"]["change"] == "worse"
        assert changes["p99_ttft_ms"]["ratio"] == pytest.approx(0.3, rel=0.01)
        (equal,) = (note for note in data["points"][0]["notes"] if note.startswith("p99_ttft_ms stands for"))
        assert "mean_ttft_ms" in equal
        assert changes["output_throughput"]["change"] == "same"
        assert data["benchmarks"].keys() >= {run["run"] for run in data["points"][0]["base"]}

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["a", "--compare"], "--compare takes two sources, not 1"),
            (["a", "--by", "qps"], "--base, --candidate and --by belong to a comparison"),
            (["a", "--requests", "-1"], "--requests -1"),
            (["a", "--repository", "nothing"], "--repository nothing is not a URL"),
            (["gone"], "no such file or directory: gone"),
        ],
    )
    def test_errors_are_one_line_and_a_hint(
        self, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        write_history(Path("a"))
        assert program.run(["report", *words, "-o", "site"]) == 1
        line, hint = capsys.readouterr().err.splitlines()
        assert said in line
        assert hint.startswith("  hint: ")
        assert not Path("site").exists()

    def test_commits_are_linked_to_the_repository(self, tree: Path) -> None:
        words = ["--repository", "https://user:secret@example.com/o/r.git"]
        assert program.run(["report", str(tree / "history"), "-o", "s", *words]) == 0
        assert piece(Path("s"), "index")["repository"] == "https://example.com/o/r"

    def test_sweep_that_was_not_logged_needs_no_mlflow(self, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert program.run(["report", str(tree / "sweep"), "-o", "s"]) == 0
        assert "mlflow" not in "".join(capsys.readouterr())

    def test_report_is_written_when_mlflow_cannot_be_reached(
        self, tree: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        link = tree / "sweep/q2-0/mlflow.json"
        link.write_text(json.dumps({"run_id": "0" * 32}), encoding="utf-8")
        try:
            assert program.run(["report", str(tree / "sweep"), "-o", "s", "--uri", "http://127.0.0.1:9"]) == 0
        finally:
            link.unlink()
        assert "not logged to MLflow (no answer from http://127.0.0.1:9" in capsys.readouterr().err
        assert Path("s/index.html").is_file()

"""Each example of docs/extending.md works as it stands there, from outside the package."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from tests.examples import DOCUMENT, benchhydra, examples, install

from benchhydra.artifacts import MLFLOW_FILE, RECORDS_FILE, RESULT_FILE, SERIES_FILE, SWEEP_FILE
from benchhydra.records import Records
from benchhydra.result import Better, MetricValue, Result, Verdict
from benchhydra.series import read_series

ROOT = DOCUMENT.parents[1]
FAKE = ("model=llama2", "engine=fake", "engine.ttft_ms=5", "engine.itl_ms=1", "script.fail_on=never")
LOAD = ("dataset.prompt_tokens=16", "dataset.output_tokens=4", "script.warmup_requests=0", "qps=200")
QUICK = (*FAKE, *LOAD, "tracking=none")


def measure(directory: Path, name: str, *words: str) -> Result:
    """One point with an example installed."""
    install(directory, name)
    done = benchhydra(directory, [*QUICK, "hydra.run.dir=point", *words])
    assert done.returncode == 0, done.stdout + done.stderr
    return Result.read(directory / "point")


def test_document_has_an_example_for_every_seam_each_shorter_than_40_lines() -> None:
    lengths = {name: len(text.splitlines()) for name, text in examples().items()}
    assert set(lengths) == {
        "cached",
        "tails",
        "enough",
        "tokenize",
        "memory",
        "chains",
        "halving",
        "comparison_csv",
    }
    assert max(lengths.values()) < 40, lengths
    assert DOCUMENT.read_text(encoding="utf-8").count("```python") == len(lengths)


@pytest.mark.slow
@pytest.mark.parametrize("check", [("ruff", "check"), ("ruff", "format", "--diff"), ("mypy",)], ids=" ".join)
def test_examples_pass_the_checks_of_the_package(tmp_path: Path, check: tuple[str, ...]) -> None:
    tool, *words = check
    settings = "--config-file" if tool == "mypy" else "--config"
    folder = install(tmp_path, *examples())
    command = [sys.executable, "-m", tool, *words, settings, str(ROOT / "pyproject.toml"), *map(str, folder.iterdir())]
    environment = os.environ | {"MYPYPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_link_leads_somewhere() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^a-z ]", "", line[3:].lower()).replace(" ", "-") for line in re.findall(r"^## .*", text, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        file, _, anchor = target.partition("#")
        assert not file or (DOCUMENT.parent / file).is_file(), target
        assert file or anchor in headings, target


def test_a_script(tmp_path: Path) -> None:
    result = measure(tmp_path, "cached", "script=cached", "num_prompts=20", "dataset.prompt_tokens=64")
    assert result.script == "cached"
    assert result.key_metrics == ("cached_ttft_ratio", "mean_ttft_ms")
    assert 0.1 < result.metrics["cached_ttft_ratio"].value < 10
    assert result.metrics["completed"].value == 20
    assert result.metadata["prefix_cache_hits"] > 0.5 * result.metadata["prefix_cache_queries"]
    assert "prefix_cache" not in {reason.check for reason in result.reasons}
    assert "script.stream" in benchhydra(tmp_path, ["options", "script=cached"]).stdout
    assert "cached" in benchhydra(tmp_path, ["--help"]).stdout


def test_metrics(tmp_path: Path) -> None:
    result = measure(tmp_path, "tails", "qps=inf", "num_prompts=1000")
    for name in ("ttft", "e2el"):
        p99, tail, slowest = (result.metrics[f"{of}_{name}_ms"].value for of in ("p99", "tail", "max"))
        assert p99 <= tail <= slowest
    assert "tail_tpot_ms" in benchhydra(tmp_path, ["metrics"]).stdout


def test_metrics_of_too_few_requests_are_absent(tmp_path: Path) -> None:
    metrics = measure(tmp_path, "tails", "num_prompts=20").metrics
    assert "p99_ttft_ms" in metrics
    assert not [name for name in metrics if name.startswith("tail_")]


@pytest.mark.parametrize(("count", "doubted"), [(20, True), (120, False)])
def test_a_rule_of_the_verdict(tmp_path: Path, count: int, doubted: bool) -> None:
    reasons = {reason.check: reason for reason in measure(tmp_path, "enough", f"num_prompts={count}").reasons}
    assert ("enough" in reasons) is doubted
    if doubted:
        assert reasons["enough"].severity is Verdict.SUSPECT
        assert reasons["enough"].text.startswith("20 completed requests: a load of ")


class _TokenizeServer(BaseHTTPRequestHandler):
    """Answers with a token for each word."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer({"data": [{"id": "llama2"}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/tokenize":  # it has no caches to empty
            self.send_error(404)
            return
        self._answer({"tokens": [len(word) for word in json.loads(body)["prompt"].split()]})

    def _answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def tokenize_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _TokenizeServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_api(tmp_path: Path, tokenize_url: str) -> None:
    install(tmp_path, "tokenize")
    attach = ("engine=attach", f"engine.base_url={tokenize_url}", "model=llama2", "model.tokenizer=word")
    words = (*attach, *LOAD, "api=tokenize", "num_prompts=20", "tracking=none", "script.fail_on=never")
    done = benchhydra(tmp_path, [*words, "hydra.run.dir=point"])
    assert done.returncode == 0, done.stdout + done.stderr
    result = Result.read(tmp_path / "point")
    assert result.metrics["completed"].value == 20
    assert result.metrics["mean_e2el_ms"].value > 0
    assert result.metrics["mean_input_tokens"].value == 16
    assert not [name for name in result.metrics if "ttft" in name or "tpot" in name or "output" in name]
    assert result.failures == {}


def test_a_probe(tmp_path: Path) -> None:
    result = measure(tmp_path, "memory", "num_prompts=60", "probes.interval_s=0.05")
    (series,) = (one for one in read_series(tmp_path / "point" / SERIES_FILE) if one.name == "memory.available_mib")
    assert series.unit == "MiB"
    assert len(series) >= 3
    assert result.metadata["least_available_memory_mib"] == pytest.approx(series.values.min())


@pytest.mark.slow
def test_series_of_a_probe_are_in_mlflow_and_on_the_report_page_of_the_run(tmp_path: Path) -> None:
    install(tmp_path, "memory")
    store = tmp_path / "mlflow.db"
    tracked = (f"tracking.uri=sqlite:///{store}", "tracking=mlflow", "hydra.run.dir=point", "num_prompts=60")
    done = benchhydra(tmp_path, [*FAKE, *LOAD, *tracked])
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "point" / MLFLOW_FILE).is_file()
    with sqlite3.connect(store) as connection:
        logged = connection.execute("select count(*) from metrics where key = 'memory/available_mib'").fetchone()
    assert logged[0] >= 2
    assert benchhydra(tmp_path, ["report", "point", "-o", "site", "--no-mlflow"]).returncode == 0
    (requests,) = (tmp_path / "site" / "data" / "requests").glob("*.js")
    assert '"memory.available_mib"' in requests.read_text(encoding="utf-8")


def test_a_load_with_a_pacing_of_its_own(tmp_path: Path) -> None:
    words = ("load=chains", "load.turns=4", "load.think_s=0.03", "qps=100", "num_prompts=40")
    result = measure(tmp_path, "chains", *words)
    assert result.failures == {}
    rows = Records.read(tmp_path / "point" / RECORDS_FILE)  # in the order in which they were scheduled
    begins_ms, ends_ms = ((times - rows.scheduled_ns.min()) / 1e6 for times in (rows.scheduled_ns, rows.done_ns))
    is_first = np.isclose(begins_ms % 40, 0, atol=1e-5)  # 10 chains of 4 turns at 100 requests/s begin 40 ms apart
    answers_ms = begins_ms[~is_first] - 30
    delays_ms = [np.abs(ends_ms - answer_ms).min() for answer_ms in answers_ms]
    assert is_first.sum() == 10
    assert max(delays_ms) < 1
    assert ((rows.sent_ns - rows.scheduled_ns) >= 0).all()


def test_a_load_with_a_pacing_of_its_own_runs_in_one_process(tmp_path: Path) -> None:
    install(tmp_path, "chains")
    done = benchhydra(tmp_path, [*QUICK, "load=chains", "load.processes=2", "num_prompts=8"])
    assert done.returncode == 1
    assert "load.processes=2" in done.stderr
    assert not list(tmp_path.glob("**/result.json"))


def test_a_search(tmp_path: Path) -> None:
    install(tmp_path, "halving")
    server = ("engine.max_concurrency=1", "engine.ttft_ms=50", "engine.itl_ms=0", "load=constant", "num_prompts=30")
    words = [*QUICK, *server, "qps=16", "search=halving", "search.limit_ms=500", "hydra.sweep.dir=sweep"]
    done = benchhydra(tmp_path, ["-m", *words])
    assert done.returncode == 0, done.stdout + done.stderr
    sweep = json.loads((tmp_path / "sweep" / SWEEP_FILE).read_text(encoding="utf-8"))
    (answer,) = sweep["answers"]
    assert 20 < answer["value"] < 32  # the server takes 20 a second; the 30th request waits longer than 500 ms at 30
    assert answer["low"] == answer["value"] < answer["high"] <= 1.2 * answer["value"]
    assert sweep["server_starts"] == 1
    assert len(list((tmp_path / "sweep").glob(f"*/{RESULT_FILE}"))) == answer["probes"] == len(sweep["points"]) > 3


def test_a_renderer(tmp_path: Path) -> None:
    install(tmp_path, "comparison_csv")
    for side, ttft_ms in (("old", 100.0), ("new", 150.0)):
        for number in range(3):
            metric = MetricValue(key="mean_ttft_ms", unit="ms", value=ttft_ms + number / 10, better=Better.SMALLER)
            Result(
                status="ok",
                verdict=Verdict.VALID,
                run_id=f"{side}{number}",
                point_key="0123456789abcdef",
                script="serving",
                config={"qps": 2.0},
                epoch_time=float(number + 1),
                metrics={metric.key: metric},
            ).write(tmp_path / side / str(number))
    done = benchhydra(tmp_path, ["compare", "old", "new", "--format", "csv"])
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader(io.StringIO(done.stdout))
    assert (row["metric"], row["verdict"]) == ("mean_ttft_ms", "worse")
    assert float(row["ratio"]) == pytest.approx(0.5, abs=0.01)
    assert "csv" in benchhydra(tmp_path, ["compare", "--help"]).stdout

"""Time the report with 20,000 results: writing it, and the page in headless Chromium.

    python benchmarks/report_size.py                     200 benchmarks of 100 runs each
    python benchmarks/report_size.py --points 20000      as many benchmarks as results
    python benchmarks/report_size.py --keep DIR          leave results and site in DIR

Results are synthetic, with the fields and metrics of real ones: 2 % noise, a step of 8 % in every fourth benchmark.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchhydra.artifacts import RESULT_FILE
from benchhydra.metrics import table
from benchhydra.result import (
    LEGACY_CHARTS,
    LEGACY_KEY_METRICS,
    Better,
    MetricValue,
    Reason,
    Result,
    Verdict,
    point_key,
)

LOADS = 5
DAY_S = 86_400
#: Seconds between the first runs of two benchmarks, so that no two runs have the same time.
APART_S = 60
#: What a serving benchmark measures, and so which metrics it has.
CAPABILITIES = {"requests", "latency", "stream", "tokens", "generated", "schedule"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=20_000)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="report-size-"))
    try:
        measure(folder, args.results, args.points)
    finally:
        if args.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def measure(folder: Path, results: int, points: int) -> None:
    """Make the results, write the report twice, open it; print figures."""
    start_s = time.monotonic()
    make(folder / "results", results, points)
    print(f"{results} results of {points} benchmarks made in {time.monotonic() - start_s:.1f} s")
    for name in ("first report", "second report (with the tree's index file)"):
        start_s = time.monotonic()
        command = [sys.executable, "-m", "benchhydra", "report", str(folder / "results"), "-o", str(folder / "site")]
        subprocess.run([*command, "--no-mlflow"], check=True)
        print(f"{name}: {time.monotonic() - start_s:.1f} s")
    sizes = [file.stat().st_size for file in (folder / "site").rglob("*") if file.is_file()]
    index_kb = (folder / "site" / "data" / "index.js").stat().st_size / 1000
    print(f"site: {len(sizes)} files, {sum(sizes) / 1e6:.0f} MB; index {index_kb:,.0f} kB")
    browse(folder / "site")


def make(root: Path, results: int, points: int) -> None:
    """Write synthetic results as a tree of directories."""
    rng = np.random.default_rng(0)
    for point in range(points):
        count = results // points + (point < results % points)
        factors = np.exp(rng.normal(0, 0.02, count))
        if point % 4 == 0:
            factors[count // 2 :] *= 1.08
        for run in range(count):
            write(root / f"p{point}" / f"r{run}", point, run, float(factors[run]))


def write(directory: Path, point: int, run: int, factor: float) -> None:
    """Write one result, without checking it against the schema, which would take most of the time."""
    import msgspec

    directory.mkdir(parents=True)
    (directory / RESULT_FILE).write_bytes(msgspec.json.encode(result(point, run, factor).to_json()))


def result(point: int, run: int, factor: float) -> Result:
    """A result of a serving benchmark; one in a hundred is INVALID, one in twenty SUSPECT."""
    config = _config(point)
    verdict = Verdict.INVALID if run % 100 == 57 else Verdict.SUSPECT if run % 20 == 7 else Verdict.VALID
    reasons = () if verdict is Verdict.VALID else (Reason(check="synthetic", severity=verdict, text="synthetic"),)
    return Result(
        status="ok",
        verdict=verdict,
        reasons=reasons,
        run_id=f"{point:05d}-{run:05d}",
        point_key=point_key(config),
        sweep_id=f"night-{run}" if point < LOADS else None,
        script="serving",
        model=config["model"]["id"],
        dataset="synthetic",
        config=config | {"seed": run, "repeat": 0},
        epoch_time=1.75e9 + DAY_S * run + APART_S * point,
        wall_s=60.0,
        engine_version=f"0.{20 + run // 30}.{run % 30 // 10}",
        environment=_environment(run),
        metadata={"command": f"benchhydra qps={config['qps']}", "completed": 100},
        metrics=_metrics(factor, config["qps"]),
        key_metrics=LEGACY_KEY_METRICS["serving"],
        charts=LEGACY_CHARTS["serving"],
        load_label=f"qps={config['qps']:g}",
    )


def _config(point: int) -> dict[str, Any]:
    qps = float(2 ** (point % LOADS))
    args = {"max_num_seqs": 64 + point // (8 * LOADS)}
    load = {"qps": qps, "duration_s": 60.0, "warmup_s": 0.0, "burstiness": 1.0, "steady": "fixed"}
    return {
        "script": {"api": "completions", "stream": True, "ignore_eos": True, "temperature": 0.0, "warmup_requests": 1},
        "model": {"id": f"org/model-{point // LOADS % 8}", "max_model_len": 4096},
        "dataset": {"prompt_tokens": 512, "output_tokens": 128, "prompt_shape": "fixed"},
        "load": load,
        "engine": {"args": args, "env": {}},
        "qps": qps,
        "num_prompts": 100,
    }


def _environment(run: int) -> dict[str, Any]:
    packages = {"python": "3.11.7", "numpy": "2.3.5", "benchhydra": "0.1.0"}
    host = {"name": "node", "cpu": "CPU", "cores": 64}
    return {
        "machine_class": "GPU-x1",
        "git": {"commit": hashlib.sha1(b"%d" % run).hexdigest()},
        "packages": packages,
        "host": host,
    }


def _metrics(factor: float, qps: float) -> dict[str, MetricValue]:
    metrics = {}
    for i, (name, declared) in enumerate(table().items()):
        if set(declared.needs) <= CAPABILITIES:
            direction = 1 if declared.better is Better.SMALLER else -1
            own_factor = 1 + 0.005 * np.sin(i * 12.9898 + factor * 1e4)
            value = (10 + 3 * i + qps) * factor**direction * own_factor
            metrics[name] = MetricValue(key=name, unit=declared.unit, value=float(value), better=declared.better)
    return metrics


def wait_for(page: Any, condition: str) -> None:
    """Wait for a condition in JavaScript; the page forbids the eval of Playwright's own wait."""
    while not page.evaluate(condition):
        page.wait_for_timeout(5)


def browse(site: Path) -> None:
    """Time pages, each in a fresh browser context, from navigation until they are drawn and respond."""
    from playwright.sync_api import sync_playwright

    index = (site / "index.html").resolve().as_uri()
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        times = {name: [] for name in ("history", "choose a filter", "benchmark")}
        for _ in range(5):
            page = browser.new_page()
            start_s = time.monotonic()
            page.goto(f"{index}#/history")
            page.wait_for_selector("html[data-ready] tbody tr")
            page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
            times["history"].append(time.monotonic() - start_s)
            start_s = time.monotonic()
            page.select_option("#filter-model", index=1)
            wait_for(page, "location.hash.includes('model=') && document.querySelector('tbody tr') !== null")
            page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
            times["choose a filter"].append(time.monotonic() - start_s)
            start_s = time.monotonic()
            page.click("tbody th a")
            page.wait_for_selector(".canvas canvas")
            page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
            times["benchmark"].append(time.monotonic() - start_s)
            page.close()
        browser.close()
    for name, seconds in times.items():
        print(f"{name}: {statistics.median(seconds):.2f} s (median of {len(seconds)}, worst {max(seconds):.2f} s)")


if __name__ == "__main__":
    main()

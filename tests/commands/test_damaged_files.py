"""Damaged files: named in one line and left out; all others are done, and the exit code says so."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchhydra import cli
from benchhydra.artifacts import read_json
from benchhydra.errors import ResultError
from benchhydra.result import Better, MetricValue, Result, Verdict

Run = Callable[..., tuple[int, str, str]]
GOOD = 2


def result(number: int) -> Result:
    value = MetricValue(key="mean_ttft_ms", unit="ms", value=10.0 + number, better=Better.SMALLER)
    return Result(
        status="ok",
        verdict=Verdict.VALID,
        run_id=f"run{number}",
        point_key=f"{number:016x}",
        script="serving",
        config={"qps": 1.0 + number, "model": {"id": "tiny"}},
        epoch_time=1_790_000_000.0 + number,
        model="tiny",
        dataset="synthetic",
        environment={"machine_class": "cpu-2c", "packages": {"python": "3.11.7"}},
        metadata={"request_rate": 1.0},
        metrics={"mean_ttft_ms": value},
    )


GOOD_TEXT = json.dumps(result(7).to_json())


def altered(**fields: Any) -> str:
    return json.dumps(result(7).to_json() | fields)


def metric(value: object) -> str:
    document = result(7).to_json()
    document["metrics"]["mean_ttft_ms"]["value"] = value
    return json.dumps(document)


DAMAGE: dict[str, str | bytes | None] = {
    "cut": GOOD_TEXT[:300],
    "empty": "",
    "a list": "[1]",
    "null": "null",
    "NaN": metric(float("nan")),
    "infinity": metric(float("inf")),
    "an infinite number": GOOD_TEXT.replace("17.0", "1e999"),
    "5,000 digits": GOOD_TEXT.replace('"repeat": 0', f'"repeat": {"9" * 5000}'),
    "500 digits": GOOD_TEXT.replace('"repeat": 0', f'"repeat": {"9" * 500}'),
    "a text as metric": metric("fast"),
    "100,000 levels": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "900 levels of config": altered(config={"x": json.loads("[" * 900 + "]" * 900)}),
    "no run_id": json.dumps({key: value for key, value in result(7).to_json().items() if key != "run_id"}),
    "another schema": altered(json_schema_version="2.0.0"),
    "config is a list": altered(config=[1]),
    "repeat is a text": altered(repeat="x"),
    "no UTF-8": b"\xff\xfe" + GOOD_TEXT.encode(),
    "no UTF-8 in a text": altered(model="MODEL").encode().replace(b"MODEL", b"\xe9\x80"),
    "null characters": "\0" * 1000,
    "a huge epoch": altered(epoch_time=1e300),
    "a negative epoch": altered(epoch_time=-5.0),
    "environment is null": altered(environment=None),
    "an unknown verdict": altered(verdict="GREAT"),
    "half a character": altered(description="\ud800"),
    "a directory": None,
}


@pytest.fixture
def run(own_place: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the program in an empty directory; returns its exit code and what it has printed."""

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.run(words)
        return code, *capsys.readouterr()

    return run


def write_results(damage: str | bytes | None = "") -> Path:
    for number in range(GOOD):
        result(number).write(Path(f"outputs/p{number}"))
    damaged = Path("outputs/damaged/result.json")
    damaged.parent.mkdir()
    if damage is None:
        damaged.mkdir()
    else:
        damaged.write_bytes(damage if isinstance(damage, bytes) else damage.encode(errors="surrogatepass"))
    return damaged


def rows() -> int:
    with Path("csv/results.csv").open(newline="") as file:
        return len(list(csv.reader(file))) - 1


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_result_is_named_and_the_others_are_done(name: str, run: Run) -> None:
    damaged = write_results(DAMAGE[name])
    with pytest.raises(ResultError, match=r"damaged/result\.json"):
        Result.read(damaged)
    code, _, err = run("export", "outputs", "--format", "csv", "-o", "csv")
    assert (code, rows()) == (1, GOOD) and str(damaged) in err
    code, out, err = run("archive", "outputs", "--root", "store")
    assert (code, len(out.splitlines())) == (1, GOOD) and str(damaged) in err
    code, out, err = run("report", "outputs", "-o", "page.html", "--no-mlflow")
    assert code in (0, 1) and Path("page.html").is_file()
    assert (str(damaged) in err) == (code == 1)
    assert out.startswith((f"{GOOD} results", f"{GOOD + 1} results"))
    code, _, err = run("history", "outputs")
    assert "Traceback" not in err


@pytest.mark.parametrize("name", ["cut", "100,000 levels", "no UTF-8", "5,000 digits"])
def test_the_reader_of_json_names_the_file(name: str, tmp_path: Path) -> None:
    damage = DAMAGE[name]
    (tmp_path / "x.json").write_bytes(damage if isinstance(damage, bytes) else str(damage).encode())
    with pytest.raises(ResultError) as error:
        read_json(tmp_path / "x.json")
    assert str(tmp_path / "x.json") in str(error.value) and "\n" not in str(error.value)


def test_one_damaged_file_among_those_of_an_archive(run: Run) -> None:
    for number in range(GOOD):
        result(number).write(Path(f"outputs/p{number}"))
    run("archive", "outputs", "--root", "store")
    file = next(Path("store").rglob("run1/result.json"))
    file.write_text("{")
    code, out, err = run("find", "--root", "store", "--format", "paths")
    assert (code, len(out.splitlines())) == (1, 1) and str(file) in err


def test_a_run_counts_once_wherever_copies_of_it_lie(run: Run) -> None:
    for number in range(GOOD):
        result(number).write(Path(f"outputs/sweeps/s/p{number}"))
        shutil.copytree(f"outputs/sweeps/s/p{number}", f"outputs/mlartifacts/1/{number}/artifacts")
    assert run("export", "outputs", "--format", "csv", "-o", "csv")[0] == 0
    assert rows() == GOOD
    code, out, _ = run("archive", "outputs", "--root", "store")
    assert (code, len(out.splitlines())) == (0, GOOD)
    code, out, _ = run("report", "outputs", "-o", "page.html", "--no-mlflow")
    assert code == 0 and out.startswith(f"{GOOD} results")
    assert "outputs/sweeps/s/p0" in Path("page.html").read_text()
    assert "mlartifacts" not in Path("page.html").read_text()


@pytest.mark.parametrize("damage", [b"", b"no parquet", b"PAR1" + b"\0" * 400 + b"PAR1"])
def test_damaged_records_are_named_and_the_report_is_made(damage: bytes, run: Run) -> None:
    for number in range(GOOD):
        result(number).write(Path(f"outputs/p{number}"))
    records = Path("outputs/p1/records.parquet")
    records.write_bytes(damage)
    code, out, err = run("report", "outputs", "-o", "page.html", "--no-mlflow")
    assert code == 1 and str(records) in err and out.startswith(f"{GOOD} results")

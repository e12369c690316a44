"""The archive: whole or not at all, never overwritten, nothing climbs out of it."""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra import archive
from benchhydra.artifacts import POINT_FILES
from benchhydra.commands import archive as archive_command
from benchhydra.commands import find as find_command
from benchhydra.errors import BenchhydraError, ResultError
from benchhydra.result import Result, Verdict

EPOCH = 1_790_000_000.0  # 2026-09-21


def made(run_id: str = "ab12", **facts: Any) -> Result:
    environment = {
        "machine_class": "cpu-2c",
        "packages": {"python": "3.11.7"},
        "git": {"commit": "c0ffee", "branch": "feature/x"},
    }
    known: dict[str, Any] = {"model": "tiny", "environment": environment, **facts}
    return Result(
        status="ok",
        verdict=Verdict.VALID,
        run_id=run_id,
        point_key="0123456789abcdef",
        script="serving",
        config={},
        epoch_time=EPOCH,
        **known,
    )


def point(directory: Path, result: Result) -> Path:
    result.write(directory)
    (directory / "server.log").write_text("ready\n")
    (directory / "texts.jsonl").write_text("not archived\n")
    return directory


def arguments(command: Any, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


def test_an_archive_path_has_every_level_of_nm_vllms_storage() -> None:
    place = archive.place_of(made(), event="schedule", label="aws-a10g")
    assert str(place.path) == "2026-09-21/schedule/aws-a10g/3.11.7/feature-x/c0ffee/ab12"


def test_unknown_facts_have_a_name() -> None:
    place = archive.place_of(made(environment={}), event="push")
    assert (place.label, place.python, place.branch, place.commit) == ("unknown",) * 4


@given(st.text(), st.text())
def test_no_name_escapes_the_archive_directory(label: str, branch: str) -> None:
    place = archive.place_of(made(), event="push", label=label, branch=branch)
    parts = place.path.parts
    assert len(parts) == len(archive.LEVELS)
    assert not any(part.startswith(".") for part in parts)


def test_the_files_of_a_point_are_copied(tmp_path: Path) -> None:
    source = point(tmp_path / "run", made())
    for name in ("records.parquet", "series.parquet", "config.yaml"):
        (source / name).write_text(name)
    stored = archive.archive_result(source, tmp_path / "root", archive.place_of(made(), event="push"))
    assert {path.name for path in stored.iterdir()} == set(POINT_FILES)
    assert (stored / "series.parquet").read_text() == "series.parquet"
    assert Result.read(stored).run_id == "ab12"
    assert (stored / "result.json").read_bytes() == (source / "result.json").read_bytes()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    source, place = point(tmp_path / "run", made()), archive.place_of(made(), event="push")
    stored = archive.archive_result(source, tmp_path / "root", place)
    before = (stored / "server.log").read_text()
    (source / "server.log").write_text("other\n")
    with pytest.raises(ResultError, match="already archived"):
        archive.archive_result(source, tmp_path / "root", place)
    assert (stored / "server.log").read_text() == before


def test_concurrent_writers_store_a_result_once_and_leave_no_partial_files(tmp_path: Path) -> None:
    source, place = point(tmp_path / "run", made()), archive.place_of(made(), event="push")
    outcomes: list[str] = []

    def store() -> None:
        try:
            archive.archive_result(source, tmp_path / "root", place)
            outcomes.append("stored")
        except ResultError:
            outcomes.append("refused")

    threads = [threading.Thread(target=store) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["refused"] * 7 + ["stored"]
    assert [path.name for path in (tmp_path / "root" / place.path).parent.iterdir()] == ["ab12"]


def test_a_failed_copy_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("benchhydra.archive.shutil.copy2", full)
    source, place = point(tmp_path / "run", made()), archive.place_of(made(), event="push")
    with pytest.raises(ResultError, match="No space left"):
        archive.archive_result(source, tmp_path / "root", place)
    assert list((tmp_path / "root" / place.path).parent.iterdir()) == []


def test_a_root_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    source = point(tmp_path / "run", made())
    (tmp_path / "root").write_text("")
    with pytest.raises(ResultError, match="cannot write to"):
        archive.archive_result(source, tmp_path / "root", archive.place_of(made(), event="push"))


def test_the_commands_store_a_sweep_and_find_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i, model in enumerate(("tiny", "llama2")):
        point(tmp_path / "sweep" / str(i), made(f"run{i}", model=model))
    words = [str(tmp_path / "sweep"), "--root", str(tmp_path / "root"), "--event", "push", "--branch", "main"]
    assert archive_command.run(arguments(archive_command, *words)) == 0
    with pytest.raises(ResultError, match="already archived"):
        archive_command.run(arguments(archive_command, *words))
    capsys.readouterr()
    root = ("--root", str(tmp_path / "root"))
    query = ("--format", "json", "--branch", "main", "--date", "2026-*", "--model", "llama2")
    assert find_command.run(arguments(find_command, *root, *query)) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["run_id"], row["event"], row["verdict"]) == ("run1", "push", "VALID")
    assert find_command.run(arguments(find_command, *root)) == 0
    assert "2 results" in capsys.readouterr().out
    assert find_command.run(arguments(find_command, *root, "--event", "schedule")) == 1


@pytest.mark.parametrize("directory", ["missing", "empty"])
def test_nothing_to_archive_is_an_error(tmp_path: Path, directory: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BenchhydraError, match=r"no result\.json"):
        archive_command.run(arguments(archive_command, str(tmp_path / directory), "--root", str(tmp_path / "root")))


def test_a_missing_archive_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchhydraError, match="is not a directory"):
        find_command.run(arguments(find_command, "--root", str(tmp_path / "missing")))

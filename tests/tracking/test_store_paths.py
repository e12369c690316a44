"""SQLite stores whose paths hold characters that mean something in a URL, or that SQLite cannot open."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchhydra.errors import BenchhydraError
from benchhydra.tracking import store
from benchhydra.tracking.mlflow import Mlflow

ODD_NAMES = ["a?b", "a#b", "a%2Fb", "a%20b", "a b", "ü 日本", "'q\" $HOME", "a&b=c", "x:y@z;w", "a\nb", "a+b"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_uri_names_the_file_that_it_was_made_of(name: str) -> None:
    from sqlalchemy import make_url

    file = Path("/data") / name / "mlflow.db"
    uri = store.sqlite_uri(file)
    assert make_url(uri).database == str(file) and not make_url(uri).query
    assert store.sqlite_file(uri) == file


def test_a_usual_path_is_written_as_it_is() -> None:
    assert store.sqlite_uri(Path("/data/my runs/mlflow.db")) == "sqlite:////data/my runs/mlflow.db"
    assert store.sqlite_file("sqlite:///outputs/mlflow.db") == Path.cwd() / "outputs/mlflow.db"


@pytest.mark.parametrize("uri", ["sqlite:////data/a?b/mlflow.db", "sqlite:////data/mlflow.db?mode=ro"])
def test_a_typed_question_mark_is_not_taken_for_a_file_of_a_shorter_name(uri: str) -> None:
    with pytest.raises(BenchhydraError, match="not the URI of an SQLite file") as caught:
        store.sqlite_file(uri)
    assert "%3F" in caught.value.hint


def test_a_store_in_an_odd_directory_is_created_there_and_nowhere_else(
    tmp_path: Path, point: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "work"
    odd = root / "a?b#c%2Fd&e=f ü"
    odd.mkdir(parents=True)
    result, directory = point()
    monkeypatch.chdir(odd)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert Mlflow(series=False).log(result, directory) is not None
    assert (odd / "outputs" / "mlflow.db").stat().st_size and list((odd / "outputs").glob("mlartifacts/*/*/*.json"))
    assert list(root.iterdir()) == [odd] and sorted(path.name for path in odd.iterdir()) == ["outputs"]


def test_a_path_that_sqlite_cannot_open_is_one_line_at_once(
    tmp_path: Path, point: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    deep = tmp_path.joinpath(*["x" * 200] * 3)
    start_s = time.monotonic()
    assert Mlflow(uri=store.sqlite_uri(deep / "mlflow.db")).log(*point()) is None
    assert time.monotonic() - start_s < 60
    assert "SQLite opens at most 500" in capfd.readouterr().err

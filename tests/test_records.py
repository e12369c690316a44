"""Rows survive everything that is done to them: files, merging, masks."""

from __future__ import annotations

import subprocess
import sys
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra.records import COUNTS, NEVER, TIMES, Anomaly, Phase, Recorder, Records, Status
from benchhydra.series import read_series


def recorded(spec: list[tuple[int, int, str]]) -> Records:
    """Rows of (scheduled time, number of gaps, error text or "")."""
    recorder = Recorder(len(spec))
    for row, (scheduled, gaps, error) in enumerate(spec):
        recorder.times["scheduled_ns"][row] = recorder.times["sent_ns"][row] = scheduled
        recorder.times["done_ns"][row] = scheduled + 100
        recorder.counts["phase"][row] = Phase.MEASURED
        recorder.add_gaps(row, array("f", [float(1000 * row + k) for k in range(gaps)]))
        if error:
            recorder.error(row, Status.RESET, error)
        else:
            recorder.counts["status"][row] = Status.OK
    return recorder.records()


def same(a: Records, b: Records) -> bool:
    columns = [*TIMES, *(name for name in COUNTS if name != "error"), "gaps_ns", "gap_offsets"]
    texts = [[r.errors[i] if i >= 0 else None for i in r.error] for r in (a, b)]
    return texts[0] == texts[1] and all(np.array_equal(getattr(a, c), getattr(b, c)) for c in columns)


specs = st.lists(
    st.tuples(st.integers(0, 10**15), st.integers(0, 5), st.sampled_from(["", "cut", "late"])), max_size=20
)


def test_rows_come_back_by_scheduled_time_with_their_gaps() -> None:
    rows = recorded([(30, 2, ""), (10, 1, "cut"), (20, 0, "")])
    assert rows.scheduled_ns.tolist() == [10, 20, 30]
    assert rows.gaps_ns.tolist() == [1000.0, 0.0, 1.0]
    assert rows.gap_offsets.tolist() == [0, 1, 1, 3]
    assert rows.failures() == {"reset": 1}


def test_rows_never_started_are_left_out() -> None:
    recorder = Recorder(3)
    recorder.counts["status"][1] = Status.OK
    assert len(recorder.records()) == 1


@pytest.mark.parametrize("spec", [[], [(5, 3, "")], [(7, 0, "cut"), (5, 2, ""), (6, 1, "late")]])
def test_parquet_gives_back_what_was_written(spec: list[tuple[int, int, str]], tmp_path: Path) -> None:
    rows = recorded(spec)
    rows.write(tmp_path / "records.parquet")
    assert same(Records.read(tmp_path / "records.parquet"), rows)
    assert [path.name for path in tmp_path.iterdir()] == ["records.parquet"]


@given(specs, st.integers(1, 4))
def test_parts_merge_to_the_whole(spec: list[tuple[int, int, str]], parts: int) -> None:
    unique = [(10 * i + at % 10, gaps, error) for i, (at, gaps, error) in enumerate(spec)]
    whole = recorded(unique)
    masks = [np.arange(len(whole)) % parts == k for k in range(parts)]
    assert same(Records.concat([whole.where(mask) for mask in masks]), whole)


def labelled() -> Records:
    recorder = Recorder(3)
    for row in range(3):
        recorder.times["scheduled_ns"][row] = 30 - row
        recorder.counts["status"][row] = Status.OK
    recorder.labels["adapter"] = array("i", [0, 1, 2])
    return recorder.records()


def test_labels_follow_their_rows(tmp_path: Path) -> None:
    rows = labelled()
    assert rows.labels["adapter"].tolist() == [2, 1, 0]
    assert rows.where(np.array([True, False, True])).labels["adapter"].tolist() == [2, 0]
    assert next(rows.blocks()).labels["adapter"].tolist() == [2, 1, 0]
    rows.write(tmp_path / "records.parquet")
    assert Records.read(tmp_path / "records.parquet").labels["adapter"].tolist() == [2, 1, 0]


def test_rows_without_a_label_merge_with_rows_that_have_it() -> None:
    merged = Records.concat([labelled(), recorded([(5, 0, "")])])
    assert merged.labels["adapter"].tolist() == [NEVER, 2, 1, 0]


def test_cancelled_requests_did_neither_complete_nor_fail() -> None:
    recorder = Recorder(2)
    recorder.error(0, Status.CANCELLED, "interrupted")
    recorder.error(1, Status.USER_CANCELLED, "cancelled after 1 s")
    rows = recorder.records()
    assert rows.cancelled.all() and not rows.failed.any() and not rows.completed.any()


@given(specs)
def test_a_mask_and_its_complement_hold_every_row_and_gap(spec: list[tuple[int, int, str]]) -> None:
    rows = recorded(spec)
    odd = np.arange(len(rows)) % 2 == 1
    a, b = rows.where(odd), rows.where(~odd)
    assert len(a) + len(b) == len(rows)
    assert len(a.gaps_ns) + len(b.gaps_ns) == len(rows.gaps_ns)


def test_a_request_of_200_chunks_costs_under_a_kilobyte() -> None:
    count, gaps = 1000, array("f", [1.0] * 199)
    recorder = Recorder(count)
    for row in range(count):
        recorder.add_gaps(row, gaps)
    columns: list[Any] = [*recorder.times.values(), *recorder.counts.values(), recorder.gap_start, recorder.gap_count]
    held = sum(len(column) * column.itemsize for column in [*columns, recorder.gaps_ns])
    assert held / count < 1000


def test_spans_have_no_first_token() -> None:
    rows = Records.of_spans([1, 2], [5, 9])
    assert rows.completed.all() and (rows.first_ns == NEVER).all() and (rows.output_tokens == NEVER).all()


def test_no_parts_is_an_error() -> None:
    with pytest.raises(ValueError, match="no records"):
        Records.concat([])


def test_writing_a_runs_files_does_not_import_pandas(tmp_path: Path) -> None:
    """It takes half a second, at the end of every point."""
    program = """
import sys
from pathlib import Path
from benchhydra.records import Records
from benchhydra.request_series import per_second_series
from benchhydra.series import write_series
rows = Records.of_spans([0, 10**9], [10**9, 2 * 10**9])
rows.write(Path("records.parquet"))
write_series(per_second_series(rows), Path("series.parquet"))
sys.exit("pandas" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path).returncode == 0
    assert len(Records.read(tmp_path / "records.parquet")) == 2
    assert {one.name for one in read_series(tmp_path / "series.parquet")} >= {"client.sent_rps", "client.in_flight"}


def test_a_file_of_a_version_without_anomalies_has_none(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    file = tmp_path / "records.parquet"
    recorded([(5, 3, ""), (6, 1, "late")]).write(file)
    pq.write_table(pq.read_table(file).drop_columns(["anomalies"]), file)
    assert Records.read(file).anomalies.tolist() == [0, 0]


def test_every_failure_class_fails_and_cancelled_does_not() -> None:
    recorder = Recorder(len(Status))
    for row, status in enumerate(Status):
        recorder.counts["status"][row] = status
    rows = recorder.records()
    assert rows.completed.tolist() == [status in (Status.OK, Status.SHORT) for status in Status]
    cancelled = (Status.CANCELLED, Status.USER_CANCELLED)
    assert rows.failed.tolist() == [status > Status.SHORT and status not in cancelled for status in Status]


def test_anomalies_are_bits_of_a_row() -> None:
    recorder = Recorder(2)
    recorder.counts["status"][0] = recorder.counts["status"][1] = Status.OK
    recorder.counts["anomalies"][1] = Anomaly.TOTAL_DIFFERS | Anomaly.REPEATED
    rows = recorder.records()
    assert rows.has(Anomaly.REPEATED).tolist() == rows.has(Anomaly.TOTAL_DIFFERS).tolist() == [False, True]
    assert not rows.has(Anomaly.SEVERAL_CHOICES).any()

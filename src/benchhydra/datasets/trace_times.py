"""Recorded send times of a data file: their unit, and their distance from the first one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchhydra.datasets.data_file import DataRecord
from benchhydra.datasets.record_fields import InvalidRecord, RecordFields
from benchhydra.errors import DatasetError

#: Seconds per unit of ``dataset.time_unit``.
UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
TIME_UNITS = ("auto", *UNITS_S)
#: The smallest number that is a time since 1970 in a unit: times of 1973 and later. Smaller ones are relative.
SINCE_1970 = {"ns": 1e17, "us": 1e14, "ms": 1e11, "s": 1e8}
#: Column that is always in seconds.
SECONDS_COLUMN = "send_at_s"
#: Names of the column with the time; a configured column takes the place of all of them.
TIME_NAMES = (SECONDS_COLUMN, "timestamp")
#: A later time is an error in the data, and could not be sent: 31 years.
LATEST_S = 1e9


class TraceSettings(Protocol):
    """The settings of a dataset with send times."""

    columns: dict[str, str]
    time_unit: str

    @property
    def source(self) -> str: ...


@dataclass(frozen=True)
class TraceTimes:
    """How the times of one file are read. first_s: the first record's, in seconds; None if no record has a time.

    unit: of numbers; "" if it is not clear, which is an error only if the times are used.
    """

    source: str
    columns: Mapping[str, str]
    names: tuple[str, ...]
    unit: str
    first_s: float | None
    longest: float

    @classmethod
    def of(
        cls,
        records: Sequence[DataRecord],
        settings: TraceSettings,
        *,
        names: tuple[str, ...] = TIME_NAMES,
        unit: str | None = None,
    ) -> TraceTimes:
        """Return the times of records in the file's order. unit: what numbers are if the user does not say it."""
        columns = {field: column for field, column in settings.columns.items() if field == names[0]}
        valid = [time for record in records if (time := _valid_time(record, columns, names)) is not None]
        numbers = [value for column, value, is_number in valid if is_number]
        if settings.time_unit != "auto":
            chosen = settings.time_unit
        else:
            in_seconds = bool(valid) and valid[0][0] == SECONDS_COLUMN
            chosen = "s" if in_seconds else unit or _recognized_unit(numbers)
        first = valid[0] if valid else None
        first_s = None if first is None else first[1] * (UNITS_S.get(chosen, 1.0) if first[2] else 1.0)
        return cls(settings.source, columns, names, chosen, first_s, max(numbers, default=0.0))

    def relative_s(self, record: DataRecord) -> float | None:
        """Return the record's time in seconds from the first one; None without a time, or if the unit is not clear.

        Raises DatasetError if the time cannot be used.
        """
        try:
            time = RecordFields(record, self.columns).time(*self.names)
        except InvalidRecord as error:
            raise DatasetError(f"{record.place}: {error.field}: {error.reason}") from error
        if time is None or self.first_s is None or (time[2] and not self.unit):
            return None
        column, value, is_number = time
        relative_s = value * (UNITS_S[self.unit] if is_number else 1.0) - self.first_s
        if abs(relative_s) > LATEST_S:
            text = f"the send time {value:g} is {relative_s:.3g} s from the first one"
            raise DatasetError(f"{record.place}: {column}: {text}", hint="dataset.time_unit=ms, us or ns")
        return relative_s

    def increasing_s(self, records: Iterable[DataRecord]) -> list[float] | None:
        """Return the times of all records; None if none has one. Raises DatasetError if one is missing or decreases."""
        if self.first_s is None:
            return None
        if not self.unit:
            raise self._unclear_unit()
        times_s: list[float] = []
        for record in records:
            relative_s = self.relative_s(record)
            if relative_s is None:
                raise DatasetError(f"{record.place} has no send time, which load=trace needs")
            if relative_s < (times_s[-1] if times_s else 0.0):
                text = f"the send time, {relative_s:g} s from the first one, is before that of the record above"
                raise DatasetError(f"{record.place}: {text}", hint="sort the file by time")
            times_s.append(relative_s)
        return times_s

    def _unclear_unit(self) -> DatasetError:
        column = self.columns.get(self.names[0], self.names[-1])
        text = f"{self.source}: the numbers under {column!r} may be seconds or milliseconds"
        return DatasetError(
            f"{text}: whole numbers up to {self.longest:g}",
            hint="dataset.time_unit=ms, as in Mooncake's traces, or dataset.time_unit=s",
        )


def _valid_time(
    record: DataRecord, columns: Mapping[str, str], names: tuple[str, ...]
) -> tuple[str, float, bool] | None:
    try:
        return RecordFields(record, columns).time(*names)
    except InvalidRecord:
        return None  # it is refused when it is used


def _recognized_unit(numbers: Sequence[float]) -> str:
    """Return the unit of times since 1970 by their size, or seconds if one is a fraction; "" if it is not clear."""
    longest = max(numbers, default=0.0)
    for unit, least in SINCE_1970.items():
        if min(numbers, default=0.0) >= least:
            return unit
    return "s" if any(value != int(value) for value in numbers) or not longest else ""

"""The base of datasets that are read from a file: which records are used, and what is said of those left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from benchhydra.datasets import Dataset
from benchhydra.datasets.data_file import DataRecord, read_data_file
from benchhydra.datasets.files import cached_download, is_url, local, require_https
from benchhydra.datasets.record_fields import InvalidRecord, RecordFields, check_columns, column_names
from benchhydra.errors import DatasetError
from benchhydra.progress import Progress
from benchhydra.registry import knob

T = TypeVar("T")
#: How many reasons for leaving records out are listed.
LISTED_REASONS = 3


@dataclass(kw_only=True)
class FileDataset(Dataset):
    """A dataset whose records come from a file or an https URL."""

    path: str = knob("???", "file or https URL: JSON lines, a JSON array, Parquet or CSV, also compressed")
    columns: dict[str, str] = knob({}, "the file's columns, by the field that they hold, where they have other names")
    allow_repeat: bool = knob(False, "repeat prompts if there are too few")

    #: The fields that ``columns`` may name; without the first, a record cannot be used.
    field_names: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_columns(self.columns, self.field_names)

    @property
    def source(self) -> str:
        """Where the records come from, for messages."""
        return self.path

    def prepare(self, progress: Progress) -> None:
        """Download what is not on this machine, once."""
        self.files(progress)

    def files(self, progress: Progress) -> list[Path]:
        """Return the files with the records, downloaded unless they are on this machine. Raises DatasetError."""
        return [local(self.path, progress)]

    def local_files(self) -> list[Path] | None:
        """Return the files if they can be read without the network; None if they must be downloaded first."""
        if not is_url(self.path) or cached_download(self.path).exists():
            return [local(self.path, Progress())]
        require_https(self.path)
        return None

    def fields_of(self, record: DataRecord) -> RecordFields:
        """Return the record's fields under the names of this dataset. Raises InvalidRecord."""
        return RecordFields(record, self.columns)

    def refuse(self, record: DataRecord, error: InvalidRecord) -> DatasetError:
        """Return the error for a record that cannot be used, with its place, field and reason."""
        return DatasetError(f"{record.place}: {error.field}: {error.reason}", hint=self.hint(error.field, record))

    def require(self, available: int, needed: int) -> None:
        """Raise DatasetError if there are fewer prompts than needed, and they may not be repeated."""
        if available < needed and not (self.allow_repeat and available):
            hint = f"num_prompts={available}, or dataset.allow_repeat=true" if available else "another dataset.path"
            raise DatasetError(f"{self.source} has only {available} prompts, but {needed} are needed", hint=hint)

    def hint(self, field: str, record: DataRecord) -> str:
        """Return what to type about a field that cannot be used; "" if nothing helps but mending the record."""
        column = self.columns.get(field, field)
        return f"dataset.columns.{field}=COLUMN, one of {column_names(record)}" if column not in record.values else ""


@dataclass
class UsableRecords(Generic[T]):
    """What was made of the usable records, in the file's order, and how many were left out, by reason."""

    items: list[T] = field(default_factory=list)
    total: int = 0
    omitted: dict[str, tuple[int, str]] = field(default_factory=dict)
    first: DataRecord | None = None

    def add(self, record: DataRecord, parse: Callable[[DataRecord], T]) -> None:
        """Add what ``parse`` makes of a record, or the reason why it cannot be used."""
        self.total += 1
        self.first = self.first or record
        try:
            self.items.append(parse(record))
        except InvalidRecord as error:
            reason = f"{error.field.partition('[')[0]}: {error.reason}"
            count, place = self.omitted.get(reason, (0, record.place))
            self.omitted[reason] = count + 1, place

    def sentence(self, source: str) -> str:
        """Return how many records were left out, and why; "" if none was."""
        count = sum(number for number, _ in self.omitted.values())
        if not count:
            return ""
        commonest = sorted(self.omitted.items(), key=lambda item: -item[1][0])
        listed = [f"{number} ({reason}; first at {place})" for reason, (number, place) in commonest[:LISTED_REASONS]]
        more = sum(number for _, (number, _) in commonest[LISTED_REASONS:])
        text = "; ".join([*listed, *([f"{more} for other reasons"] if more else [])])
        return f"{source}: {count} of {self.total} records were left out: {text}"


#: The last file that was read, so that checking and sampling it, and every point of a sweep, read it once.
_last_read: dict[Any, UsableRecords[Any]] = {}


def read_usable(dataset: FileDataset, files: Iterable[Path], parse: Callable[[DataRecord], T]) -> UsableRecords[T]:
    """Return the usable records of the files. Raises DatasetError if a file cannot be read, or no record is usable."""
    files = list(files)
    key = (repr(dataset), *((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.exists()))
    if key in _last_read:
        return _last_read[key]
    usable: UsableRecords[T] = UsableRecords()
    for file in files:
        for record in read_data_file(file):
            usable.add(record, parse)
    if not usable.items:
        hint = dataset.hint(dataset.field_names[0], usable.first) if usable.first is not None else ""
        raise DatasetError(f"no record can be used: {usable.sentence(dataset.source)}", hint=hint)
    _last_read.clear()
    _last_read[key] = usable
    return usable

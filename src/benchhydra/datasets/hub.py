"""``dataset=hub``: any dataset on the hub, whose columns are mapped to prompts and outputs."""

from __future__ import annotations

from pathlib import Path

from benchhydra.datasets import BATCH
from benchhydra.datasets.data_file import DataRecord
from benchhydra.datasets.file_dataset import read_usable
from benchhydra.datasets.files import hub
from benchhydra.datasets.jsonl import Jsonl, OwnRequest
from benchhydra.datasets.record_fields import InvalidRecord
from benchhydra.errors import ConfigError
from benchhydra.progress import Progress
from benchhydra.registry import knob, option


@option("dataset", "hub")
class Hub(Jsonl):
    """Records of a split on the hub, as those of dataset=jsonl; those that cannot be used are left out, and counted."""

    path: str = knob("", "do not set: dataset.repo names the data")
    repo: str = knob("???", "dataset on the hub: OWNER/NAME")
    split: str = knob("train", "split: what the names of its files contain")
    subset: str | None = knob(None, "folder of the repository that holds the split; null: all")
    revision: str | None = knob(None, "branch, tag or commit; refs/convert/parquet: the hub's own Parquet files")
    shuffle: bool = knob(True, "draw prompts in random order; else in the files' order")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.path:
            raise ConfigError(f"dataset.path={self.path} has no effect on dataset=hub", hint="dataset=jsonl")
        self.path = ""

    @property
    def source(self) -> str:
        return self.repo

    def local_files(self) -> list[Path] | None:
        """Return None: only the hub knows which files a split has."""
        return None

    def files(self, progress: Progress) -> list[Path]:
        """Return the files of the split, from the hub or its cache. Raises DatasetError."""
        return hub(self.repo, self.split, progress, subset=self.subset, revision=self.revision)

    def warnings(self) -> tuple[str, ...]:
        sentence = read_usable(self, self.files(Progress()), self._request).sentence(self.source)
        return (*super().warnings(), *((sentence,) if sentence else ()))

    def _request(self, record: DataRecord) -> OwnRequest:
        request = self._read(record, self.fields_of(record))
        if request.group != self._mapped_group():  # known before anything is downloaded
            field = "texts" if request.group == BATCH else "documents"
            raise InvalidRecord(field, f"several texts are only taken from a column that dataset.columns.{field} names")
        return request

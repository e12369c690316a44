"""What a search has found in one study, as journals and ``sweep.json`` hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from benchhydra.search import Answer


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """The answer of a search (by its option's name), or the error that ended it.

    overrides: those that all points of the study share: what the answer is about.
    """

    search: str
    overrides: tuple[str, ...]
    answer: Answer | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The result as one flat JSON object, without what is unknown."""
        answer = asdict(self.answer) if self.answer is not None else {}
        data = {"search": self.search, "overrides": list(self.overrides), **answer, "error": self.error}
        return {key: value for key, value in data.items() if value not in (None, "")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        fields = {name: data[name] for name in Answer.__dataclass_fields__ if name in data}
        return cls(
            search=data["search"],
            overrides=tuple(data["overrides"]),
            answer=Answer(**fields) if fields else None,
            error=data.get("error"),
        )

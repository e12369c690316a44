"""The result of one study of a search, as stored in journals and ``sweep.json``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from benchhydra.search import Answer


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """The answer of one study, or the error that ended it. search: the name of the search's option.

    overrides: those that all points of the study share; the answer holds for them. question: the same for studies of
    other sweeps that ask the same; "" if the search takes no earlier answers. cut: why the study was stopped early, as
    a trial of another search.
    """

    search: str
    overrides: tuple[str, ...]
    answer: Answer | None = None
    error: str | None = None
    question: str = ""
    cut: str = ""

    def to_json(self) -> dict[str, Any]:
        """The result as one flat JSON object; fields that are None or empty are left out."""
        answer = self.answer.to_json() if self.answer is not None else {}
        data = {"search": self.search, "overrides": list(self.overrides), **answer, "error": self.error}
        data |= {"question": self.question, "cut": self.cut}
        return {key: value for key, value in data.items() if value not in (None, "")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of ``to_json``."""
        return cls(
            search=data["search"],
            overrides=tuple(data["overrides"]),
            answer=Answer.from_json(data) if "value" in data else None,
            error=data.get("error"),
            question=data.get("question", ""),
            cut=data.get("cut", ""),
        )

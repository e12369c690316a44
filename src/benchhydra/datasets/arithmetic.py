"""``dataset=arithmetic``: sums, whose answers are known. Models of a few billion parameters solve nearly all."""

from __future__ import annotations

import numpy as np

from benchhydra.datasets._tasks import Task, TaskDataset
from benchhydra.errors import ConfigError
from benchhydra.registry import knob, option

MOST_DIGITS = 9


@option("dataset", "arithmetic")
class Arithmetic(TaskDataset):
    """Sums of two numbers, after examples of sums."""

    digits: int = knob(2, "digits of each number")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.digits <= MOST_DIGITS:
            raise ConfigError(f"dataset.digits={self.digits} must be from 1 to {MOST_DIGITS}")

    def tasks(self, count: int, rng: np.random.Generator) -> list[Task]:
        pairs = rng.integers(10 ** (self.digits - 1), 10**self.digits, size=(count, 2)).tolist()
        return [Task(f"{left} + {right} =", str(left + right)) for left, right in pairs]

    def as_text(self, task: Task) -> str:
        return task.question

    def as_message(self, task: Task) -> str:
        return task.question

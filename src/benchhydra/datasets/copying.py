"""``dataset=copying``: words to copy. A model of any size can; an engine that loses part of the context cannot."""

from __future__ import annotations

import numpy as np

from benchhydra.datasets._tasks import Task, TaskDataset
from benchhydra.errors import ConfigError
from benchhydra.registry import knob, option

#: Common words, each one token of most vocabularies.
_WORDS_TEXT = (
    "apple river stone cloud table green horse music paper light water house train bread chair glass metal ocean plant "
    "sugar tiger uncle voice wheel yellow zebra bridge candle doctor engine forest garden hammer island jacket kitten "
    "lemon market needle orange pencil queen rabbit silver tunnel violin window winter button castle dragon feather "
    "guitar honey jungle ladder magnet napkin onion parrot rocket saddle ticket velvet wallet basket bottle camera "
    "carpet cherry circle coffee copper corner cotton desert dinner finger flower harbor helmet insect kettle leather "
    "letter marble mirror mother museum number office palace pepper pillow planet pocket potato prison puzzle ribbon "
    "school shadow shower signal spider spring square stream street summer temple tomato turtle valley village"
)
WORDS = tuple(_WORDS_TEXT.split())


@option("dataset", "copying")
class Copying(TaskDataset):
    """Random words to copy, after examples of copying. An engine that cuts the context loses words or examples."""

    words: int = knob(6, "words to copy")

    def __post_init__(self) -> None:
        super().__post_init__()
        most = len(WORDS) // (self.examples + 1)
        if not 1 <= self.words <= most:
            raise ConfigError(f"dataset.words={self.words} must be from 1 to {most} with {self.examples} examples")

    def tasks(self, count: int, rng: np.random.Generator) -> list[Task]:
        """Draw texts that have no word in common: small models leave out words that they have seen before."""
        words = [WORDS[i] for i in rng.permutation(len(WORDS)).tolist()]
        texts = [" ".join(words[i * self.words : (i + 1) * self.words]) for i in range(count)]
        return [Task(text, text) for text in texts]

    def as_text(self, task: Task) -> str:
        return f"Input: {task.question}\nOutput:"

    def as_message(self, task: Task) -> str:
        return f"Repeat: {task.question}"

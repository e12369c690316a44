"""``dataset=images``: random prompts with images, made ones of a size or those of a folder, for ``api=chat``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from itertools import cycle, islice

import numpy as np

from benchhydra.datasets import Media, Prompt
from benchhydra.datasets._images import made_png
from benchhydra.datasets._media_files import IMAGE_TYPES, media_files, read_media
from benchhydra.datasets.synthetic import Synthetic
from benchhydra.errors import ConfigError
from benchhydra.registry import knob, option

LARGEST_PIXELS = 16384


@option("dataset", "images")
class Images(Synthetic):
    """Prompts of random words, as dataset=synthetic has them, with images: all different, unless they are files."""

    media = "image"

    count: int = knob(1, "images of each prompt", unit="images")
    width: int = knob(512, "width of made images", unit="pixels")
    height: int = knob(512, "height of made images", unit="pixels")
    path: str | None = knob(None, "folder of PNG, JPEG or WebP files to send in turn; null: images are made")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("count", "width", "height"):
            if not 1 <= getattr(self, name) <= LARGEST_PIXELS:
                raise ConfigError(f"dataset.{name}={getattr(self, name)} must be from 1 to {LARGEST_PIXELS}")

    def check(self, count: int) -> None:
        super().check(count)
        if self.path is not None:
            media_files(self.path, IMAGE_TYPES)

    def has_equal_images(self) -> bool:
        return self.path is None

    def with_media(self, prompts: Iterable[Prompt], rng: np.random.Generator) -> Iterator[Prompt]:
        images = self._images(rng)
        for prompt in prompts:
            media = tuple(islice(images, self.count))
            yield dataclasses.replace(prompt, media=media, labels={**prompt.labels, "images": self.count})

    def _images(self, rng: np.random.Generator) -> Iterator[Media]:
        if self.path is not None:
            for file in cycle(media_files(self.path, IMAGE_TYPES)):
                yield read_media("image", IMAGE_TYPES[file.suffix.lower()], file)
        while True:
            yield Media("image", "image/png", made_png(self.width, self.height, rng))

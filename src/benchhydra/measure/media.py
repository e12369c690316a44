"""Whether prompts carry the images or recordings that an API needs."""

from __future__ import annotations

from benchhydra.client.apis import Api
from benchhydra.datasets import Dataset
from benchhydra.errors import ConfigError
from benchhydra.registry import option_name

#: Kind of media -> the option that makes it.
DATASETS = {"image": "images", "audio": "audio"}


def check_media(dataset: Dataset, api: Api) -> None:
    """Raise ConfigError if the API needs media that the dataset has not, or cannot send those that it has."""
    needed, given = api.needs_media, dataset.media
    if needed is not None and given != needed:
        raise ConfigError(
            f"api={option_name(api)} needs {needed} data, dataset={option_name(dataset)} has none",
            hint=f"dataset={DATASETS[needed]}",
        )
    if given is not None and given not in api.takes_media:
        hint = "api=transcription or api=chat" if given == "audio" else "api=chat"
        raise ConfigError(
            f"api={option_name(api)} sends no {given} data, as dataset={option_name(dataset)} has", hint=hint
        )

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


def refuse_parts(dataset: Dataset, api: Api | None = None) -> None:
    """Raise ConfigError for media, and for several texts in a request, where a script sends one text at a time."""
    if dataset.media is not None:
        raise ConfigError(f"this script sends no {dataset.media} data", hint="script=serving")
    if dataset.text_group() is not None:
        raise ConfigError("this script sends one text at a time, the records bring several", hint="script=serving")
    if api is not None and api.texts_per_request() > 1:
        name = option_name(api)
        raise ConfigError(f"this script sends one text at a time, api={name} several", hint="script=serving")

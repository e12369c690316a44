"""``dataset=audio``: recordings, made ones of a length or those of a folder, to be transcribed or talked about."""

from __future__ import annotations

import dataclasses
import io
import wave
from collections.abc import Iterable, Iterator
from itertools import cycle

import numpy as np

from benchhydra.datasets import Media, Prompt
from benchhydra.datasets._media_files import AUDIO_TYPES, media_files, read_media
from benchhydra.datasets.synthetic import Synthetic
from benchhydra.errors import ConfigError
from benchhydra.registry import knob, option

#: What speech models are trained on.
SAMPLE_RATE_HZ = 16000
LONGEST_S = 3600.0
#: Made recordings are tones that change as often as syllables do, with noise: no speech, so no text is expected.
SYLLABLE_S = 0.2
TONES_HZ = (110.0, 880.0)
TONE, NOISE = 8000.0, 400.0


@option("dataset", "audio")
class Audio(Synthetic):
    """Recordings of a length: made tones, or the files of a folder. With api=chat, prompts of random words beside them.

    Of files, only WAV tells its length; the audio metrics need it.
    """

    media = "audio"

    seconds: float = knob(10.0, "length of made recordings", unit="s")
    path: str | None = knob(None, "folder of WAV, FLAC, MP3 or Ogg files to send in turn; null: recordings are made")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.seconds <= LONGEST_S:
            raise ConfigError(f"dataset.seconds={self.seconds:g} must be above 0 and at most {LONGEST_S:g}")

    def check(self, count: int) -> None:
        super().check(count)
        if self.path is not None:
            media_files(self.path, AUDIO_TYPES)

    def with_media(self, prompts: Iterable[Prompt], rng: np.random.Generator) -> Iterator[Prompt]:
        for prompt, recording in zip(prompts, self._recordings(rng), strict=False):
            labels = {**prompt.labels, "audio_ms": length_ms(recording)}
            yield dataclasses.replace(prompt, media=(recording,), labels=labels)

    def _recordings(self, rng: np.random.Generator) -> Iterator[Media]:
        if self.path is not None:
            for file in cycle(media_files(self.path, AUDIO_TYPES)):
                yield read_media("audio", AUDIO_TYPES[file.suffix.lower()], file)
        while True:
            yield Media("audio", "audio/wav", made_wav(self.seconds, rng))


def made_wav(seconds: float, rng: np.random.Generator) -> bytes:
    """Return a WAV file of tones with noise, 16 bit, one channel."""
    count = max(1, round(seconds * SAMPLE_RATE_HZ))
    tones_hz = rng.uniform(*TONES_HZ, int(seconds / SYLLABLE_S) + 1).repeat(int(SYLLABLE_S * SAMPLE_RATE_HZ))[:count]
    phase = np.cumsum(2 * np.pi * tones_hz / SAMPLE_RATE_HZ)
    samples = TONE * np.sin(phase) + rng.normal(0, NOISE, count)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def length_ms(recording: Media) -> int:
    """Return the length of a recording in ms; -1 if only its decoder knows."""
    if recording.mime != "audio/wav":
        return -1
    try:
        with wave.open(io.BytesIO(recording.data)) as file:
            return round(int(file.getnframes()) * 1000 / int(file.getframerate()))
    except (wave.Error, EOFError, ZeroDivisionError):
        return -1

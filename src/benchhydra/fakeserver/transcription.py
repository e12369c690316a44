"""Parses requests to /v1/audio/transcriptions, and builds their answers, as vLLM sends them."""

from __future__ import annotations

import io
import wave
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from benchhydra.fakeserver.answers import CompletionRequest, Piece
from benchhydra.fakeserver.plan import AnswerPlan

#: Tokens of a second of speech, and of its recording.
TEXT_TOKENS_PER_S, AUDIO_TOKENS_PER_S = 3, 25


class TranscriptionRequest(CompletionRequest):
    """A multipart form with a WAV file, and its answer: three words for each second of it."""

    kind = "transcription.chunk"
    id_prefix = "trsc"

    def __init__(self, form: Mapping[str, Any], reasoning_tokens: int = 0) -> None:
        self._checksum = zlib.crc32(form["file"])
        with wave.open(io.BytesIO(form["file"])) as file:
            self._seconds = file.getnframes() / file.getframerate()
        super().__init__({"model": form["model"]})
        self.stream, self.usage = (form.get(key) == "true" for key in ("stream", "stream_include_usage"))
        self.tokens = max(1, int(form.get("max_completion_tokens") or self._seconds * TEXT_TOKENS_PER_S))
        self.truth = {"audio_ms": round(self._seconds * 1000)}

    def prompt_words(self, body: dict[str, Any]) -> list[Any]:
        return [f"<audio {self._checksum}>"] * int(self._seconds * AUDIO_TOKENS_PER_S)

    def delta(self, piece: Piece) -> dict[str, Any]:
        return {"delta": {"content": piece.text}}

    def whole(self, pieces: Sequence[Piece], plan: AnswerPlan) -> dict[str, Any]:
        text = "".join(piece.text for piece in pieces)
        return {"text": text, "usage": {"type": "duration", "seconds": round(self._seconds)}}

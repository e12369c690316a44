"""``api=transcription``: a recording in, its text out."""

from __future__ import annotations

import json
from typing import Any

from benchhydra.client.apis import ApiEvent, Payload, PromptContent, RequestOptions, joined_text, model_of, usage_of
from benchhydra.client.apis._openai import TextApi
from benchhydra.registry import knob, option

#: A boundary that no text or recording contains: 128 random bits, drawn once.
_BOUNDARY = b"benchhydra-1f2c77a95de04b0c8d1b7c3a6f90e512"
_EVENTS = {"transcript.text.delta": "delta", "transcript.text.done": ""}


@option("api", "transcription")
class Transcription(TextApi):
    """POST /v1/audio/transcriptions: a file as a multipart form, as OpenAI and vLLM read it."""

    path = "/v1/audio/transcriptions"
    prompt_key = "file"
    needs_media = "audio"
    takes_media = frozenset({"audio"})
    reads_text = False
    text_keys = ("content",)
    event_prefix = b"transcript."

    token_limit: str | None = knob(
        "none", "field of the form with the number of output tokens; none: the server decides"
    )
    language: str | None = knob(None, "language of the recordings, ISO 639-1; null: the server finds out")

    def key_metrics(self, usual: tuple[str, ...]) -> tuple[str, ...]:
        return ("audio_throughput", "mean_real_time_factor", *usual)

    def capabilities(self) -> frozenset[str]:
        return frozenset({"audio"})

    def shared_body(self, model: str, options: RequestOptions) -> dict[str, Any]:
        body = {
            "model": model,
            "language": self.language,
            "response_format": "json",
            "temperature": options.temperature,
        }
        return body | ({"stream": True, "stream_include_usage": True} if options.stream else {})

    def own_body(self, prompt: PromptContent, output_tokens: int) -> dict[str, Any]:
        recording = next(medium for medium in prompt.media if medium.kind == "audio")
        return {**self.length_limit(output_tokens), "file": recording}

    def fixed_length(self, options: RequestOptions) -> bool:
        """A transcript ends where the recording does."""
        return False

    def payload(self, body: dict[str, Any]) -> Payload:
        """Return a multipart form (RFC 7578) whose last part is the recording."""
        recording = body.pop("file")
        ending = recording.mime.partition("/")[2]
        parts = [_part(f'name="{name}"', b"", _field(value)) for name, value in body.items()]
        about = f'name="file"; filename="audio.{ending}"'
        parts.append(_part(about, f"Content-Type: {recording.mime}\r\n".encode(), recording.data))
        return Payload(
            f"multipart/form-data; boundary={_BOUNDARY.decode()}", b"".join([*parts, b"--%b--\r\n" % _BOUNDARY])
        )

    def read(self, document: dict[str, Any]) -> ApiEvent:
        """Interpret vLLM's chunks of choices, OpenAI's events, or a whole transcript."""
        if document.get("type") in _EVENTS:
            return self._read_event(document)
        text = document.get("text")
        if "choices" in document or not isinstance(text, str):
            return super().read(document)
        return ApiEvent(
            (text,) if text else (), usage_of(document), finish="stop", model=model_of(document), whole=True
        )

    def _read_event(self, document: dict[str, Any]) -> ApiEvent:
        if document["type"] == "transcript.text.done":
            return ApiEvent(usage=usage_of(document), finish="stop", end=True)
        return ApiEvent(tuple(filter(None, (joined_text(document.get("delta")),))))

    def text_of(self, choice: dict[str, Any]) -> str:
        return joined_text(choice.get("delta") or choice.get("message"))


def _part(about: str, kind: bytes, value: bytes) -> bytes:
    return b"--%b\r\nContent-Disposition: form-data; %b\r\n%b\r\n%b\r\n" % (_BOUNDARY, about.encode(), kind, value)


def _field(value: Any) -> bytes:
    return (value if isinstance(value, str) else json.dumps(value)).encode()

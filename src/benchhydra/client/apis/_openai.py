"""What OpenAI's two text endpoints have in common: sampling parameters, ``choices`` and ``usage``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchhydra.client.apis import Api, ApiEvent, RequestOptions, is_error, usage_of


@dataclass(kw_only=True)
class TextApi(Api):
    """An endpoint whose answers hold generated text in ``choices``."""

    def shared_body(self, model: str, options: RequestOptions) -> dict[str, Any]:
        body: dict[str, Any] = {"model": model, "stream": options.stream}
        if options.stream:
            body["stream_options"] = {"include_usage": True}
        body["temperature"] = options.temperature
        if options.ignore_eos:
            body["ignore_eos"] = True
        return body

    def read(self, document: dict[str, Any]) -> ApiEvent:
        if is_error(document):
            return ApiEvent(error=self.error_message(document))
        choices = document.get("choices")
        texts = [text for choice in choices if (text := self.text_of(choice))] if isinstance(choices, list) else ()
        return ApiEvent(texts, usage_of(document))

    def text_of(self, choice: Any) -> str:
        """The generated text of a choice; "" if it has none."""
        raise NotImplementedError

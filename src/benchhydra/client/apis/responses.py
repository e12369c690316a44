"""``api=responses``: OpenAI's newer endpoint for text: input in, items of output out, with events of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchhydra.client.apis import (
    UNKNOWN_TOKENS,
    Api,
    ApiEvent,
    PromptContent,
    RequestOptions,
    Usage,
    is_error,
    joined_text,
    looks_like_error,
    model_of,
    token_count,
    usage_anomalies,
)
from benchhydra.registry import knob, option

#: Events with a piece of generated text under ``delta`` -> whether it is reasoning.
_DELTAS = {
    "response.output_text.delta": False,
    "response.refusal.delta": False,
    "response.function_call_arguments.delta": False,
    "response.reasoning_text.delta": True,
    "response.reasoning_summary_text.delta": True,
}
_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")


@option("api", "responses")
class Responses(Api):
    """POST /v1/responses: the prompt's messages, or its text. Nothing is stored on the server."""

    path = "/v1/responses"
    prompt_key = "input"
    templated = True
    event_prefix = b"response."

    reasoning: bool = knob(False, "measure reasoning apart: time to the first token of the answer, reasoning tokens")

    def key_metrics(self, usual: tuple[str, ...]) -> tuple[str, ...]:
        return (*usual, "mean_ttfat_ms") if self.reasoning else usual

    def capabilities(self) -> frozenset[str]:
        return frozenset({"reasoning"} if self.reasoning else ())

    def separates_reasoning(self) -> bool:
        return self.reasoning

    def shared_body(self, model: str, options: RequestOptions) -> dict[str, Any]:
        body = {"model": model, "stream": options.stream, "store": False, "temperature": options.temperature}
        return body | ({"ignore_eos": True} if self.fixed_length(options) else {})

    def own_body(self, prompt: PromptContent, output_tokens: int) -> dict[str, Any]:
        return {"max_output_tokens": output_tokens, "input": prompt.messages or prompt.text}

    def read(self, document: dict[str, Any]) -> ApiEvent:
        """Interpret an event by its type, or a whole response."""
        kind = document.get("type")
        if kind in _DELTAS:
            text = joined_text(document.get("delta"))
            return ApiEvent((text,) if text else (), reasoning=_DELTAS[kind], silent=not text)
        if kind in _ENDS and isinstance(document.get("response"), dict):
            return self._read_response(document["response"])._replace(texts=(), end=True)
        if document.get("object") == "response":
            return self._read_response(document)
        if is_error(document) or kind == "error" or (kind is None and looks_like_error(document)):
            return ApiEvent(error=self.error_message(document))
        response = document.get("response")
        return ApiEvent(model=model_of(response) if isinstance(response, dict) else "")

    def _read_response(self, response: Mapping[str, Any]) -> ApiEvent:
        if is_error(response) or response.get("status") == "failed":
            return ApiEvent(error=self.error_message(response.get("error")) or "the response failed")
        document = _with_usual_usage(response)
        texts = _texts(response.get("output"))
        usage, details = document["usage"], document["usage"].get("completion_tokens_details")
        return ApiEvent(
            texts,
            Usage(token_count(usage.get("prompt_tokens")), token_count(usage.get("completion_tokens"))),
            finish=_finish(response),
            model=model_of(response),
            anomalies=usage_anomalies(document),
            whole=True,
            silent=not texts,
            reasoning_tokens=token_count((details or {}).get("reasoning_tokens")) if details else UNKNOWN_TOKENS,
        )


def _with_usual_usage(response: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with the response's usage under the names of OpenAI's other endpoints."""
    usage = response.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("output_tokens_details")
    counts = {"prompt_tokens": usage.get("input_tokens"), "completion_tokens": usage.get("output_tokens")}
    more = {"completion_tokens_details": details} if isinstance(details, dict) else {}
    return {"usage": {**counts, "total_tokens": usage.get("total_tokens"), **more}}


def _texts(output: Any) -> tuple[str, ...]:
    """Return the texts of a whole response: of its messages, of its calls, and of its reasoning."""
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    texts = (joined_text(item.get("content") or item.get("summary") or item.get("arguments")) for item in items)
    return tuple(filter(None, texts))


def _finish(response: Mapping[str, Any]) -> str:
    """Return why generation ended, as finish reason."""
    status = response.get("status")
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    return reason if status == "incomplete" and isinstance(reason, str) else status if isinstance(status, str) else ""

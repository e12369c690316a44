"""What OpenAI's two text endpoints have in common: sampling parameters, ``choices`` and ``usage``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchhydra.client.apis import (
    UNKNOWN_TOKENS,
    Api,
    ApiEvent,
    RequestOptions,
    is_error,
    is_normal_end,
    looks_like_error,
    model_of,
    token_count,
    usage_anomalies,
    usage_of,
)
from benchhydra.errors import ConfigError
from benchhydra.records import Anomaly
from benchhydra.registry import knob

_FIRST = (0, None)
#: Documents without choices that have only these keys are no errors.
_USUAL_KEYS = {"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"}
_SEVERAL = int(Anomaly.SEVERAL_CHOICES)  # operations on enums are slow
TOKEN_LIMITS = ("max_tokens", "max_completion_tokens", "none")


@dataclass(kw_only=True)
class TextApi(Api):
    """An endpoint whose answers hold generated text in ``choices``."""

    token_limit: str | None = knob(
        "max_tokens",
        "field of the body with the number of output tokens: max_tokens, max_completion_tokens; none: the server "
        "decides how long answers are",
    )

    def __post_init__(self) -> None:
        if self.token_limit == "none":
            self.token_limit = None
        if self.token_limit is not None and self.token_limit not in TOKEN_LIMITS:
            raise ConfigError(
                f"api.token_limit={self.token_limit} is not allowed", hint=f"one of {', '.join(TOKEN_LIMITS)}"
            )

    def limits_length(self) -> bool:
        return self.token_limit is not None

    def length_limit(self, output_tokens: int) -> dict[str, Any]:
        """Return the field of the body that limits the answer's length; {} if there is none."""
        return {self.token_limit: output_tokens} if self.token_limit is not None else {}

    def shared_body(self, model: str, options: RequestOptions) -> dict[str, Any]:
        body: dict[str, Any] = {"model": model, "stream": options.stream}
        if options.stream:
            body["stream_options"] = {"include_usage": True}
        body["temperature"] = options.temperature
        if self.fixed_length(options):
            body["ignore_eos"] = True
        return body

    def read(self, document: dict[str, Any]) -> ApiEvent:
        choices = document.get("choices")
        if not choices or not isinstance(choices, list):
            return self._read_without_choices(document)
        error = is_error(document)
        texts: list[str] = []
        finish, whole, silent, reasoning, several = "", False, False, False, len(choices) > 1
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            error = error or bool(choice.get("error"))
            if text := self.text_of(choice):
                texts.append(text)
                reasoning = self.is_reasoning(choice)
            else:
                silent = silent or _has_empty_text(choice)
            if reason := choice.get("finish_reason"):
                finish = _worse(finish, reason)
            several = several or choice.get("index", 0) not in _FIRST
            whole = whole or ("message" in choice and _is_whole(choice))
        if error:
            return ApiEvent(error=self.error_message(document))
        usage = usage_of(document)
        anomalies = (usage_anomalies(document) if usage is not None else 0) | (_SEVERAL if several else 0)
        return ApiEvent(
            texts,
            usage,
            None,
            False,
            finish,
            model_of(document),
            anomalies,
            whole,
            silent and not texts,
            reasoning,
            UNKNOWN_TOKENS if usage is None else reasoning_tokens_of(document),
        )

    def _read_without_choices(self, document: dict[str, Any]) -> ApiEvent:
        usage = usage_of(document)
        if is_error(document) or (not document.keys() <= _USUAL_KEYS and looks_like_error(document)):
            return ApiEvent(error=self.error_message(document))
        anomalies = usage_anomalies(document) if usage is not None else 0
        reasoning_tokens = UNKNOWN_TOKENS if usage is None else reasoning_tokens_of(document)
        model = model_of(document)
        return ApiEvent(usage=usage, model=model, anomalies=anomalies, reasoning_tokens=reasoning_tokens)

    def text_of(self, choice: dict[str, Any]) -> str:
        """The generated text of a choice; "" if it has none."""
        raise NotImplementedError

    def is_reasoning(self, choice: dict[str, Any]) -> bool:
        """Return whether the text of a choice, which has one, is reasoning and no answer."""
        return False


def reasoning_tokens_of(document: dict[str, Any]) -> int:
    """Return the tokens of reasoning under ``usage``, which must be an object; -1 if there are none."""
    details = document["usage"].get("completion_tokens_details")
    return token_count(details.get("reasoning_tokens")) if isinstance(details, dict) else UNKNOWN_TOKENS


def _worse(finish: str, reason: Any) -> str:
    """Return the finish reason of several choices: one that is not a normal end, else the later one.

    Some servers write a reason as ``{"type": "length", "length": 8}``.
    """
    name = reason.get("type") if isinstance(reason, dict) else reason
    if not isinstance(name, str) or not name:
        return finish
    return finish if finish and not is_normal_end(finish) else name


def _has_empty_text(choice: dict[str, Any]) -> bool:
    """Return whether a choice has an empty string as its text, or as its delta's or message's, not null or nothing."""
    message = choice.get("delta") or choice.get("message")
    return choice.get("text") == "" or (isinstance(message, dict) and "" in message.values())


def _is_whole(choice: dict[str, Any]) -> bool:
    return not choice.get("delta") and isinstance(choice.get("message"), dict)

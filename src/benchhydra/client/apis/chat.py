"""``api=chat``: a conversation in, the next message out: text, reasoning, tool calls, structured output; images in."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from benchhydra.client.answer_text import TOOL_CALL, split_answer
from benchhydra.client.apis import MediaContent, PromptContent, RequestOptions, TextCheck, joined_text
from benchhydra.client.apis._openai import TextApi
from benchhydra.client.apis._structured import Constraint
from benchhydra.client.apis._tools import Tools, calls_of
from benchhydra.records import Anomaly
from benchhydra.registry import knob, option

_REASONING_KEYS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")


@option("api", "chat")
class Chat(TextApi):
    """POST /v1/chat/completions: the prompt's messages, or its text as one message of the user."""

    path = "/v1/chat/completions"
    prompt_key = "messages"
    templated = True
    takes_media = frozenset({"image", "audio"})
    #: In the order in which servers put generated text under one of them.
    text_keys = ("content", *_REASONING_KEYS, "refusal", "text")

    json_schema: str | None = knob(None, "file with a JSON schema that answers must match; example: a built-in one")
    regex: str | None = knob(None, "regular expression that answers must match")
    choice: list[str] = knob([], "texts of which each answer must be one")
    tools: str | None = knob(None, "file with a list of tools in OpenAI's form; example: two built-in ones")
    tool_choice: str = knob("auto", "auto: the model decides; required: a call in each answer; none; or a tool's name")
    reasoning: bool = knob(False, "measure reasoning apart: time to the first token of the answer, reasoning tokens")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._constraint = Constraint.of(self.json_schema, self.regex, self.choice)
        self._tools = Tools.of(self.tools, self.tool_choice)

    def shared_body(self, model: str, options: RequestOptions) -> dict[str, Any]:
        further = (part.body() for part in (self._tools, self._constraint) if part is not None)
        return {
            **super().shared_body(model, options),
            **{key: value for body in further for key, value in body.items()},
        }

    def own_body(self, prompt: PromptContent, output_tokens: int) -> dict[str, Any]:
        messages = prompt.messages or ({"role": "user", "content": prompt.text},)
        if prompt.media:
            messages = (*messages[:-1], _with_media(messages[-1], prompt.media))
        return {**self.length_limit(output_tokens), "messages": messages}

    def fixed_length(self, options: RequestOptions) -> bool:
        """A structured answer, or a call, ends where it is complete."""
        return super().fixed_length(options) and not self.checks_texts()

    def key_metrics(self, usual: tuple[str, ...]) -> tuple[str, ...]:
        further = {
            "reasoning": "mean_ttfat_ms",
            "structured": "valid_output_fraction",
            "tools": "valid_tool_call_fraction",
        }
        return *usual, *(name for part, name in further.items() if part in self.capabilities())

    def capabilities(self) -> frozenset[str]:
        parts = {"structured": self._constraint is not None, "tools": self._tools is not None}
        return frozenset(name for name, is_on in {**parts, "reasoning": self.reasoning}.items() if is_on)

    def separates_reasoning(self) -> bool:
        return self.reasoning

    def checks_texts(self) -> bool:
        return self._constraint is not None or self._tools is not None

    def check_text(self, text: str) -> TextCheck:
        """Check an answer's calls against the tools, and the text of one without calls against the constraint."""
        parts, anomalies = split_answer(text), Anomaly(0)
        calls = calls_of(parts.calls)
        if self._tools is not None:
            wrong = not all(map(self._tools.allows, calls)) or (self._tools.must_call and not calls)
            anomalies |= Anomaly.WRONG_TOOL_CALL if wrong else 0
        if self._constraint is not None and not calls and not self._constraint.matches(parts.answer):
            anomalies |= Anomaly.INVALID_OUTPUT
        return TextCheck(int(anomalies), len(calls))

    def text_of(self, choice: dict[str, Any]) -> str:
        """The text of a delta or message, reasoning, refusals and tool calls included."""
        message = choice.get("delta") or choice.get("message")
        if not isinstance(message, dict):
            return joined_text(choice.get("text"))
        calls = message.get("tool_calls") or message.get("function_call")
        called = TOOL_CALL + msgspec.json.encode(calls).decode() if calls else ""
        for key in self.text_keys:
            if text := joined_text(message.get(key)):
                return text + called
        return called

    def is_reasoning(self, choice: dict[str, Any]) -> bool:
        message = choice.get("delta") or choice.get("message")
        if not isinstance(message, dict) or message.get("tool_calls") or joined_text(message.get("content")):
            return False
        return any(message.get(key) for key in _REASONING_KEYS)


def _with_media(message: Mapping[str, Any], media: Sequence[MediaContent]) -> dict[str, Any]:
    """Return a message whose content has images and recordings before its text."""
    content = message["content"]
    texts = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
    return {**message, "content": [*map(_media_part, media), *texts]}


def _media_part(medium: MediaContent) -> dict[str, Any]:
    data = base64.b64encode(medium.data).decode()
    if medium.kind == "image":
        return {"type": "image_url", "image_url": {"url": f"data:{medium.mime};base64,{data}"}}
    return {"type": "input_audio", "input_audio": {"data": data, "format": medium.mime.partition("/")[2]}}

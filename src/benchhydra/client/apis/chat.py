"""``api=chat``: a conversation in, the next message out."""

from __future__ import annotations

from typing import Any

import msgspec

from benchhydra.client.apis import PromptContent, joined_text
from benchhydra.client.apis._openai import TextApi
from benchhydra.registry import option


@option("api", "chat")
class Chat(TextApi):
    """POST /v1/chat/completions: the prompt's messages, or its text as one message of the user."""

    path = "/v1/chat/completions"
    prompt_key = "messages"
    templated = True
    #: In the order in which servers put generated text under one of them.
    text_keys = ("content", "reasoning_content", "reasoning", "thinking", "reasoning_details", "refusal", "text")

    def own_body(self, prompt: PromptContent, output_tokens: int) -> dict[str, Any]:
        messages = prompt.messages or ({"role": "user", "content": prompt.text},)
        return {**self.length_limit(output_tokens), "messages": messages}

    def text_of(self, choice: dict[str, Any]) -> str:
        """The text of a delta or message, reasoning, refusals and tool calls included."""
        message = choice.get("delta") or choice.get("message")
        if not isinstance(message, dict):
            return joined_text(choice.get("text"))
        for key in self.text_keys:
            if text := joined_text(message.get(key)):
                return text
        calls = message.get("tool_calls") or message.get("function_call")
        return msgspec.json.encode(calls).decode() if calls else ""

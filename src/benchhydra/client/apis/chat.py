"""``api=chat``: a conversation in, the next message out."""

from __future__ import annotations

from typing import Any

import msgspec

from benchhydra.client.apis import PromptContent
from benchhydra.client.apis._openai import TextApi
from benchhydra.registry import option


@option("api", "chat")
class Chat(TextApi):
    """POST /v1/chat/completions: the prompt's messages, or its text as one message of the user."""

    path = "/v1/chat/completions"
    prompt_key = "messages"
    #: In the order in which servers put generated text under one of them.
    text_keys = ("content", "reasoning_content", "reasoning")

    def own_body(self, prompt: PromptContent, output_tokens: int) -> dict[str, Any]:
        messages = prompt.messages or ({"role": "user", "content": prompt.text},)
        return {"max_tokens": output_tokens, "messages": messages}

    def text_of(self, choice: Any) -> str:
        """The text of a delta or message, reasoning and tool calls included."""
        if not isinstance(choice, dict):
            return ""
        message = choice.get("delta") or choice.get("message")
        if not isinstance(message, dict):
            return ""
        for key in self.text_keys:
            text = message.get(key)
            if isinstance(text, str) and text:
                return text
        calls = message.get("tool_calls")
        return msgspec.json.encode(calls).decode() if calls else ""

"""A model's chat template, and how many tokens it adds to a prompt.

A template is rendered with jinja2 in 30 ms where the model's files hold all it needs; else by transformers, which
takes seconds to import.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from benchhydra.datasets import Message, Tokenizer
from benchhydra.errors import ConfigError
from benchhydra.target import model_file

#: Special tokens that a template may refer to by name.
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
#: A text that no template contains: what stands before and after it is what the template adds.
MARK = "benchhydra9marks3the7prompt"


class ChatTemplate:
    """A model's chat template. name: hub id or directory of the tokenizer; template: a file that takes precedence."""

    def __init__(self, name: str, revision: str | None, template: str | None) -> None:
        self.name, self.revision, self._template = name, revision, template
        self._tokenizer: Any = None

    def tokenizer(self) -> Any:
        """Return transformers' tokenizer. Raises ConfigError if it cannot be loaded."""
        if self._tokenizer is None:
            from transformers import AutoTokenizer

            try:
                self._tokenizer = AutoTokenizer.from_pretrained(
                    self.name, revision=self.revision, trust_remote_code=False
                )
            except (OSError, ValueError) as error:
                raise ConfigError(
                    f"no tokenizer for {self.name}: {str(error).splitlines()[0]}",
                    hint="model.tokenizer=HUB_ID_OR_DIRECTORY, or model=tiny, which needs no network",
                ) from error
        return self._tokenizer

    def render(self, messages: Sequence[Message], *, without_bos: bool) -> str:
        """Return the conversation with the generation prompt. Raises ConfigError.

        without_bos: remove the leading BOS token, because the server adds one.
        """
        from jinja2 import TemplateError

        plain = [_plain_message(message) for message in messages]
        try:
            text, bos = self._render_from_files(plain) or self._render_with_transformers(plain)
        except (TemplateError, TypeError) as error:
            raise ConfigError(f"the chat template of {self.name} rejects a conversation: {error}") from error
        return text.removeprefix(bos) if without_bos and bos else text

    def _render_from_files(self, messages: list[Message]) -> tuple[str, str | None] | None:
        """Return (text, BOS token); None if the model's files do not hold all that the template needs."""
        if self._compiled is None:
            return None
        compiled, tokens = self._compiled
        return compiled.render(messages=messages, add_generation_prompt=True, **tokens), tokens.get("bos_token")

    def _render_with_transformers(self, messages: list[Message]) -> tuple[str, str | None]:
        tokenizer = self.tokenizer()
        template = self._text() if self._template else None
        if not (template or tokenizer.chat_template):
            raise ConfigError(f"{self.name} has no chat template", hint="model.chat_template=FILE")
        text = tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, add_generation_prompt=True
        )
        return str(text), tokenizer.bos_token

    @cached_property
    def _compiled(self) -> tuple[Any, dict[str, str]] | None:
        """The compiled template and the special tokens that it names; None if transformers has to be asked."""
        from jinja2 import TemplateSyntaxError

        config = self._config()
        template = self._text() if self._template else self._own_template(config)
        names = [name for name in SPECIAL_TOKENS if template and re.search(rf"\b{name}\b", template)]
        tokens = {name: token for name in SPECIAL_TOKENS if (token := _token(config.get(name))) is not None}
        if not template or not tokens.keys() >= set(names):
            return None
        try:
            return _environment().from_string(template), tokens
        except TemplateSyntaxError:  # transformers knows more tags than jinja2
            return None

    def _config(self) -> Mapping[str, Any]:
        path = model_file(self.name, "tokenizer_config.json", self.revision)
        try:
            config = json.loads(path.read_text(encoding="utf-8")) if path is not None else {}
        except (OSError, ValueError):
            return {}
        return config if isinstance(config, dict) else {}

    def _own_template(self, config: Mapping[str, Any]) -> str | None:
        path = model_file(self.name, "chat_template.jinja", self.revision)
        if path is not None:
            return path.read_text(encoding="utf-8")
        template = config.get("chat_template")
        if isinstance(template, list):  # several by name
            template = {entry.get("name"): entry.get("template") for entry in template}.get("default")
        return template if isinstance(template, str) else None

    def _text(self) -> str:
        try:
            return Path(str(self._template)).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"model.chat_template={self._template} cannot be read: {error.strerror}") from error


class TemplatedTokenizer:
    """A tokenizer that counts a text as a server does which puts it into the chat template, as the user's message.

    ``overhead`` holds the template's tokens, so that a dataset makes prompts of a total length. Raises ConfigError if
    the model has no chat template.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.vocab_size = tokenizer.vocab_size
        whole = tokenizer.chat([{"role": "user", "content": MARK}], keep_bos=True)
        self._before, mark, self._after = whole.partition(MARK)
        if not mark:
            raise ConfigError(
                "the model's chat template leaves the user's message out", hint="model.chat_template=FILE"
            )
        self.overhead = 0
        (in_template,) = self._tokenizer.count_batch([whole])
        (alone,) = self._tokenizer.count_batch([MARK])
        self.overhead = in_template - alone

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text)

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return self._tokenizer.encode_batch(texts)

    def decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids)

    def decode_batch(self, batch: list[list[int]]) -> list[str]:
        return self._tokenizer.decode_batch(batch)

    def count_batch(self, texts: list[str]) -> list[int]:
        """Return the number of tokens that each text adds to the template's."""
        counts = self._tokenizer.count_batch([f"{self._before}{text}{self._after}" for text in texts])
        return [count - self.overhead for count in counts]

    def token(self, token_id: int) -> str:
        return self._tokenizer.token(token_id)

    def tokens_are_additive(self) -> bool:
        return self._tokenizer.tokens_are_additive()

    def chat(self, messages: Sequence[Message], *, keep_bos: bool = False) -> str:
        return self._tokenizer.chat(messages, keep_bos=keep_bos)


def message_text(message: Message) -> str:
    """Return the text of a message's content: its parts joined by line ends, as vLLM joins them; "" if it has none."""
    content = message["content"]
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content or ())


def _plain_message(message: Message) -> Message:
    """Return a message as templates expect it: a text as content, and the arguments of tool calls as objects."""
    plain = {**message, "content": message_text(message)}
    if isinstance(message.get("tool_calls"), list):
        plain["tool_calls"] = [_plain_call(call) for call in message["tool_calls"]]
    return plain


def _plain_call(call: Any) -> Any:
    function = call.get("function") if isinstance(call, dict) else None
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(arguments, str):
        return call
    try:
        return {**call, "function": {**function, "arguments": json.loads(arguments)}}  # type: ignore[dict-item]
    except ValueError:
        return call


def _token(value: Any) -> str | None:
    """Return a special token of tokenizer_config.json, where it is a text or an object; None if it is not set."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None


def _environment() -> Any:
    """Return a jinja2 environment with what transformers offers to chat templates."""
    from jinja2.ext import loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = _to_json
    environment.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
    return environment


def _to_json(value: Any, **options: Any) -> str:
    return json.dumps(value, **{"ensure_ascii": False, **options})


def _raise_exception(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.datetime.now().strftime(pattern)

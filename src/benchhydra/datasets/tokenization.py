"""Tokenizers that count tokens: one token per word, a ``tokenizer.json``, or one of transformers.

The library ``tokenizers`` reads a local ``tokenizer.json`` in about 20 ms. transformers takes seconds to import, so it
is used only if there is no such file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from benchhydra.datasets import Message, Tokenizer
from benchhydra.datasets.chat_template import ChatTemplate, message_text
from benchhydra.target import WORD_TOKENIZER, Target, model_file

PROBE = "a"
#: The end of a word and a space, in the notation of byte-level models, SentencePiece models and added tokens.
WORD_END = re.compile(r"[A-Za-z0-9][Ġ▁ ]")


def load_tokenizer(target: Target) -> Tokenizer:
    """Return the target's tokenizer, loaded once per process. Raises ConfigError if there is none."""
    return _load(target.tokenizer, target.revision, target.chat_template)


@lru_cache(maxsize=8)
def _load(name: str, revision: str | None, chat_template: str | None) -> Tokenizer:
    if name == WORD_TOKENIZER:
        return WordTokenizer()
    template = ChatTemplate(name, revision, chat_template)
    path = model_file(name, "tokenizer.json", revision)
    return SlowTokenizer(template) if path is None else FastTokenizer(path, template)


def tokens_are_additive(vocabulary: Iterable[object]) -> bool:
    """Return whether no token spans the end of an ASCII word and the space after it.

    Then any model (BPE, Unigram, WordPiece) splits every text at its spaces, and the tokens of a word do not depend on
    its neighbours.
    """
    tokens = list(vocabulary)
    return all(isinstance(token, str) for token in tokens) and not WORD_END.search("\n".join(map(str, tokens)))


class WordTokenizer:
    """One token per word, like the fake engine. A new word gets the next id."""

    overhead = 0
    vocab_size = 4096

    def __init__(self) -> None:
        self._words = [f"w{i}" for i in range(self.vocab_size)]
        self._ids = {word: i for i, word in enumerate(self._words)}

    def encode(self, text: str) -> list[int]:
        return [self._id(word) for word in text.split()]

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def decode(self, ids: list[int]) -> str:
        return " ".join(self._words[i] for i in ids)

    def decode_batch(self, batch: list[list[int]]) -> list[str]:
        return [self.decode(ids) for ids in batch]

    def count_batch(self, texts: list[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def token(self, token_id: int) -> str:
        return self._words[token_id] if token_id < len(self._words) else ""

    def tokens_are_additive(self) -> bool:
        return True

    def chat(self, messages: Sequence[Message], *, keep_bos: bool = False) -> str:
        """Return the contents without roles, because the fake server does not count roles."""
        return " ".join(message_text(message) for message in messages)

    def _id(self, word: str) -> int:
        token_id = self._ids.get(word)
        if token_id is None:
            token_id = self._ids[word] = len(self._words)
            self._words.append(word)
        return token_id


class FastTokenizer:
    """The tokenizer of a ``tokenizer.json``, read by the library ``tokenizers``."""

    def __init__(self, path: Path, template: ChatTemplate) -> None:
        import tokenizers

        self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._template = template
        self.vocab_size = int(self._tokenizer.get_vocab_size(with_added_tokens=False))
        self.overhead = len(self._tokenizer.encode(PROBE)) - len(self.encode(PROBE))

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def count_batch(self, texts: list[str]) -> list[int]:
        return [len(encoding) for encoding in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    def decode_batch(self, batch: list[list[int]]) -> list[str]:
        return list(self._tokenizer.decode_batch(batch, skip_special_tokens=False))

    def token(self, token_id: int) -> str:
        return self._tokenizer.id_to_token(token_id) or ""

    def tokens_are_additive(self) -> bool:
        return tokens_are_additive(self._tokenizer.get_vocab(with_added_tokens=True))

    def chat(self, messages: Sequence[Message], *, keep_bos: bool = False) -> str:
        """Return the conversation in the model's chat template, ending with the generation prompt."""
        return self._template.render(messages, without_bos=self.overhead > 0 and not keep_bos)


class SlowTokenizer:
    """transformers' tokenizer for a hub id, or for a directory without ``tokenizer.json``."""

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self._tokenizer = template.tokenizer()
        self.vocab_size = len(self._tokenizer)
        self.overhead = len(self._tokenizer(PROBE)["input_ids"]) - len(self.encode(PROBE))

    def encode(self, text: str) -> list[int]:
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return list(self._tokenizer(texts, add_special_tokens=False)["input_ids"])

    def count_batch(self, texts: list[str]) -> list[int]:
        return [len(ids) for ids in self.encode_batch(texts)]

    def decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def decode_batch(self, batch: list[list[int]]) -> list[str]:
        return [self.decode(ids) for ids in batch]

    def token(self, token_id: int) -> str:
        return self._tokenizer.convert_ids_to_tokens(token_id) or ""

    def tokens_are_additive(self) -> bool:
        return tokens_are_additive(self._tokenizer.get_vocab())

    def chat(self, messages: Sequence[Message], *, keep_bos: bool = False) -> str:
        """Return the conversation in the model's chat template, ending with the generation prompt."""
        return self._template.render(messages, without_bos=self.overhead > 0 and not keep_bos)

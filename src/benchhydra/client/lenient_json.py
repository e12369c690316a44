"""Decodes JSON as servers write it: strictly, and only if that fails, with what many of them get wrong.

Python servers write NaN and Infinity (in logprobs). Servers that cut UTF-16 or UTF-8 into tokens write half a
character: a lone surrogate, or bytes that are not UTF-8. All three are read; half characters become U+FFFD. The strict
decoder (msgspec) is five times as fast.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

#: Exceptions that decoding of received bytes may raise.
BROKEN_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

decode_strictly = msgspec.json.Decoder().decode
#: An escaped pair of surrogates, any other escape, or a lone surrogate (group 1).
_ESCAPE = re.compile(r"\\u[dD][89abAB]\w\w\\u[dD][c-fC-F]\w\w|(\\u[dD][89a-fA-F]\w\w)|\\.")


def decode(data: bytes) -> Any:
    """Return the document in ``data``. Raises one of ``BROKEN_JSON``."""
    try:
        return decode_strictly(data)
    except BROKEN_JSON:
        document = _decode_leniently(data)
        if document is None:
            raise
        return document


def _decode_leniently(data: bytes) -> Any:
    """Return the document; None if it is broken in another way."""
    text = data.removeprefix(BYTE_ORDER_MARK).decode(errors="replace")
    text = _ESCAPE.sub(lambda escape: r"\ufffd" if escape[1] else escape[0], text)
    try:
        return json.loads(text, parse_constant=lambda constant: None)
    except (ValueError, RecursionError):
        return None

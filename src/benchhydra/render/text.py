"""Escaping of text from outside for each medium: terminals, Markdown, spreadsheets, XML."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f]")
#: The characters that Markdown interprets. An underscore between letters is plain text.
MARKUP = re.compile(r"[\\`*|\[\]#~]|(?<!\w)_|_(?!\w)")
NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")  # the negation takes 5 ms to compile
#: First characters with which a spreadsheet treats a cell as a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def printable(text: str) -> str:
    """The text in one line, with control characters replaced by "?"."""
    return UNPRINTABLE.sub("?", " ".join(text.split()))


def escape_markdown(text: str) -> str:
    """The text in one line, with Markdown and HTML escaped; safe in a table cell."""
    escaped = MARKUP.sub(r"\\\g<0>", printable(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown_code(text: str) -> str:
    """The text as inline code."""
    return f"`{printable(text).replace('`', chr(39))}`"


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """The lines of a table. Cells must be escaped already. ``right``: indices of right-aligned columns."""
    ruler = "".join("--:|" if column in right else "---|" for column in range(len(heads)))
    return [_row(heads), f"|{ruler}", *map(_row, rows)]


def csv_cell(text: str) -> str:
    """The text, with a leading quote if a spreadsheet would treat it as a formula."""
    return f"'{text}" if text[:1] in FORMULA else text


def xml_text(text: str) -> str:
    """The text, with characters that XML 1.0 does not allow replaced by "?"."""
    return NOT_XML.sub("?", text)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"

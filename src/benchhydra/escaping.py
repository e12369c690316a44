"""Escaping of text from outside, one function for each medium: terminal, Markdown, HTML, XML, spreadsheet.

Model names, error texts of servers, descriptions and labels are chosen by others: they may hold control sequences that
move the cursor or set the window's title, characters that reverse the direction of writing, markup, and formulas.
"""

from __future__ import annotations

import os
import re
from functools import cache

#: Control characters of both sets (C0 and C1), without the line feed.
_CONTROL = "\x00-\x09\x0b-\x1f\x7f-\x9f"
#: Characters that change the direction of the text around them, and halves of characters, which cannot be written.
_DECEPTIVE = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
#: First characters with which a spreadsheet treats a cell as a formula, also in their wide forms.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


# Patterns are compiled when they are needed: this module is imported by every process, and they take 6 ms together.
@cache
def _unprintable() -> re.Pattern[str]:
    return re.compile(f"[{_CONTROL}{_DECEPTIVE}]")


@cache
def _terminal_control() -> re.Pattern[str]:
    """As ``_unprintable``, but for tabs, returns, and the sequences that rich writes.

    These are colours (SGR) and, of a live line, "clear the line", "up", "hide the cursor" and "show the cursor".
    """
    return re.compile(f"\x1b\\[(?:[0-9;]*m|2K|[0-9]*A|\\?25[hl])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_DECEPTIVE}]")


@cache
def _workflow_command() -> re.Pattern[str]:
    """The beginning of a line that GitHub would take for a command of the workflow."""
    return re.compile(r"^(\s*):(?=:)|#(?=#\[)", re.MULTILINE)


@cache
def _markup() -> re.Pattern[str]:
    """The characters that Markdown interprets. An underscore between letters is plain text."""
    return re.compile(r"[\\`*|\[\]#~$]|(?<!\w)_|_(?!\w)|^[-+](?=\s)|(?<=^\d)[.)](?=\s)|^[-=]+$")


@cache
def _not_xml() -> re.Pattern[str]:
    """What XML 1.0 does not allow, and what is deceptive. (The negated class would take 5 ms to compile.)"""
    return re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff{_DECEPTIVE}]")


def printable(text: str) -> str:
    """The text in one line, with what a terminal would interpret replaced by "?"."""
    line = " ".join(text.split())
    return line if line.isprintable() else _unprintable().sub("?", line)


def printable_lines(text: str) -> str:
    """The text with its line breaks and indentation; everything else that a terminal would interpret is "?"."""
    return text if text.isprintable() else _unprintable().sub("?", text.expandtabs())


def without_terminal_control(text: str) -> str:
    """The text without control sequences, except those that our own tables and progress displays write.

    On GitHub, lines that would be commands of the workflow (``::error::``) are broken up.
    """
    if not text.replace("\n", "").isprintable():
        text = _terminal_control().sub(lambda match: match[0] if len(match[0]) > 1 else "?", text)
    if "GITHUB_ACTIONS" in os.environ:
        text = _workflow_command().sub(lambda match: f"{match[0]} ", text)
    return text


def escape_markdown(text: str) -> str:
    """The text in one line, with Markdown and HTML escaped; safe in a table cell."""
    escaped = _markup().sub(r"\\\g<0>", printable(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown_code(text: str) -> str:
    """The text as inline code; safe in a table cell."""
    return f"`{printable(text).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def escape_html(text: str) -> str:
    """The text in one line, with HTML escaped, for text and for quoted attributes."""
    from html import escape  # start-up time: loads a table of 2,000 entities

    return escape(printable(text))


def xml_text(text: str) -> str:
    """The text, with characters that XML 1.0 does not allow, and deceptive ones, replaced by "?"."""
    return text if text.isprintable() else _not_xml().sub("?", text)


def csv_cell(text: str) -> str:
    """The text in one line, with a leading quote if a spreadsheet would treat it as a formula."""
    line = printable(text)
    return f"'{line}" if line.startswith(_FORMULA) and not _is_number(line) else line


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

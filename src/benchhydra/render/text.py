"""Numbers and texts as they are shown: short figures, escaped Markdown, CSV cells that no spreadsheet runs."""

from __future__ import annotations

import math
import re


def number(value: float) -> str:
    """Four significant digits, never an exponent for what people read: 0.1234, 12.34, 1,234."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    digits = 1 if size >= 100 else 2 if size >= 10 else 3 if size >= 1 else 4 if size >= 0.1 else _small_digits(size)
    return f"{value:.{digits}f}"


def _small_digits(size: float) -> int:
    """Decimals of a figure below 0.1: three significant digits, and never so few that it shows as zero."""
    return min(12, 2 - math.floor(math.log10(size)))


def escape_markdown(text: str) -> str:
    """A text that stands as it is in Markdown, in a table cell too: one line, nothing that marks up."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]<>|#~!])", r"\\\1", flat)


def csv_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text

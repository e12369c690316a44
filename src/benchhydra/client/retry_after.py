"""The wait that a server asks for before another try: the headers ``Retry-After`` and OpenAI's ``retry-after-ms``."""

from __future__ import annotations

import math
from collections.abc import Mapping

SECONDS_OR_DATE, MILLISECONDS = b"retry-after", b"retry-after-ms"
#: The headers by their names in lower case.
RETRY_HEADERS = frozenset((SECONDS_OR_DATE, MILLISECONDS))


def retry_after_s(headers: Mapping[bytes, bytes], now_s: float) -> float | None:
    """Return the wait in seconds; None if the headers have none that can be read (RFC 9110, section 10.2.3).

    now_s: the time since 1970, from which a date counts.
    """
    if (milliseconds := _number(headers.get(MILLISECONDS, b""))) is not None:
        return milliseconds / 1000
    value = headers.get(SECONDS_OR_DATE, b"")
    if (seconds := _number(value)) is not None:
        return seconds
    date_s = _date_s(value) if value else None
    return None if date_s is None else date_s - now_s


def _date_s(value: bytes) -> float | None:
    """Return a date in seconds since 1970; None if it is none. A date without a time zone is in GMT."""
    import email.utils  # start-up time: 8 ms, only needed for a date

    try:
        parts = email.utils.parsedate_tz(value.decode("latin-1"))
        return None if parts is None else email.utils.mktime_tz(parts)
    except (ValueError, OverflowError):
        return None


def _number(value: bytes) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None

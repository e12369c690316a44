"""Recognizes error objects: servers and gateways put them, in forms of their own, where content is expected.

A document with choices is an error only if it says so under ``error``. A document without choices is one if it has a
key that names an error, a code or status of failure, or a message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_ERROR_KEYS = (
    *("error", "errors", "err", "error_message", "error_msg", "errormsg", "errmsg", "err_msg", "error_description"),
    *("error_code", "errcode", "err_code", "exception", "fault", "failure", "detail", "details"),
)
_MESSAGE_KEYS = ("message", "msg", "detail", "details", "title", "reason", "status_msg", "status_message")
_CODE_KEYS = ("code", "status_code", "statuscode", "http_code", "http_status", "ret", "retcode", "status")
#: Keys whose text may say that something failed: ``{"type": "error"}``, ``{"status": "failed"}``.
_KIND_KEYS = ("type", "object", "status", "state", "event", "code", "level")
_FAILURE_WORDS = ("error", "fail", "exception", "timeout", "timed out", "denied", "refused", "overload", "unavailable")
_GOOD_CODES = ("", "0", "ok", "success", "succeeded", "completed", "in_progress", "running", "200")
_HEARTBEATS = ("ping", "pong", "heartbeat", "keepalive", "keep-alive", "keep_alive")
_MAX_DEPTH = 4


def is_error(document: Mapping[str, Any]) -> bool:
    """Return whether a document calls itself an error: {"error": ...}, or vLLM's older {"object": "error", ...}."""
    return bool(document.get("error")) or document.get("object") == "error"


def looks_like_error(document: Mapping[str, Any]) -> bool:
    """Return whether a document without choices is an error object, in any of the forms that servers use."""
    return is_error(document) or _reports_failure(document, depth=0)


def error_message(document: Any) -> str:
    """Return the message of an error object, in any of the forms that servers use; "" if it has none."""
    return next(_messages(document, 0), "")


def _messages(value: Any, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, list) and depth < _MAX_DEPTH:
        for item in value:
            yield from _messages(item, depth + 1)
    elif isinstance(value, Mapping) and depth < _MAX_DEPTH:
        by_name = _lower(value)
        for key in (*_ERROR_KEYS, *_MESSAGE_KEYS):
            if key in by_name and not key.endswith("code"):
                yield from _messages(by_name[key], depth + 1)
        for inner in by_name.values():
            if isinstance(inner, Mapping):
                yield from _messages(inner, depth + 1)


def _reports_failure(document: Mapping[str, Any], depth: int) -> bool:
    by_name = _lower(document)
    if by_name.get("type") in _HEARTBEATS or by_name.get("event") in _HEARTBEATS:
        return False
    if any(_says_something(by_name.get(key)) for key in _ERROR_KEYS) or by_name.get("success") is False:
        return True
    if any(_is_failure_code(by_name.get(key)) for key in _CODE_KEYS):
        return True
    if any(_is_failure_word(by_name.get(key)) for key in _KIND_KEYS):
        return True
    if depth == 0 and by_name.get("success") is not True and not _has_good_code(by_name):
        message = by_name.get("message") or by_name.get("msg")
        if isinstance(message, str):
            return True
    inner = (value for key, value in by_name.items() if isinstance(value, Mapping) and key != "usage")
    return depth == 0 and any(_reports_failure(value, depth=1) for value in inner)


def _lower(document: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key).lower(): value for key, value in document.items()}


def _says_something(value: Any) -> bool:
    """Return whether a value under a key like ``errors`` reports one: not null, 0, "0", false, or empty."""
    return bool(value) and not (isinstance(value, str) and value.lower() in _GOOD_CODES)


def _is_failure_code(value: Any) -> bool:
    return type(value) is int and value != 0 and not 100 <= value < 400


def _is_failure_word(value: Any) -> bool:
    if not isinstance(value, str) or value.lower() in _GOOD_CODES:
        return False
    return (value.isdigit() and not 100 <= int(value[:6]) < 400) or any(
        word in value.lower() for word in _FAILURE_WORDS
    )


def _has_good_code(by_name: Mapping[str, Any]) -> bool:
    codes = [by_name[key] for key in _CODE_KEYS if key in by_name]
    return any(str(code).lower() in _GOOD_CODES for code in codes)

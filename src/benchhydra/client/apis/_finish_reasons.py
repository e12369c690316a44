"""Finish reasons that are normal ends of an answer.

An answer with any other one (``abort``, ``error``, ``cancelled``, ``insufficient_system_resource``, a name that nobody
knows) was not generated to its end. So was one that a content filter has cut.
"""

from __future__ import annotations

_NORMAL = frozenset(
    (
        *("stop", "length", "tool_calls", "function_call", "tool_call", "tool_use"),
        *("eos", "eos_token", "stop_token", "stop_sequence", "stop_string", "stop_str", "end_turn", "end"),
        *("max_tokens", "max_length", "max_output_tokens", "max_new_tokens", "model_length", "limit"),
        *("complete", "completed", "done", "finished", "finish", "success", "repetition"),
    )
)


def is_normal_end(reason: str) -> bool:
    """Return whether an answer with this finish reason was generated to its end: "stop", "LENGTH", "EOS token"."""
    name = reason.strip().lower().rpartition(".")[2]  # "FinishReason.LENGTH"
    return name.removeprefix("finish_reason_").replace(" ", "_").replace("-", "_") in _NORMAL

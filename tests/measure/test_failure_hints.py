"""What to type after a server refused every request, by the words of real servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchhydra.measure.failure_hints import failure_hint


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        ("HTTP 400: Unrecognized request argument supplied: ignore_eos", "script.ignore_eos=false"),
        ("HTTP 422: Input validation error: `temperature` must be strictly positive", "script.body.temperature=null"),
        ("HTTP 422: Extra inputs are not permitted: stream_options", "script.body.stream_options=null"),
        ("HTTP 400: Unsupported parameter: 'max_tokens' is not supported with this model.", "api.token_limit="),
        ("HTTP 400: This model's maximum context length is 64 tokens, max_tokens is 80", "dataset.prompt_tokens"),
        ("HTTP 401: invalid key", "engine.headers.NAME=VARIABLE"),
        ("HTTP 403: forbidden", "engine.api_key_env=VARIABLE"),
        ("HTTP 404: The model `tiny` does not exist.", "engine.served_model=NAME"),
        ("HTTP 404: no route /v1/completions", "engine.path="),
        ("HTTP 405: Method Not Allowed", "engine.path="),
        ("HTTP 400: streaming is not supported", "script.stream=false"),
    ],
)
def test_the_hint_names_our_key(error: str, hint: str) -> None:
    assert hint in failure_hint(error, None)
    assert "server.log" not in failure_hint(error, Path("run/server.log"))


def test_other_errors_refer_to_the_log_only_if_there_is_one() -> None:
    assert failure_hint("HTTP 500: CUDA out of memory", Path("run/server.log")) == "see run/server.log"
    assert ".log" not in failure_hint("HTTP 500: CUDA out of memory", None)

"""What to type when a server refuses all requests: the key that leaves a refused parameter out, or corrects it."""

from __future__ import annotations

import re
from pathlib import Path

#: Pattern in the request's error -> hint. The first that matches counts.
HINTS = (
    (r"\bignore_eos\b", "script.ignore_eos=false leaves ignore_eos out; answers may then be shorter than asked for"),
    (r"\btemperature\b", "script.body.temperature=null leaves temperature out, script.temperature=1 sends another one"),
    (
        r"\bstream_options\b|\binclude_usage\b",
        "script.body.stream_options=null leaves stream_options out; the server then reports no token counts",
    ),
    (r"context length|context window|max_model_len", "fewer dataset.prompt_tokens or dataset.output_tokens"),
    (r"\bmax_completion_tokens\b|\bmax_tokens\b", "api.token_limit=max_completion_tokens, max_tokens or none"),
    (r"\bHTTP 40[13]\b", "engine.api_key_env=VARIABLE, or engine.headers.NAME=VARIABLE for a header of a gateway"),
    (r"model\b.*\b(?:not found|does not exist|not exist)", "engine.served_model=NAME"),
    (
        r"\bHTTP 40[45]\b",
        "engine.path=/v1, /api/v3, ... is the path of the API below engine.base_url; api=chat or another",
    ),
    (r"\bstream(?:ing)?\b.*\bnot (?:supported|allowed|available)", "script.stream=false asks for whole answers"),
)


def failure_hint(error: str, log: Path | None) -> str:
    """Return what to type after a request's error. log: where this point's server log will be; None without one."""
    for pattern, hint in HINTS:
        if re.search(pattern, error, re.IGNORECASE | re.DOTALL):
            return hint
    return f"see {log}" if log is not None else "the server's own log may say more"

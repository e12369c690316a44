"""The gate that hides secrets: by name, by URL, by known value; before anything is cut."""

import base64
import html
import io
import itertools
import json
import os
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhydra import redaction, registry
from benchhydra.redaction import (
    excerpt,
    is_secret_name,
    protect,
    protect_config,
    protect_words,
    redact,
    redact_config,
    secret_names,
    url_secrets,
)

CANARY = "sk-Canary/7+a=Q2 é"


@pytest.fixture(autouse=True)
def only_known_here() -> Iterator[None]:
    """Each test begins with the secrets of the environment, and leaves none behind."""
    redaction._known.cache_clear()
    yield
    redaction._known.cache_clear()


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "apiKey",
        "API-KEY",
        "apikey",
        "engine.env.HF_TOKEN",
        "hfToken",
        "token",
        "GITHUB_PAT",
        "secret",
        "clientSecret",
        "DB_PASSWORD",
        "passwd",
        "credentials",
        "Authorization",
        "X-Api-Key",
        "api_keys",
        "hftoken",
        "GITHUBTOKEN",
        "dbpassword",
        "MYSECRET",
        "access_tokens",
        "AWS_SECRET_ACCESS_KEY",
        "sig",
        "X-Amz-Signature",
        "key",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "max_tokens",
        "tokenizer",
        "prompt_tokens",
        "output_tokens",
        "stop_token_ids",
        "eos_token",
        "pad_token",
        "max_num_batched_tokens",
        "api_key_env",
        "ssl_key_file",
        "key_metrics",
        "point_key",
        "cache_key",
        "pattern",
        "path",
        "patience",
        "keyboard",
        "skip_special_token",
        "monkey",
        "tokens_per_chunk",
        "time_to_first_token",
        "token_limit",
        "compat_mode",
        "eostoken",
    ],
)
def test_names_of_other_things(name: str) -> None:
    assert not is_secret_name(name)


def test_no_declared_key_has_a_secret_name_except_those_that_name_a_variable() -> None:
    import dataclasses

    registry.discover()
    names = {
        f"{group}.{field.name}"
        for group in registry.GROUPS
        for option in registry.options(group).values()
        for field in dataclasses.fields(option)
    }
    assert [name for name in names if is_secret_name(name)] == []


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("see http://user:PW@host:80/a?b=c", "see http://***@host:80/a?b=c"),
        ("https://ghp_abc@github.com/o/r", "https://***@github.com/o/r"),
        ("http://u:P/W@host/x", "http://***@host/x"),
        ("http://host:8000/models@main", "http://host:8000/models@main"),
        ("http://[::1]:80/a@b", "http://[::1]:80/a@b"),
        ("https://h/f?sv=1&sig=a%2Fb&se=2", "https://h/f?sv=1&sig=***&se=2"),
        ("https://h/f?X-Amz-Signature=abc&X-Amz-Date=1", "https://h/f?X-Amz-Signature=***&X-Amz-Date=1"),
        ("https://h/f?key=abc#x", "https://h/f?key=***#x"),
        ("postgresql+psycopg://u:pw@db/x", "postgresql+psycopg://***@db/x"),
        ("engine.env.GITHUB_PAT=abc failed", "engine.env.GITHUB_PAT=*** failed"),
        ("++engine.args.api_keys=[a1,b2]", "++engine.args.api_keys=***"),
        ("engine.env={GITHUB_PAT:abc,A:1}", "engine.env={GITHUB_PAT:***,A:1}"),
        ('{"api_key": "abc", "n": 1}', '{"api_key": "***", "n": 1}'),
        ("{'api_key': 'abc'}", "{'api_key': '***'}"),
        ("--api-key=abc", "--api-key=***"),
        ("engine.env.MY_TOKEN=[abc: cannot be read", "engine.env.MY_TOKEN=***: cannot be read"),
        ("engine.headers.api-key=NO_SUCH: this variable", "engine.headers.api-key=NO_SUCH: this variable"),
        ("Authorization: Bearer abc-123-def", "Authorization: *** ***"),
        ("Bearer abc-123-def is wrong", "Bearer *** is wrong"),
        ("Basic understanding of tokens: 5", "Basic understanding of tokens: 5"),
        ("no such key: script.body", "no such key: script.body"),
        ("unexpected token: <EOF>", "unexpected token: <EOF>"),
        ("KeyError: 'metrics'", "KeyError: 'metrics'"),
        ("HF_TOKEN: not set; no matching signature: f", "HF_TOKEN: not set; no matching signature: f"),
        ("password: Abc1 token=Abc1", "password: *** token=***"),
        ("max_tokens=5 prompt_tokens: 7", "max_tokens=5 prompt_tokens: 7"),
        ("engine.api_key_env=MY_KEY: this", "engine.api_key_env=MY_KEY: this"),
        ("engine.headers.api-key=MY_KEY", "engine.headers.api-key=MY_KEY"),
        ("export HF_TOKEN=... instead", "export HF_TOKEN=... instead"),
        ("engine.env.HF_TOKEN=${oc.env:X}", "engine.env.HF_TOKEN=${oc.env:X}"),
    ],
    ids=itertools.count(),  # pytest exports the id of a test, and the gate looks into all of the environment
)
def test_texts_are_redacted_by_their_shape(text: str, hidden: str) -> None:
    assert redact(text) == hidden
    assert redact(hidden) == hidden


def test_a_known_value_is_hidden_in_every_form() -> None:
    protect([CANARY])
    for form in (
        CANARY,
        quote(CANARY),
        quote(CANARY, safe=""),
        quote_plus(CANARY),
        html.escape(CANARY),
        json.dumps(CANARY),
        repr(CANARY),
        ascii(CANARY),
    ):
        assert "Canary" not in redact(f"a {form} b"), form


@given(st.text("xyzABC019", min_size=0, max_size=7), st.text("xyzABC019", min_size=0, max_size=7))
def test_a_known_value_is_hidden_in_base64_wherever_it_stands(before: str, after: str) -> None:
    secret = "hunter2-hunter2-X"
    protect([secret])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(f"{before}{secret}{after}".encode()).decode()
        assert "***" in redact(encoded)
        assert secret[3:-3] not in base64.b64decode(redact(encoded).partition("***")[0] + "==", validate=False).decode(
            errors="replace"
        )


@given(st.integers(0, 40), st.integers(0, 200))
def test_no_beginning_of_a_secret_survives_a_cut(at: int, limit: int) -> None:
    secret = "sk-Abcdefgh1234567890"
    protect([secret])
    for text in (" " * at + secret + " tail", (" " * at + secret + " tail").encode()):
        shown = excerpt(text, limit)
        assert len(shown) <= limit and secret[:4] not in shown
    assert secret[:8] not in redact("cut off: " + secret[:12])


def test_short_and_ordinary_values_hide_no_parts_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "benchhydra")
    monkeypatch.setenv("MY_SECRET", "12345678")
    monkeypatch.setenv("SSH_KEY", "/etc/hosts")
    redaction._known.cache_clear()
    protect(["late"])
    assert redact("benchhydra 12345678 /etc/hosts latest") == "benchhydra 12345678 /etc/hosts latest"
    assert redact("too late.") == "too ***."


def test_values_of_the_environment_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_Qwertz123456")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:Pr0xy-Pass@proxy:3128")
    redaction._known.cache_clear()
    assert redact("got hf_Qwertz123456 and Pr0xy-Pass") == "got *** and ***"


def test_a_config_is_redacted_by_name_and_by_value() -> None:
    config = {
        "engine": {
            "env": {"HF_TOKEN": "x", "PATH": "/bin", "HTTPS_PROXY": "http://u:Proxy-Pass1@p:1"},
            "args": {"api_key": "y", "api_keys": ["abc", "def"], "max_num_batched_tokens": 5, "api-key": 12},
            "headers": {"api-key": "MY_VARIABLE"},
            "api_key_env": "KEY",
        },
        "note": "Proxy-Pass1",
    }
    protect_config(config)
    assert redact_config(config) == {
        "engine": {
            "env": {"HF_TOKEN": "***", "PATH": "/bin", "HTTPS_PROXY": "http://***@p:1"},
            "args": {"api_key": "***", "api_keys": ["***", "***"], "max_num_batched_tokens": 5, "api-key": "***"},
            "headers": {"api-key": "MY_VARIABLE"},
            "api_key_env": "KEY",
        },
        "note": "***",
    }
    assert secret_names(config) == [
        *("engine.env.HF_TOKEN", "engine.args.api_key", "engine.args.api_keys", "engine.args.api-key")
    ]
    assert secret_names(redact_config(config)) == []
    replicas = {"engine": {"replica_env": [{"HF_TOKEN": "one-One1"}, {"HF_TOKEN": "two-Two2", "A": "b"}]}}
    assert secret_names(replicas) == ["engine.replica_env.HF_TOKEN"]
    assert redact_config(replicas) == {"engine": {"replica_env": [{"HF_TOKEN": "***"}, {"HF_TOKEN": "***", "A": "b"}]}}
    assert secret_names({"engine": {"api_key_env": "KEY", "tokenizer": "t"}, "dataset": {"output_tokens": 5}}) == []


def test_the_words_of_a_command_line_are_known() -> None:
    protect_words(
        [
            "engine.env.MY_PAT=one-One1,two-Two2",
            "dataset.path=https://h/f?sig=Sig%2Fna",
            "engine.args.api_keys=[k-Key33]",
        ]
    )
    assert redact("one-One1 two-Two2 Sig%2Fna Sig/na k-Key33") == "*** *** *** *** ***"
    assert url_secrets("no address") == set()


def test_everything_that_is_printed_passes_the_gate() -> None:
    protect(["Pa55word-xyz"])
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), redaction.guarded_output():
        print("a Pa55word-xyz", "\x1b]0;title\x07 \x1b[31mred\x1b[0m \u202e")  # noqa: T201
        os.sys.stderr.writelines(["Pa55word-", "xyz\n"])  # type: ignore[attr-defined]
    assert out.getvalue() == "a *** ?]0;title? \x1b[31mred\x1b[0m ?\n"
    assert err.getvalue() == "***\n"


def test_60_000_error_texts_take_less_than_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        monkeypatch.setenv(f"SERVICE{number}_TOKEN", f"tok-{number}-Abcdefgh-{number}")
    redaction._known.cache_clear()
    texts = [
        f"HTTP 500: request {number} failed: CUDA out of memory, tried to allocate 20 MiB" for number in range(60_000)
    ]
    start_s = time.process_time()
    assert [redact(text) for text in texts] == texts
    assert time.process_time() - start_s < 2


@pytest.mark.parametrize(
    "word",
    [
        "engine.headers.api-key=GATEWAY_KEY",
        "++engine.headers.api-key=GATEWAY_KEY",
        "engine.headers.api-key=GATEWAY_KEY,OTHER_KEY",
        "engine.headers={api-key:GATEWAY_KEY}",
    ],
)
def test_names_of_variables_are_no_secrets(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_KEY", "sk-1234567890")
    monkeypatch.setenv("OTHER_KEY", "sk-0987654321")
    protect_words([word])
    assert redact(word) == word
    config = {"engine": {"headers": {"api-key": "GATEWAY_KEY"}}}
    assert redact_config(config) == config and secret_names(config) == []


def test_the_name_of_an_unset_variable_is_readable() -> None:
    error = "engine.headers.api-key=NO_SUCH: this environment variable is not set"
    assert redact(error) == error

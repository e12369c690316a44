"""Redaction: the one gate through which every text passes that is stored, logged, shown or printed.

A text is secret if it stands under a secret name (``api_key``, ``GITHUB_PAT``), if it is the credentials or the
signature of a URL (``http://user:PASSWORD@host``, ``?sig=...``), or if this process knows the value to be secret: from
environment variables with secret names, from headers, from the command line and the config. ``redact`` replaces all of
these by ``***``, also values that are percent-encoded, in base64, or cut off. A text must be redacted before it is cut,
because neither a value nor a URL is reliably recognized by its beginning: ``excerpt`` does both in the right order.

This module imports nothing heavy: client processes, which start with every load of several processes, import it.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO, cast

from benchhydra.escaping import without_terminal_control


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


HIDDEN = "***"
#: Texts that make a word of a name secret, wherever they stand in it, ...
SECRET_PARTS = ("apikey", "credential", "passphrase", "passwd", "password", "secret")
#: ... words that do so, ...
SECRET_WORDS = frozenset(("authorization", "bearer", "cookie", "jwt", "pat", "pwd", "sig", "signature"))
#: ... and ends of words that do so unless another word says that it is something else.
KEY_WORDS = ("key", "token")
NOT_A_SECRET_KEY = _words(
    """bos cache cls column columns count end eos error errors exception first foreign group id ids ignore image limit
    mask max media metric metrics min name num output pad partition per point primary prompt public sep skip sort
    special start stop time type unk view"""
)
#: The plurals are mostly counts: ``max_tokens``. They are secret after these words.
PLURALS = ("keys", "tokens")
OWNERS = frozenset(("access", "api", "auth", "bearer", "hf", "private", "secret", "session", "signing", "ssh"))
#: The last word of a name whose value says where a secret is: ``engine.api_key_env``, ``ssl_key_file``.
WHEREABOUTS = frozenset(("env", "file", "path", "dir"))
#: Query parameters of signed URLs that are no secret names.
SIGNED_PARAMETERS = frozenset(("x-amz-credential", "x-goog-credential", "auth", "sas"))
#: Values that stand in messages for a secret.
PLACEHOLDERS = frozenset(("KEY", "VALUE", "TOKEN", "NAME", "SECRET", "PASSWORD", "None", "null", "true", "false"))

#: Shorter values are not recognized: they would hide parts of ordinary words.
SHORTEST = 4
#: Shorter values of the environment are not recognized unless the config names the variable.
SHORTEST_OF_ENVIRONMENT = 8
#: The shortest beginning of a value that is recognized. Values shorter than this must stand as a word of their own.
PREFIX = 8
#: ``excerpt`` looks at this much of a text, so that it takes no longer for an answer of 10 MB.
EXCERPT_SOURCE = 64 * 1024
#: Files are copied in blocks of about this size, which end with a line.
BLOCK = 1 << 20


def is_secret_name(name: str) -> bool:
    """Return whether a name (of a key, variable, flag, header or parameter) says that its value is secret.

    Only the last part of a dotted name counts: ``engine.env.HF_TOKEN``.
    """
    return _is_secret_name(name.rpartition(".")[2])


@lru_cache(maxsize=4096)
def _is_secret_name(name: str) -> bool:
    words = [word.lower() for word in _word().findall(name)]
    if not words or words[-1] in WHEREABOUTS:
        return False
    if SECRET_WORDS.intersection(words) or any(part in word for word in words for part in SECRET_PARTS):
        return True
    if any(first in OWNERS and second in PLURALS for first, second in pairwise(words)):
        return True
    owners = {*words, *(word.removesuffix(end) for word in words for end in KEY_WORDS)}
    return any(map(_is_key, words)) and not NOT_A_SECRET_KEY.intersection(owners)


def _is_key(word: str) -> bool:
    """``key``, ``token`` and ``hftoken``, but not ``monkey``."""
    return word in KEY_WORDS or word.endswith(("token", "accesskey", "privatekey", "authkey"))


class _KnownSecrets:
    """The secret values that this process knows, and the texts by which they are found."""

    def __init__(self) -> None:
        self.values: set[str] = set()
        #: (beginning that is searched for, whole form, whether it must stand as a word of its own)
        self.needles: list[tuple[str, str, bool]] = []

    def add(self, values: Iterable[str]) -> None:
        """Add values, each with its lines and forms."""
        parts = {part for value in values for part in (value, value.strip(), *value.splitlines())}
        new = {part for part in parts if len(part) >= SHORTEST} - self.values
        if not new:
            return
        self.values |= new
        needles = {_needle(form, bounded) for value in new for form, bounded in _forms(value)}
        self.needles = sorted({*self.needles, *needles}, key=lambda needle: len(needle[1]), reverse=True)

    def hide(self, text: str) -> str:
        """Replace every value, and every beginning of one that is long enough, in a text."""
        for needle in self.needles:
            if needle[0] in text:
                text = _replace(text, *needle)
        return text


@cache
def _known() -> _KnownSecrets:
    known = _KnownSecrets()
    known.add(_environment_secrets())
    return known


def protect(values: Iterable[str]) -> None:
    """Add secret values, of ``SHORTEST`` characters at least, that ``redact`` hides from now on."""
    _known().add(values)


def protect_environment() -> None:
    """Add the values of environment variables with secret names, and the credentials of URLs in others."""
    _known().add(_environment_secrets())


def protect_config(config: Any, name: str = "") -> None:
    """Add the values under secret names in a config of mappings and lists, and the credentials of its URLs."""
    protect(_config_secrets(config, name))


def protect_words(words: Iterable[str]) -> None:
    """Add the values of secret names in the words of a command line, and the credentials of its URLs."""
    for word in words:
        name, _, value = word.partition("=")
        values = [match["value"] for match in _assignment().finditer(word.replace("{", " ")) if _is_assignment(match)]
        if is_secret_name(name):
            values.append(value)
        protect(part for value in values for part in _parts(value) if not _is_variable(name, part))
        protect(url_secrets(word))


def _parts(value: str) -> Iterator[str]:
    """Yield the values of a text in Hydra's grammar: of a list, or of a sweep over several values."""
    parts = (value, value.strip("'\""), *re.split(r"[\s,:\[\]{}()'\"]+", value))
    return (part for part in parts if part not in PLACEHOLDERS and not part.startswith(("$", HIDDEN)))


def redact(text: str) -> str:
    """Return a text without secrets."""
    text = redact_strings(text)
    if "earer " in text or "asic " in text:
        text = _scheme().sub(rf"\1 {HIDDEN}", text)
    if _hint().search(text.lower()):
        text = _assignment().sub(_hide_assignment, text)
    return text


def redact_strings(text: str) -> str:
    """Return source text (JSON) whose strings are without known secrets and credentials of URLs.

    Unlike ``redact`` it does not touch what stands under a secret name: that may be no string.
    """
    text = _known().hide(text)
    return _url().sub(lambda match: _hide_in_url(match[0]), text) if "://" in text else text


def redact_known(text: str) -> str:
    """Return a text without the known secret values; what only looks like a secret stays (prompts and answers)."""
    return _known().hide(text)


def redact_value(value: Any) -> Any:
    """Return JSON-like data without secrets in its texts, which can then be encoded: half a character becomes "?".

    Names of keys are not considered: see ``redact_config``.
    """
    if isinstance(value, str):
        text = redact(value)
        return text if text.isascii() else text.encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {key: redact_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_value(item) for item in value]
    return value


def redact_config(value: Any, name: str = "") -> Any:
    """Return a config of mappings and lists without secrets: also everything under a secret name is ``***``."""
    if isinstance(value, Mapping):
        return {redact(str(key)): redact_config(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_config(item, name) for item in value]
    if _is_secret_value(name, value):
        return HIDDEN
    return redact(value) if isinstance(value, str) else value


def secret_names(config: Any, prefix: str = "", *, without: Collection[str] = ()) -> list[str]:
    """Return the dotted names of a config under which a secret stands as it is, not as ``***``.

    Places in lists are left out: ``engine.replica_env.HF_TOKEN``. without: values that do not count.
    """
    if isinstance(config, Mapping):
        items = [(f"{prefix}.{key}" if prefix else str(key), item) for key, item in config.items()]
        return [name for key, item in items for name in secret_names(item, key, without=without)]
    if isinstance(config, (list, tuple)):
        return list(dict.fromkeys(name for item in config for name in secret_names(item, prefix, without=without)))
    return [prefix] if _is_secret_value(prefix, config) and str(config) not in without else []


def excerpt(text: str | bytes, limit: int) -> str:
    """Return the beginning of a text or of received bytes, redacted and then cut to ``limit`` characters."""
    source = text[:EXCERPT_SOURCE]
    source = source.decode(errors="replace") if isinstance(source, bytes) else source
    return redact(source)[:limit]


def redact_bytes(data: bytes) -> bytes:
    """Return the bytes of a text without secrets. Bytes that are not UTF-8 stay as they are."""
    return redact(data.decode(errors="surrogateescape")).encode(errors="surrogateescape")


def copy_redacted(source: Path, target: Path, *, offset: int = 0) -> None:
    """Copy a text file, from byte ``offset`` on, without secrets. Raises OSError."""
    with source.open("rb") as readable, target.open("wb") as writable:
        readable.seek(offset)
        while block := readable.read(BLOCK):
            writable.write(redact_bytes(block + readable.readline(BLOCK)))


def redact_file(path: Path) -> None:
    """Replace a text file by a copy without secrets, if it holds any. Raises OSError."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        copy_redacted(path, partial)
        if partial.stat().st_size != path.stat().st_size or partial.read_bytes() != path.read_bytes():
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def url_secrets(text: str) -> set[str]:
    """Return the credentials and signatures of the URLs in a text."""
    if "://" not in text:
        return set()
    from urllib.parse import unquote  # start-up time: few texts have a URL

    secrets = {secret for match in _url().finditer(text) for secret in _secrets_of_url(match[0])}
    return secrets | {unquote(secret) for secret in secrets}


@contextlib.contextmanager
def guarded_output() -> Iterator[None]:
    """Redact everything that is printed to stdout and stderr during the block, and remove control sequences."""
    protect_environment()
    before = sys.stdout, sys.stderr
    guard_output()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def guard_output() -> None:
    """``guarded_output`` until the process ends."""
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)


class _GuardedStream:
    """A text stream that redacts what is written to it. All else is that of the stream behind it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(without_terminal_control(redact(text)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _guarded(stream: TextIO) -> TextIO:
    return stream if isinstance(stream, _GuardedStream) or stream is None else cast(TextIO, _GuardedStream(stream))


def _environment_secrets() -> Iterator[str]:
    for name, value in os.environ.items():
        if is_secret_name(name) and _is_unmistakable(value):
            yield value
        yield from url_secrets(value)


def _is_unmistakable(value: str) -> bool:
    """Return whether a variable's value can be told from a word, a number or a path of ordinary texts."""
    is_word = value.isalpha() and value.islower() and len(value) <= 10
    is_path = value.startswith("/") and os.path.exists(value)  # noqa: PTH110 - start-up time
    return len(value) >= SHORTEST_OF_ENVIRONMENT and not (is_word or value.isdigit() or is_path)


def _config_secrets(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _config_secrets(item, f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _config_secrets(item, name)
    elif _is_secret_value(name, value):
        yield str(value)
    elif isinstance(value, str):
        yield from url_secrets(value)


def _is_secret_value(name: str, value: Any) -> bool:
    """Return whether a value under a dotted name is secret as it stands."""
    if value in ("", HIDDEN) or not is_secret_name(name) or isinstance(value, bool):
        return False
    if isinstance(value, (int, float)):  # a password may be a number; ``key17: 5`` is something else
        return not re.fullmatch(r"(key|token)\W*\d*", name.rpartition(".")[2], re.IGNORECASE)
    return isinstance(value, str) and not _is_variable(name, value)


def _is_variable(name: str, value: str) -> bool:
    """Return whether a value is the name of an environment variable, as those of ``engine.headers`` are.

    Several names are separated by commas, in a sweep. Names that no variable has are taken as such only for headers.
    """
    is_header = ".headers." in name
    return all(
        (part in os.environ and (is_header or part.isupper()))
        or (is_header and part.replace("_", "A").isalnum() and part.isupper())
        for part in value.rstrip(":.").split(",")
    )


def _forms(value: str) -> Iterator[tuple[str, bool]]:
    """Yield the forms in which a value may appear, and whether a form must stand as a word of its own."""
    from html import escape  # start-up time: here and below, only for processes that know a secret
    from json import dumps
    from urllib.parse import quote, quote_plus, unquote

    bounded = len(value) < PREFIX or (value.isalpha() and value.islower())
    yield value, bounded
    for form in (unquote(value), quote(value), quote(value, safe=""), quote_plus(value), escape(value)):
        yield form, bounded
    for form in (dumps(value)[1:-1], dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1], ascii(value)[1:-1]):
        yield form, bounded
    if len(value) >= PREFIX:
        yield from ((form, False) for form in _base64_forms(value.encode(errors="surrogatepass")))


def _base64_forms(data: bytes) -> Iterator[str]:
    """Yield the characters that stand for the bytes wherever they begin in a text that is encoded as a whole."""
    from base64 import b64encode, urlsafe_b64encode  # start-up time, as in ``_forms``

    for before, skipped in enumerate((0, 2, 3)):
        size = before + len(data)
        end = size // 3 * 4 + size % 3
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(b"\0" * before + data).decode()[skipped:end]


def _needle(form: str, bounded: bool) -> tuple[str, str, bool]:
    """Return what to search for: the shortest beginning that is no ordinary word, or the whole form."""
    if bounded:
        return form, form, True
    size = next((i for i in range(PREFIX, len(form)) if not _is_plain(form[:i])), len(form))
    return form[:size], form, False


def _is_plain(text: str) -> bool:
    return all(character.islower() or character in "-_./: " for character in text)


def _replace(text: str, needle: str, form: str, bounded: bool) -> str:
    parts, done, at = [], 0, text.find(needle)
    while at >= 0:
        end = at + len(needle)
        while end - at < len(form) and end < len(text) and text[end] == form[end - at]:
            end += 1
        if not bounded or not (_is_inside_word(text, at - 1) or _is_inside_word(text, end)):
            parts += [text[done:at], HIDDEN]
            done = end
        at = text.find(needle, end)
    return "".join([*parts, text[done:]])


def _is_inside_word(text: str, at: int) -> bool:
    return 0 <= at < len(text) and text[at].isalnum()


@cache
def _word() -> re.Pattern[str]:
    return re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


@cache
def _url() -> re.Pattern[str]:
    return re.compile(r"""://[^\s"'<>\\^`{|}]+""")


@cache
def _hint() -> re.Pattern[str]:
    """What a lower-case text has if it may hold an assignment to a secret name: ten times as fast as to look for it."""
    parts = "|".join((*KEY_WORDS, *SECRET_PARTS, *SECRET_WORDS))
    return re.compile(rf"(?:{parts})[\w\-]*\\?[\"']? ?[=:]")


@cache
def _assignment() -> re.Pattern[str]:
    """NAME=VALUE, ``NAME: VALUE`` and ``"NAME": "VALUE"``. Every name is tried from its beginning only."""
    return re.compile(
        r"(?<![\w.\-])(?P<name>[-+~]*[A-Za-z_][\w.\-]*)(?P<sign>\\?[\"']?(?:=| ?: ?)\\?[\"']?)"
        r"(?P<value>\[[^\]\s\"\\]*\]|[\[{(]*[^\s\"',;&(){}\[\]<>|\\]+)"
    )


@cache
def _scheme() -> re.Pattern[str]:
    return re.compile(r"\b([Bb]earer|[Bb]asic) (?=\S*[0-9=])[A-Za-z0-9._~+/=\-]{8,}")


def _hide_assignment(match: re.Match[str]) -> str:
    end = match["value"][len(_value(match)) :]
    value = HIDDEN + end if _is_assignment(match) else _assignment().sub(_hide_assignment, match["value"])
    return f"{match['name']}{match['sign']}{value}"


def _value(match: re.Match[str]) -> str:
    """Return the value of an assignment, without the punctuation of the sentence that it stands in."""
    return match["value"].rstrip(":.!?") or match["value"]


def _is_assignment(match: re.Match[str]) -> bool:
    """Return whether a name and a value in a text are an assignment to a secret name, and no sentence."""
    name, sign, value = match["name"], match["sign"], _value(match)
    if not is_secret_name(name) or value in PLACEHOLDERS or value.startswith(("$", HIDDEN)):
        return False
    if not any(character.isalnum() for character in value) or _is_variable(name, value):
        return False
    if sign[0] in "\\\"'" and sign[-1] not in "\"'":  # a number or a list in JSON must stay one
        return False
    last = name.rpartition(".")[2]
    if last != name or len(_word().findall(last)) > 1:
        return not (sign.endswith(": ") and value.isalpha() and value.islower())  # HF_TOKEN: not set
    if any(part in last.lower() for part in (*SECRET_PARTS, "authorization")):
        return True
    return ":" not in sign and last.lower() not in ("key", "sig")  # no matching signature: f


def _hide_in_url(url: str) -> str:
    """Hide the credentials and the signature in ``://...``."""
    userinfo, rest = _split_userinfo(url[3:])
    path, mark, query = rest.partition("?")
    if mark:
        query = re.sub(r"([^&;=#]+)=([^&;#]*)", _hide_parameter, query)
    return f"://{f'{HIDDEN}@' if userinfo else ''}{path}{mark}{query}"


def _hide_parameter(match: re.Match[str]) -> str:
    return f"{match[1]}={HIDDEN}" if match[2] and _is_secret_parameter(match[1]) else match[0]


def _is_secret_parameter(name: str) -> bool:
    return is_secret_name(name) or name.lower() in SIGNED_PARAMETERS


def _secrets_of_url(url: str) -> Iterator[str]:
    userinfo, rest = _split_userinfo(url[3:])
    user, _, password = userinfo.partition(":")
    yield password if password and password != "x-oauth-basic" else user
    for name, value in re.findall(r"([^&;=#?]+)=([^&;#]*)", rest.partition("?")[2]):
        if _is_secret_parameter(name):
            yield value


def _split_userinfo(address: str) -> tuple[str, str]:
    """Return (userinfo, the rest) of an address; a password may hold a slash that should have been encoded."""
    authority = re.split(r"[/?#]", address, maxsplit=1)[0]
    if "@" in authority:
        userinfo, _, host = authority.rpartition("@")
        return userinfo, host + address[len(authority) :]
    port = authority.rpartition(":")[2] if ":" in authority else ""
    if port and not port.isdigit() and not authority.startswith("[") and "@" in address:
        userinfo, _, rest = address.rpartition("@")
        return userinfo, rest
    return "", address

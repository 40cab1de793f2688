"""Texts that are safe to store, to publish and to print: no secrets, no half characters, no control sequences."""

import base64
import re
import string
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

SHORTEST_SECRET = 8
"""Shorter values are not redacted: local servers take keys such as "none" or "EMPTY", which are words."""
SHORTEST_PART = 12
"""A part of a secret from this length on is redacted too, because error messages are often cut."""
SHORTEST_ENCODED = 20
"""The same of a secret in base64 or hexadecimal digits."""
_ESCAPE = re.compile(
    r"\\+u00([0-9a-f]{2})|\\+x([0-9a-f]{2})|%(?:25)*([0-9a-f]{2})|&#x0*([0-9a-f]{2});|&#0*(\d{2,3});"
    r"|\\+([/\"'\\])",
    re.IGNORECASE,
)
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
_TOKEN = re.compile(
    r"\b(hf_|sk-|sk_(?:live|test)_|gsk_|xai-|nvapi-|r8_|AIza|AKIA|gh[pousr]_|github_pat_|xox[a-z]-|glpat-)[\w-]{8,}"
    r"|\b(eyJ)[\w-]{8,}(?:\.[\w-]+)+|\b([Bb]earer |[Bb]asic )(?=\S*\d)[\w.~+/=-]{16,}"
)
REDACTED = "REDACTED"
_BIDIRECTIONAL = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Redactor:
    """Replaces secrets in texts by `[redacted]`.

    A secret is found in any case, escaped (`\\/`, `\\u002d`, `%2D`, `&#45;`), in base64 and hexadecimal digits, and in
    parts of at least 12 characters, of 20 where it is encoded.

    Args:
        secrets (`Iterable[str]`): Values that must not appear; those below 8 characters are ignored.

    Example:
        >>> Redactor(["sk-abc/def-0123456789"])('the key sk-abc\\\\/def-012345... is wrong')
        'the key [redacted]... is wrong'
    """

    def __init__(self, secrets: Iterable[str]):
        long = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        sizes = {form: SHORTEST_ENCODED for secret in long for form in _encoded(secret)}
        sizes |= dict.fromkeys(long, SHORTEST_PART)
        self._forms = {form.translate(_LOWER): min(size, len(form)) for form, size in sizes.items()}
        # Any part of the shortest redacted length contains one of these probes.
        self._probes = {
            form[start : start + SHORTEST_SECRET]
            for form, size in self._forms.items()
            for start in range(0, len(form) - SHORTEST_SECRET + 1, size - SHORTEST_SECRET + 1)
        }

    def __call__(self, text: str) -> str:
        if not self._probes:
            return text
        plain = _ESCAPE.sub(_unescaped, text).lower()
        if not any(probe in plain for probe in self._probes):
            return text
        for form in sorted(self._forms, key=len, reverse=True):
            text = self._without(text, form, self._forms[form])
        return text

    @staticmethod
    def _without(text: str, secret: str, size: int) -> str:
        parts = {secret[start : start + size]: start for start in range(len(secret) - size + 1)}
        plain, ends = _aligned(text)
        plain = plain.translate(_LOWER)
        pieces, done, index = [], 0, 0
        while index <= len(plain) - size:
            start = parts.get(plain[index : index + size])
            if start is None:
                index += 1
                continue
            last = index + size
            while last < len(plain) and secret[start + last - index : start + last - index + 1] == plain[last]:
                last += 1
            pieces += [text[done : ends[index]], "[redacted]"]
            done, index = ends[last], last
        return "".join([*pieces, text[done:]])


def _encoded(secret: str) -> Iterator[str]:
    """A secret in hexadecimal digits and in base64, without the ends that depend on its neighbours."""
    content = secret.encode("utf-8", "surrogatepass")
    yield content.hex()
    for before in range(3):
        code = base64.b64encode(bytes(before) + content).decode().rstrip("=")
        code = code[-(-before * 8 // 6) : len(code) - bool((before + len(content)) % 3)]
        yield from {code, code.replace("+", "-").replace("/", "_")}


def _unescaped(match: re.Match) -> str:
    *coded, decimal, literal = match.groups()
    if literal is not None:
        return literal
    return chr(int(decimal)) if decimal is not None else chr(int(next(filter(None, coded)), 16))


def _aligned(text: str) -> tuple[str, list[int]]:
    """The text without escapes, and where each of its characters begins in `text`, with the end of the text."""
    plain, done = "", 0
    ends: list[int] = []
    for match in _ESCAPE.finditer(text):
        plain += text[done : match.start()] + _unescaped(match)
        ends += range(done, match.start() + 1)
        done = match.end()
    return plain + text[done:], [*ends, *range(done, len(text) + 1)]


def public_url(url: str) -> str:
    """Return a URL without user name, password, query and fragment, where secrets are.

    Example:
        >>> public_url("https://me:secret@Example.org/v1/?key=secret")
        'https://example.org/v1'

    Raises:
        ValueError: The text is not a URL with a host and a valid port.
    """
    parts = urlsplit(url.strip())
    if not parts.scheme or not parts.hostname:
        raise ValueError("the text is not a URL")
    host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


def without_secrets(value: Any) -> Any:
    """A copy of a value of JSON without access tokens, and without user, password, query and fragment of its URLs.

    A query is dropped as a whole, since any of its parameters can be a key or a signature.

    Example:
        >>> without_secrets({"base_url": "https://me:secret@host:8000/v1?key=1", "token": "hf_abcdefghijkl"})
        {'base_url': 'https://REDACTED@host:8000/v1?REDACTED', 'token': 'hf_...'}
    """
    if isinstance(value, dict):
        return {without_secrets(key): without_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    if not isinstance(value, str):
        return value
    return _ADDRESS.sub(lambda match: _redacted(match[0]), _TOKEN.sub(r"\1\2\3...", value))


def _redacted(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:  # such as an IPv6 host without its bracket
        return f"{address.partition('://')[0]}://{REDACTED}"
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{REDACTED}@{host}" if "@" in parts.netloc else host
    return urlunsplit(
        (parts.scheme, netloc, parts.path, REDACTED if parts.query else "", REDACTED if parts.fragment else "")
    )


def whole_characters(text: str) -> str:
    """Return a text whose surrogate pairs are characters; half of a pair becomes U+FFFD, which is as long.

    Example:
        >>> whole_characters("so cool \\ud83d"), whole_characters("\\ud83d\\ude00")
        ('so cool \ufffd', '😀')
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def storable(text: str) -> str:
    """Return a text that every database and file takes: `whole_characters` without NUL."""
    return whole_characters(text).replace("\0", "")


def printable(text: str) -> str:
    """Return a text for a terminal: control and direction characters other than line end and tab are escaped.

    Example:
        >>> printable("a\\x1b[2Jb")
        'a\\\\x1b[2Jb'
    """
    return "".join(
        character.encode("unicode_escape").decode()
        if (unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t") or character in _BIDIRECTIONAL
        else character
        for character in text
    )

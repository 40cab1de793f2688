"""Texts that are safe to store, to publish and to print: no secrets, no half characters, no control sequences."""

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import urlsplit, urlunsplit

SHORTEST_SECRET = 8
"""Shorter values are not redacted: local servers take keys such as "none" or "EMPTY", which are words."""
SHORTEST_PART = 12
"""A part of a secret from this length on is redacted too, because error messages are often cut."""
_ESCAPE = re.compile(
    r"\\+u00([0-9a-f]{2})|\\+x([0-9a-f]{2})|%([0-9a-f]{2})|&#x([0-9a-f]{2});|&#(\d{2,3});|\\+([/\"'\\])", re.IGNORECASE
)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
REDACTED = "REDACTED"
_BIDIRECTIONAL = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Redactor:
    """Replaces secrets in texts by `[redacted]`.

    A secret is found as it is, escaped (`\\/`, `\\u002d`, `%2D`, `&#45;`), and in parts of at least 12 characters.

    Args:
        secrets (`Iterable[str]`): Values that must not appear; those below 8 characters are ignored.

    Example:
        >>> Redactor(["sk-abc/def-0123456789"])('the key sk-abc\\\\/def-012345... is wrong')
        'the key [redacted]... is wrong'
    """

    def __init__(self, secrets: Iterable[str]):
        self._secrets = sorted({secret for secret in secrets if len(secret) >= SHORTEST_SECRET}, key=len, reverse=True)
        # Any part of the shortest redacted length contains one of these probes.
        self._probes = {
            secret[start : start + SHORTEST_SECRET]
            for secret in self._secrets
            for start in range(0, len(secret) - SHORTEST_SECRET + 1, SHORTEST_PART - SHORTEST_SECRET)
        }

    def __call__(self, text: str) -> str:
        """Return `text` with every secret replaced."""
        if not self._probes:
            return text
        plain = _ESCAPE.sub(_unescaped, text)
        if not any(probe in plain for probe in self._probes):
            return text
        for secret in self._secrets:
            text = self._without(text, secret)
        return text

    @staticmethod
    def _without(text: str, secret: str) -> str:
        size = min(SHORTEST_PART, len(secret))
        parts = {secret[start : start + size]: start for start in range(len(secret) - size + 1)}
        plain, ends = _aligned(text)
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


def redact_urls(value):
    """A copy of a value of JSON without user, password, query and fragment of every URL in its texts and keys.

    A query is dropped as a whole, since any of its parameters can be a key or a signature.

    Example:
        >>> redact_urls({"base_url": "https://me:secret@host:8000/v1?key=1"})
        {'base_url': 'https://REDACTED@host:8000/v1?REDACTED'}
    """
    if isinstance(value, dict):
        return {redact_urls(key): redact_urls(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redact_urls(item) for item in value]
    return _ADDRESS.sub(lambda match: _redacted(match[0]), value) if isinstance(value, str) else value


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
    """Return a text whose half surrogate pairs are U+FFFD, which is as long; two halves become their character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def storable(text: str) -> str:
    """Return a text that every database and file takes: half surrogate pairs become U+FFFD, NUL is left out.

    Example:
        >>> storable("so cool \\ud83d"), storable("\\ud83d\\ude00")
        ('so cool \ufffd', '😀')
    """
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

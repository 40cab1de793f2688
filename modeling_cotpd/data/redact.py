"""Secrets in addresses, taken out before anything is written."""

import re
from urllib.parse import urlsplit, urlunsplit

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>]+")
REDACTED = "REDACTED"


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

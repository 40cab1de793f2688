"""Secrets, half characters and control sequences in texts."""

import base64
import json

import pytest

from modeling_cotpd.text_safety import Redactor, printable, public_url, storable, without_secrets

SECRET = "sk-abc/def-SECRETKEY0123456789"


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        f"Bearer {SECRET}, twice {SECRET}",
        SECRET[:20],
        SECRET[8:],
        json.dumps(SECRET).replace("/", "\\/"),
        SECRET.replace("-", "\\u002d").replace("/", "\\u002F"),
        SECRET.replace("/", "%2F").replace("-", "%2d"),
        SECRET.replace("-", "&#045;").replace("/", "&#x2f;"),
        SECRET.replace("-", "%252D").replace("/", "%25252f"),
        SECRET.upper(),
        SECRET.encode().hex().upper(),
        *(base64.b64encode(before + SECRET.encode() + b"=x").decode() for before in (b"", b"t", b"to", b"tok")),
        base64.urlsafe_b64encode(f"???{SECRET}".encode()).decode().rstrip("="),
    ],
)
def test_a_secret_is_redacted_in_every_form(text):
    redacted = Redactor([SECRET])(f"before {text} after")
    assert "[redacted]" in redacted and redacted.startswith("before ") and redacted.endswith(" after")
    assert "SECRET" not in redacted and "abc" not in redacted and len(redacted) < 50


def test_other_texts_stay_as_they_are():
    redact = Redactor([SECRET, "EMPTY", ""])
    for text in ("", "EMPTY is a word", "sk-abc is a prefix", "a \\u002d b %2F c &#45;", "sk-abc/def-"):
        assert redact(text) == text


def test_a_short_secret_of_eight_characters_is_redacted():
    assert Redactor(["hunter2!"])("my hunter2! is") == "my [redacted] is"


def test_urls_without_what_they_hide():
    assert public_url("HTTPS://me:pw@Example.org:8443/v1/?key=1#f") == "https://example.org:8443/v1"
    for wrong in ("", "example.org", "http://", "http://a:99999/"):
        with pytest.raises(ValueError):
            public_url(wrong)
    assert "pw" not in json.dumps(without_secrets({"u": ["http://me:pw@a.org/v1?key=1"]}))


def test_half_emoji_and_nul():
    assert storable("a\ud83d\0b\ud83d\ude00") == "a\ufffdb\U0001f600"
    assert storable("caf\u00e9 \U0001f600") == "caf\u00e9 \U0001f600"


def test_control_and_direction_characters_are_shown_escaped():
    assert printable("a\x1b]0;x\x07\u202eb\x9bc\ud83d\n\td\u00a0\U0001f600") == (
        "a\\x1b]0;x\\x07\\u202eb\\x9bc\\ud83d\n\td\u00a0\U0001f600"
    )


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("https://me:SECRET@host:8000/v1", "https://REDACTED@host:8000/v1"),
        ("http://SECRET@host", "http://REDACTED@host"),
        ("see https://host/v1?api-key=SECRET#SECRET, or a@b.c", "see https://host/v1?REDACTED#REDACTED or a@b.c"),
        ("https://me:SEC@RET@host/x", "https://REDACTED@host/x"),
        ("http://[::SECRET/x", "http://REDACTED"),
        ("https://host/v1", "https://host/v1"),
        ("Authorization: Bearer SECRETabcdef0123456789", "Authorization: Bearer ..."),
        ("gsk_SECRETabcdef, AIzaSECRETabcdef", "gsk_..., AIza..."),
        ("eyJSECRETabc.eyJSECRET.SECRET-sig", "eyJ..."),
        ("no address: 1:2", "no address: 1:2"),
    ],
)
def test_addresses(text, redacted):
    found = without_secrets(text)
    assert "SECRET" not in found and found.replace(",", "") == redacted.replace(",", "")


def test_addresses_in_values_of_every_depth():
    value = {"a": ["http://u:p@h", {"http://u:p@h": 3}], "b": None, "c": 1.5}
    assert without_secrets(value) == {"a": ["http://REDACTED@h", {"http://REDACTED@h": 3}], "b": None, "c": 1.5}

"""Secrets in addresses."""

import pytest

from modeling_cotpd.text_safety import redact_urls


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("https://me:SECRET@host:8000/v1", "https://REDACTED@host:8000/v1"),
        ("http://SECRET@host", "http://REDACTED@host"),
        ("see https://host/v1?api-key=SECRET#SECRET, or a@b.c", "see https://host/v1?REDACTED#REDACTED or a@b.c"),
        ("https://me:SEC@RET@host/x", "https://REDACTED@host/x"),
        ("http://[::SECRET/x", "http://REDACTED"),
        ("https://host/v1", "https://host/v1"),
        ("no address: 1:2", "no address: 1:2"),
    ],
)
def test_texts(text, redacted):
    found = redact_urls(text)
    assert "SECRET" not in found and found.replace(",", "") == redacted.replace(",", "")


def test_values_of_every_depth():
    value = {"a": ["http://u:p@h", {"http://u:p@h": 3}], "b": None, "c": 1.5}
    assert redact_urls(value) == {"a": ["http://REDACTED@h", {"http://REDACTED@h": 3}], "b": None, "c": 1.5}

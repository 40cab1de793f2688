"""Requests that the demo refuses."""

import pytest

from modeling_cotpd.demo.guard import MAX_BODY, Guard


def request(host: str, path: str = "/", length: int = 0, *more: tuple[bytes, bytes]) -> dict:
    headers = [(b"Host", host.encode()), (b"content-length", b"%d" % length), *more]
    return {"type": "http", "path": path, "headers": headers}


@pytest.mark.parametrize("host", ["localhost:7860", "127.0.0.1:7860", "[::1]:7860", "[::1]", "192.168.1.4"])
def test_this_machine_and_addresses_are_answered(host: str):
    assert Guard(None, "127.0.0.1", False).refusal(request(host)) is None


@pytest.mark.parametrize("host", ["attacker.example:7860", "", "localhost.attacker.example", "127.0.0.1.nip.example"])
def test_other_names_are_refused(host: str):
    assert Guard(None, "127.0.0.1", False).refusal(request(host)) == 421


def test_uploads_and_large_bodies():
    path = "/gradio_api/upload"
    assert Guard(None, "127.0.0.1", False).refusal(request("localhost", path)) == 403
    assert Guard(None, "127.0.0.1", True).refusal(request("localhost", path, 1000)) is None
    assert Guard(None, "127.0.0.1", True).refusal(request("localhost", path, MAX_BODY + 1)) == 413


def test_pages_of_other_sites_and_bodies_of_unknown_length():
    guard = Guard(None, "127.0.0.1", True)
    for origin in (b"http://attacker.example", b"null", b"http://6.6.6.6:7860", b"http://localhost:9"):
        assert guard.refusal(request("localhost:7860", "/", 0, (b"Origin", origin))) == 403
    assert guard.refusal(request("localhost:7860", "/", 0, (b"Origin", b"http://localhost:7860"))) is None
    assert guard.refusal(request("localhost", "/upload", 0, (b"Transfer-Encoding", b"chunked"))) == 411

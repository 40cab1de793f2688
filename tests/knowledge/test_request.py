import base64
import hashlib

import pytest

from modeling_cotpd.errors import SettingError
from modeling_cotpd.knowledge.request import Picture, Request, endpoint_name


def make(endpoint="http://a/v1", purpose="noun", prompt="noun@1#x", **body):
    messages = [{"role": "user", "content": "hello"}]
    return Request(endpoint, purpose, prompt, {"model": "m", "messages": messages, "temperature": 0, **body})


def test_the_key_covers_endpoint_prompt_model_messages_and_sampling():
    requests = [
        make(),
        make(endpoint="http://b/v1"),
        make(prompt="noun@2#x"),
        make(model="n"),
        make(messages=[{"role": "user", "content": "hello!"}]),
        make(temperature=1),
        make(max_tokens=3),
    ]
    assert len({request.key for request in requests}) == len(requests)


def test_the_key_depends_on_neither_purpose_nor_order():
    other = Request("http://a/v1", "x", "noun@1#x", dict(reversed(make().body.items())))
    assert other.key == make().key


def test_no_secret_of_a_base_url_is_kept():
    assert endpoint_name("HTTPS://me:secret@Example.org:8443/v1/?key=secret#f") == "https://example.org:8443/v1"
    for url in ("example.org/v1", "me:secret@example.org", "", "ftp://example.org"):
        with pytest.raises(SettingError) as error:
            endpoint_name(url)
        assert "secret" not in str(error.value)


def test_pictures_are_stored_as_hash_and_sent_as_data(tmp_path):
    path = tmp_path / "p.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n123")
    picture = Picture(path, "image/png", hashlib.sha256(path.read_bytes()).hexdigest())
    content = [{"type": "image_url", "image_url": {"url": picture.reference}}, {"type": "text", "text": "What?"}]
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    request = Request("e", "noun", "t", body, (picture,))
    sent = request.body_to_send()["messages"][0]["content"]
    assert sent[0]["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
    assert sent[1] == content[1]
    assert request.body["messages"][0]["content"][0]["image_url"]["url"] == picture.reference

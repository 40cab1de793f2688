import base64
import hashlib
import io

import pytest
from PIL import Image

from modeling_cotpd.knowledge.images import ImageProblem, find_picture
from modeling_cotpd.knowledge.request import Request, with_picture


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


def test_pictures_are_stored_as_hash_and_sent_as_data(tmp_path):
    path = tmp_path / "p.png"
    Image.new("RGBA", (3000, 1000)).save(path)
    picture = find_picture(tmp_path, "p")
    assert picture.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    content = with_picture("What?", picture)
    body = {"model": "m", "messages": [{"role": "user", "content": content}]}
    request = Request("e", "noun", "t", body, picture)
    sent = request.body_to_send()["messages"][0]["content"]
    data = base64.b64decode(sent[0]["image_url"]["url"].removeprefix("data:image/jpeg;base64,"))
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("JPEG", (1024, 341))
    assert sent[1] == content[1]
    assert request.body["messages"][0]["content"][0]["image_url"]["url"] == picture.reference


def test_a_picture_is_decoded_when_it_is_sent(tmp_path):
    (tmp_path / "p.png").write_bytes(b"no picture")
    request = Request("e", "noun", "t", {"messages": []}, find_picture(tmp_path, "p.png"))
    with pytest.raises(ImageProblem, match="corrupt"):
        request.body_to_send()
    with pytest.raises(ImageProblem, match="missing"):
        find_picture(tmp_path, "q.png")

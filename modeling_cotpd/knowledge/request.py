"""One request to an endpoint, and the key under which its answer is stored."""

import base64
import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from modeling_cotpd.errors import SettingError
from modeling_cotpd.knowledge.images import MAX_PIXELS, load_image, resolve_image
from modeling_cotpd.text_safety import public_url

if TYPE_CHECKING:
    from PIL import Image

LONGEST_SIDE = 1024
"""Most pixels of the longer side of a picture that is sent: endpoints scale to about that or bill by size."""


def endpoint_name(base_url: str) -> str:
    """Return a base URL as it is stored: without user name, password, query, trailing slash and `/chat/completions`.

    Raises:
        SettingError: It is not an HTTP URL.

    Example:
        >>> endpoint_name("https://me:secret@Example.org/v1/?key=secret")
        'https://example.org/v1'
    """
    try:
        name = public_url(base_url).removesuffix("/chat/completions")
    except ValueError:
        name = ""
    if not name.startswith(("http://", "https://")):
        raise SettingError(
            "The base URL does not begin with http:// or https://, a host and a valid port.",
            place="base_url",
            fix="It looks like http://127.0.0.1:8080/v1",
        )
    return name


@dataclass(frozen=True)
class Picture:
    """A picture that a request shows.

    Only its hash enters key and store. The file is decoded when the request is sent, so that waiting requests hold no
    pictures in memory. It is sent as an upright JPEG of at most 1,024 pixels.

    Args:
        source (`Path` or `bytes`): The file, or the file's content.
        sha256 (`str`): Hash of the content.
        max_pixels (`int`, *optional*): Larger pictures are not decoded.
    """

    source: Path | bytes
    sha256: str
    max_pixels: int = MAX_PIXELS

    @property
    def reference(self) -> str:
        """What the stored request holds instead of the picture."""
        return f"sha256:{self.sha256}"

    def load(self) -> "Image.Image":
        """Decode the picture to upright RGB.

        Raises:
            ImageProblem: It cannot be decoded or is too large.
        """
        source = io.BytesIO(self.source) if isinstance(self.source, bytes) else self.source
        return load_image(source, self.max_pixels)

    def data_url(self) -> str:
        """Return the picture as a `data:` URL; it raises what `load` raises."""
        image = self.load()
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=90)
        return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def find_picture(folder: Path, name: str, max_pixels: int = MAX_PIXELS) -> Picture:
    """Return the picture `name` within `folder`, which is read here and decoded when it is sent.

    Raises:
        ImageProblem: It is missing, leads out of the folder, or cannot be read.
    """
    path = resolve_image(folder, name)
    return Picture(path, hashlib.sha256(path.read_bytes()).hexdigest(), max_pixels)


@dataclass(frozen=True)
class Request:
    """One request.

    Args:
        endpoint (`str`): Who answers: a base URL without secrets, or a name given to it.
        purpose (`str`): What the answer is for, such as `noun`; for reports, not part of the key.
        prompt (`str`): `Prompt.tag` of the wording.
        body (`dict`): `model`, `messages` and sampling settings; pictures stand as references.
        pictures (`tuple[Picture, ...]`, *optional*): The pictures that the body refers to.
        example (`str`, *optional*): An answer that would be accepted, with which a dry run goes on. Not part of the
            key.
    """

    endpoint: str
    purpose: str
    prompt: str
    body: dict
    pictures: tuple[Picture, ...] = ()
    example: str = ""
    key: str = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "key", request_key(self.endpoint, self.prompt, self.body))

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self.body["model"]

    def body_to_send(self) -> dict:
        """The body with the pictures in place of their references.

        Raises:
            ImageProblem: A picture cannot be decoded.
        """
        if not self.pictures:
            return self.body
        urls = {picture.reference: picture.data_url() for picture in self.pictures}
        messages = []
        for message in self.body["messages"]:
            if isinstance(message["content"], list):
                parts = [
                    {**part, "image_url": {"url": urls[part["image_url"]["url"]]}}
                    if part["type"] == "image_url"
                    else part
                    for part in message["content"]
                ]
                message = {**message, "content": parts}
            messages.append(message)
        return {**self.body, "messages": messages}


def with_picture(question: str, picture: Picture | None) -> str | list[dict]:
    """Return a message's content: the question alone, or the picture and the question."""
    if picture is None:
        return question
    return [{"type": "image_url", "image_url": {"url": picture.reference}}, {"type": "text", "text": question}]


def request_key(endpoint: str, prompt: str, body: dict) -> str:
    """Return the sha256 over endpoint, prompt tag, model, messages and sampling, whatever the order of keys."""
    parts = {"endpoint": endpoint, "prompt": prompt, "body": body}
    content = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()

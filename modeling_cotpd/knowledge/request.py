"""One request to a teacher, and the key under which its answer is stored."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from modeling_cotpd.errors import SettingError


def endpoint_name(base_url: str) -> str:
    """A base URL as it is stored: without user name, password, query and trailing slash, where secrets may hide.

    Example:
        >>> endpoint_name("https://me:secret@Example.org/v1/?key=secret")
        'https://example.org/v1'
    """
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingError(
            "The base URL does not begin with http:// or https:// and a host.",
            place="base_url",
            fix="It looks like http://127.0.0.1:8080/v1",
        )
    host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    return urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))


@dataclass(frozen=True)
class Picture:
    """A picture file that a request shows to the teacher.

    Only its hash enters key and store; the file is read again when the request is sent, so that a million waiting
    requests hold no pictures in memory.
    """

    path: Path
    media_type: str
    sha256: str

    @property
    def reference(self) -> str:
        """What stands in the stored request instead of the picture."""
        return f"sha256:{self.sha256}"

    def data_url(self) -> str:
        """The picture as a `data:` URL, the form in which chat completions take it."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.path.read_bytes()).decode()}"


@dataclass(frozen=True)
class Request:
    """One request.

    Args:
        endpoint (`str`): Who answers: a base URL without secrets, or a name given to it.
        purpose (`str`): What the answer is for, such as `noun`; for reports, not part of the key.
        prompt (`str`): `Prompt.tag` of the wording.
        body (`dict`): `model`, `messages` and sampling settings, as sent; pictures stand as references.
        pictures (`tuple[Picture, ...]`): The pictures that the body refers to.
    """

    endpoint: str
    purpose: str
    prompt: str
    body: dict
    pictures: tuple[Picture, ...] = ()
    key: str = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "key", request_key(self.endpoint, self.prompt, self.body))

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self.body["model"]

    def body_to_send(self) -> dict:
        """The body with the pictures in place of their references."""
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


def request_key(endpoint: str, prompt: str, body: dict) -> str:
    """sha256 over endpoint, prompt tag, model, messages and sampling, independent of the order of keys."""
    parts = {"endpoint": endpoint, "prompt": prompt, "body": body}
    content = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()

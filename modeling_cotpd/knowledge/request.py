"""Requests to an endpoint, the keys under which their answers are stored, and conversations made of them.

A conversation is a generator that yields `Request`s, is sent an `Answer` to each, and does not know who answers: the
runner drives it against an endpoint, `replay` against the store, the dry run against expected lengths, and batch mode
against a file that it writes. So all of them agree on what is asked.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from modeling_cotpd.knowledge.answer import FAILED, Answer
from modeling_cotpd.knowledge.images import ImageProblem, Picture


@dataclass(frozen=True)
class Request:
    """One request.

    Args:
        endpoint (`str`): Who answers: a base URL without secrets, or a name given to it.
        purpose (`str`): What the answer is for, such as `noun`; for reports, not part of the key.
        prompt (`str`): `Prompt.tag` of the wording.
        body (`dict`), picture (`Picture`, *optional*): `model`, `messages` and sampling settings; a picture stands in
            them as a reference.
        example (`str`, *optional*): An answer with which a dry run goes on; not part of the key.
    """

    endpoint: str
    purpose: str
    prompt: str
    body: dict
    picture: Picture | None = None
    example: str = ""

    @cached_property
    def key(self) -> str:
        """`request_key` of the request."""
        return request_key(self.endpoint, self.prompt, self.body)

    def body_to_send(self) -> dict:
        """The body with the picture in place of its reference. Raises `ImageProblem` when it cannot be decoded."""
        if self.picture is None:
            return self.body
        shown = {"type": "image_url", "image_url": {"url": self.picture.data_url()}}
        messages = [dict(message) for message in self.body["messages"]]
        for message in messages:
            if isinstance(message["content"], list):
                message["content"] = [part if "text" in part else shown for part in message["content"]]
        return {**self.body, "messages": messages}


def with_picture(question: str, picture: Picture | None) -> str | list[dict]:
    """Return a message's content: the question alone, or the picture and the question."""
    if picture is None:
        return question
    return [{"type": "image_url", "image_url": {"url": picture.reference}}, {"type": "text", "text": question}]


def unreadable(error: ImageProblem | OSError) -> Answer:
    """Return the answer to a request whose picture cannot be read, so that nothing is sent."""
    kind = error.reason if isinstance(error, ImageProblem) else ""
    return Answer(FAILED, reason=f"the picture cannot be read: {error}", finish_reason=kind)


def request_key(endpoint: str, prompt: str, body: dict) -> str:
    """Return the sha256 over endpoint, prompt tag, model, messages and sampling, whatever the order of keys."""
    parts = {"endpoint": endpoint, "prompt": prompt, "body": body}
    content = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


Conversation = Generator[Request, Answer, Any]


@dataclass
class Job:
    """A conversation with a name, such as the post's id; what its generator returns is the job's result."""

    id: str
    start: Callable[[], Conversation]


class Dialogue:
    """A conversation under way: `request` is what it asks now, `None` at its end, and `result` what it returned."""

    def __init__(self, job: Job):
        self._conversation = job.start()
        self.request: Request | None = None
        self.result: Any = None
        self.send(None)

    def send(self, answer: Answer | None) -> None:
        """Give the answer, `None` to begin."""
        try:
            self.request = next(self._conversation) if answer is None else self._conversation.send(answer)
        except StopIteration as stop:
            self.request, self.result = None, stop.value


def replay(job: Job, answer_to: Callable[[Request], Answer]) -> Any:
    """Drive a job to its end with a function that answers, and return its result."""
    dialogue = Dialogue(job)
    while dialogue.request is not None:
        dialogue.send(answer_to(dialogue.request))
    return dialogue.result


def replay_all(jobs: Iterable[Job], answer_to: Callable[[Request], Answer]) -> Iterator[tuple[str, Any]]:
    """Yield ids and results of jobs, in their order."""
    for job in jobs:
        yield job.id, replay(job, answer_to)

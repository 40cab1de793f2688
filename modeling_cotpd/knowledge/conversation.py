"""Conversations with a language model, written as generators that do not know who answers.

A conversation yields `Request`s and is sent `Answer`s. The runner drives it against an endpoint, `replay` against the
store, the dry run against expected lengths, and batch mode against a file that it writes. So all of them agree on
what is asked.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from modeling_cotpd.knowledge.answer import Answer
from modeling_cotpd.knowledge.images import ImageProblem
from modeling_cotpd.knowledge.request import Request

Conversation = Generator[Request, Answer, Any]


@dataclass
class Job:
    """A conversation with a name.

    Args:
        id (`str`): The name in reports, such as the post's id.
        start (`Callable[[], Conversation]`): Begins the conversation; what the generator returns is the job's result.
    """

    id: str
    start: Callable[[], Conversation]


class Dialogue:
    """A conversation under way.

    Attributes:
        request (`Request`): What it asks now; `None` at its end.
        result: What it returned.
    """

    def __init__(self, job: Job):
        self._conversation = job.start()
        self.request: Request | None = None
        self.result: Any = None
        self.send(None)

    def send(self, answer: Answer | ImageProblem | None) -> None:
        """Give the answer, `None` to begin; a picture that cannot be sent is raised where the request was made."""
        try:
            if isinstance(answer, ImageProblem):
                self.request = self._conversation.throw(answer)
            else:
                self.request = next(self._conversation) if answer is None else self._conversation.send(answer)
        except StopIteration as stop:
            self.request, self.result = None, stop.value


def replay(job: Job, answer_to: Callable[[Request], Answer]) -> Any:
    """Drive a job to its end with a function that answers, and return its result."""
    dialogue = Dialogue(job)
    while dialogue.request is not None:
        try:
            answer: Answer | ImageProblem = answer_to(dialogue.request)
        except ImageProblem as problem:
            answer = problem
        dialogue.send(answer)
    return dialogue.result


def replay_all(jobs: Iterable[Job], answer_to: Callable[[Request], Answer]) -> Iterator[tuple[str, Any]]:
    """Yield ids and results of jobs, in their order.

    Example:
        >>> for id, result in replay_all(jobs, lambda request: store.get(request.key)):  # doctest: +SKIP
        ...     print(id, result)
    """
    for job in jobs:
        yield job.id, replay(job, answer_to)

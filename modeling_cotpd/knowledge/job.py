"""Jobs: conversations with a teacher, written as generators that do not know who answers.

A job yields `Request`s and is sent `Answer`s. The same job is driven by the runner, which asks the teacher; by a walk
through the store, which fills columns and lists what is missing; by the estimate, which counts; and by batch mode,
which writes the requests to files. So all of them agree on what is asked.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from modeling_cotpd.knowledge.answer import Answer
from modeling_cotpd.knowledge.request import Request

Talk = Generator[Request, Answer, Any]


@dataclass
class Job:
    """A conversation with a name.

    Args:
        id (`str`): What reports call it, such as the post's id.
        start (`Callable[[], Talk]`): Begins the conversation anew; what the generator returns is the job's result.
    """

    id: str
    start: Callable[[], Talk]


def walk(talk: Talk, answer_to: Callable[[Request], Answer]) -> Any:
    """Drive a conversation to its end with a function that answers, and give back its result."""
    try:
        request = next(talk)
        while True:
            request = talk.send(answer_to(request))
    except StopIteration as stop:
        return stop.value


def results(jobs: Iterable[Job], answer_to: Callable[[Request], Answer]) -> Iterator[tuple[str, Any]]:
    """Ids and results of jobs, in their order.

    Example:
        >>> for id, result in results(jobs, lambda request: store.get(request.key)):  # doctest: +SKIP
        ...     print(id, result)
    """
    for job in jobs:
        yield job.id, walk(job.start(), answer_to)

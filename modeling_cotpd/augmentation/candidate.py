"""One wanted sample, accepted or not."""

from dataclasses import dataclass, field

STYLE, ENTITY, IMAGE = "style", "entity", "image"
KINDS = (STYLE, ENTITY, IMAGE)
ACCEPTED, REJECTED, UNASKED = "accepted", "rejected", "unasked"
NO_ANSWER = "no answer"
"""The reason of all that is `unasked`."""


class Rejected(Exception):
    """A sample that is not to be taken.

    Args:
        reason (`str`): One of a few fixed wordings, to be counted.
        detail (`str`): What it was in this case.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class Unasked(Exception):
    """A sample that lacks an answer; running again can help.

    Args:
        reason (`str`): The answer's status and reason.
    """


@dataclass
class Candidate:
    """One wanted sample.

    Args:
        parent (`str`): The id of the post that it was made from.
        kind (`str`): `"style"` or `"entity"`.
        time (`int`): Which of the wanted samples of this post and kind, from 1.
        status (`str`): `accepted`, `rejected`, or `unasked` (a request has no answer: run again).
        reason (`str`), detail (`str`): Why it is not accepted.
        text (`str`): The new post, as far as it came.
        row (`dict`, *optional*): The new record of an accepted sample, with labels as names.
        notes (`list[str]`): What was done to caption and knowledge, to be counted.
    """

    parent: str
    kind: str
    time: int
    status: str = ACCEPTED
    reason: str = ""
    detail: str = ""
    text: str = ""
    row: dict | None = None
    notes: list[str] = field(default_factory=list)

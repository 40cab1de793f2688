"""What a teacher's answer can be, and how a real one is told from a refusal, an empty or a cut one."""

import json
import re
from dataclasses import dataclass

ANSWERED, EMPTY, REFUSED, CUT = "answered", "empty", "refused", "cut"
FAILED, WAITING, MISSING, SKIPPED = "failed", "waiting", "missing", "skipped"

FINAL = (ANSWERED, EMPTY, REFUSED, CUT)
"""Paid for and stored; asking again at temperature 0 would give the same, so nothing asks again unless told to."""

# Only the opening counts, and only in words about the speaker: "I'm sorry to hear ..." within a post's explanation
# and "The image does not show ..." are answers. Typographic apostrophes occur in real refusals.
_DO = "assist|help|provide|fulfil|comply|answer|identify|do that|discuss|engage|process|view|see|analy[sz]e|complete"
_REFUSAL = re.compile(
    r"(i['’]?m (very |really )?sorry,? (but|i can)|sorry,? (but )?i (can|am|['’]m)"
    r"|i apologi[sz]e,? but|unfortunately,? i can"
    rf"|i (can['’]?t|cannot|can not|won['’]t) ({_DO})"
    rf"|i( am|['’]m) (unable|not able) to ({_DO})"
    r"|as an ai( language)? model,? i (can|am|do))",
    re.IGNORECASE,
)


class MalformedAnswer(ValueError):
    """A response that came with status 200 and is not a chat completion."""


@dataclass(frozen=True)
class Answer:
    """What became of one request.

    Args:
        status (`str`): `answered`, or `empty` (no text), `refused`, `cut` (stopped at the token limit), `failed` (no
            answer was to be had), `waiting` (written to a batch file), `missing` (never asked) or `skipped` (there is
            nothing to ask).
        text (`str`): The answer as the teacher gave it, unchanged.
        reason (`str`): Why it is not `answered`.
        finish_reason (`str`): What the endpoint called the end of the answer.
        prompt_tokens (`int`), completion_tokens (`int`): Usage as the endpoint counted it; 0 when it did not say.
        response (`str`): The response's body.
        attempts (`int`): How many times it was asked.
    """

    status: str
    text: str = ""
    reason: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    response: str = ""
    attempts: int = 0

    @property
    def answered(self) -> bool:
        """Whether this is a real answer."""
        return self.status == ANSWERED


def is_refusal(text: str) -> bool:
    """Whether a text opens like a model that declines to answer.

    Example:
        >>> is_refusal("I'm sorry, but I can't identify people."), is_refusal("Sorry is a song by Halsey.")
        (True, False)
    """
    return _REFUSAL.match(text.lstrip()) is not None


def read_answer(body: str, attempts: int = 1) -> Answer:
    """Read the body of a chat completion.

    Raises:
        MalformedAnswer: The body is not JSON or not a chat completion; the message says which and how it begins.
    """
    try:
        completion = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedAnswer(f"the body is not JSON ({error}): {body[:80]!r}") from None
    try:
        choice = completion["choices"][0]
        message, finish_reason = choice["message"], choice.get("finish_reason") or ""
        text, refusal = message.get("content") or "", message.get("refusal") or ""
        usage = completion.get("usage") or {}
        tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        raise MalformedAnswer(f"the body is not a chat completion: {body[:80]!r}") from None
    if not isinstance(text, str):
        raise MalformedAnswer(f"the answer's content is not a text: {body[:80]!r}")
    if refusal or finish_reason == "content_filter" or is_refusal(text):
        status, reason = REFUSED, refusal or (f"finish reason {finish_reason}" if not is_refusal(text) else text[:200])
    elif finish_reason == "length":
        status, reason = CUT, f"stopped at the token limit after {tokens[1]} tokens"
    elif not text.strip():
        status, reason = EMPTY, f"no text, finish reason {finish_reason or 'not given'}"
    else:
        status, reason = ANSWERED, ""
    return Answer(status, text, reason, finish_reason, *tokens, response=body, attempts=attempts)

"""Captions and explanations that are refusals, or describe a notice in the place of a picture."""

import re

_REFUSAL = re.compile(
    r"^\W*(?:(?:i['’]?m|i am) (?:very )?sorry|sorry|my apologies|i apologi[sz]e|as an ai\b|i can(?:['’]?t|not)"
    r"|i(?:['’]m| am) unable)\b(?=.{0,160}?(?:can['’]?t|cannot|unable|not able|no (?:image|picture|paragraph)"
    r"|issue|not provided|without))",
    re.IGNORECASE | re.DOTALL,
)
_UNAVAILABLE = re.compile(
    r"(?:video|image|media|content|picture)[^.!?]{0,80}\b(?:not (?:been )?displayed|not available|unavailable)"
    r"|(?:video|image|media|content)[^.!?]{0,80}\bremoved[^.!?]{0,60}(?:copyright|report|holder)"
    r"|copyright[^.!?]{0,60}(?:video|image|media|content)[^.!?]{0,40}removed"
    r"|placeholder (?:message|graphic|text|image)",
    re.IGNORECASE,
)


def find_refusal(text: str) -> str | None:
    """`"refusal"`, `"unavailable"` or `None`.

    A refusal begins with an apology or a denial and goes on to say that something cannot be done ("I'm sorry, but I
    can't assist with that"); an unavailable picture is a description of the notice that stands in its place ("this
    video has been removed by the copyright holder"). Found by wording, so a count is a hint and not a proof.

    Example:
        >>> find_refusal("Sorry, I cannot help with this picture.")
        'refusal'
        >>> find_refusal("a sign that says sorry we are closed") is None
        True
    """
    if _REFUSAL.search(text[:400]):
        return "refusal"
    return "unavailable" if _UNAVAILABLE.search(text[:600]) else None

"""The teacher's yes or no."""

import re

_SAYS = r"\b(yes|no)\b(?!\s+(?:one|doubt|idea|matter|longer)\b)"
_WORD, _FIRST = re.compile(_SAYS, re.IGNORECASE), re.compile(rf"\W*{_SAYS}", re.IGNORECASE)


def read_verdict(text: str) -> bool | None:
    """Whether an answer says yes or no, `None` when it does not say or says both.

    The first word decides. An answer that begins otherwise counts when its first line has one of the two words and
    not the other.

    Example:
        >>> read_verdict("**Yes**, it is."), read_verdict("The answer is no."), read_verdict("Possibly.")
        (True, False, None)
    """
    if first := _FIRST.match(text):
        return first.group(1).lower() == "yes"
    words = {word.lower() for word in _WORD.findall(text.strip().split("\n")[0])}
    return words == {"yes"} if len(words) == 1 else None

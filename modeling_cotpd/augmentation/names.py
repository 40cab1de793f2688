"""Mentions found among tokens, by names compared without case, spaces, signs, accents and punctuation."""

import unicodedata
from collections.abc import Iterable, Sequence

SIGNS = ("#", "@")
SHORT = 3
"""Names of at most so many characters are compared with their case: US is not us, IT is not it."""
LONGEST_NAME = 10
"""Tokens of the longest name that is looked for; the longest mention of the published data has 9."""


def fold(text: str) -> str:
    """Return letters and digits only, without case and accents.

    Example:
        >>> fold("# NewYork-Mets"), fold("Beyoncé")
        ('newyorkmets', 'beyonce')
    """
    return _letters(text).casefold()


def _letters(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if c.isalnum())


def name_key(text: str) -> str:
    """Return what two ways of writing a name have in common: `fold`, but short names keep their case.

    Example:
        >>> name_key("Lady Gaga") == name_key("@LADYGAGA"), name_key("U.S.") == name_key("us")
        (True, False)
    """
    letters = _letters(text)
    return letters if len(letters) <= SHORT else letters.casefold()


def occurrences(tokens: Sequence[str], keys: Iterable[str]) -> dict[str, list[tuple[int, int]]]:
    """Return where names stand among whole tokens, as spans (start, end excluded) without overlap; longer names win.

    A span begins and ends with a letter or digit of the name, so a sign or a quotation mark before it stays outside. A
    sign that is glued to its word (`#Otters` as one token) is within, because labels cannot cut a token. After a sign,
    short names are found in any case, once those in the right case are: `#nba` is NBA.

    Example:
        >>> occurrences(["Go", "#", "NewTarn", ",", "New", "Tarn", "!"], {"newtarn"})
        {'newtarn': [(2, 3), (4, 6)]}
    """
    letters = [_letters(token) for token in tokens]
    taken = [False] * len(tokens)
    found: dict[str, list[tuple[int, int]]] = {key: [] for key in keys}
    signed = [tokens[index][0] in SIGNS or (index > 0 and tokens[index - 1] in SIGNS) for index in range(len(tokens))]
    ordered = sorted((key for key in found if key), key=lambda key: (-len(key), key))
    short = [key for key in ordered if len(key) <= SHORT]
    for key, any_case in [*((key, False) for key in ordered), *((key, True) for key in short)]:
        start = 0
        while start < len(tokens):
            end = 0
            if letters[start] and (signed[start] or not any_case):
                end = _match(letters, taken, start, key, any_case or len(key) > SHORT)
            if end:
                found[key].append((start, end))
                taken[start:end] = [True] * (end - start)
            start = end or start + 1
    return {key: sorted(spans) for key, spans in found.items()}


def _match(letters: list[str], taken: list[bool], start: int, key: str, fold_case: bool) -> int:
    """End of the span from `start` that reads as the key, 0 when there is none."""
    read = ""
    for end in range(start, len(letters)):
        read += letters[end]
        if taken[end] or len(read) > len(key):
            return 0
        if (read.casefold() == key.casefold()) if fold_case else read == key:
            return end + 1
    return 0


def candidate_names(tokens: Sequence[str]) -> Iterable[tuple[int, int, str]]:
    """Yield every span of up to `LONGEST_NAME` tokens that could be a name: start, end and key."""
    letters = [_letters(token) for token in tokens]
    for start in range(len(tokens)):
        if letters[start]:
            for end in range(start + 1, min(len(tokens), start + LONGEST_NAME) + 1):
                if letters[end - 1]:
                    yield start, end, name_key("".join(letters[start:end]))

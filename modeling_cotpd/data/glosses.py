"""Glosses: short explanations of single mentions, read from an answer and found in a text."""

from collections.abc import Iterable, Mapping, Sequence

import regex

_NUMBER = r"(?<!\d)({number})\s*[.)](?!\d)\s*"
_BULLET = regex.compile(r"^\s*[-*•]\s+", regex.MULTILINE)
_PARENTHESES = regex.compile(r"\s*(?P<mention>[^()]+?)\s*\((?P<gloss>.+)\)[\s.,;]*", regex.DOTALL)
_COLON = regex.compile(r"\s*(?P<mention>.+?)\s*(?::\s|\s[-–—]\s)\s*(?P<gloss>.+?)[\s,;]*", regex.DOTALL)
_RUNNING = regex.compile(r"(?:\s*[^(),;]+\([^()]+\)[\s,;.]*(?:and\s)?)+")
_ONE_OF_RUNNING = regex.compile(r"\s*(?:and\s)?(?P<mention>[^(),;]+?)\s*\((?P<gloss>[^()]+)\)")
_SPACELESS = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_QUOTES = "\"'“”‘’*`"
MAX_GLOSSES = 64
"""Glosses of one post that are read; more than an answer about a post has."""


def glosses_of(record: Mapping) -> list[dict[str, str]]:
    """The glosses of a record: its own, or those that its `cot_noun` lists."""
    return record.get("glosses") or parse_noun_list(record.get("cot_noun") or "")


def parse_noun_list(text: str) -> list[dict[str, str]]:
    """Read the mentions and glosses of a noun explanation in list form.

    Items begin with `1.`, `2)` and so on, or with a bullet; an item is `NAME (GLOSS)`, `NAME: GLOSS` or
    `NAME - GLOSS`. Without numbers, `NAME (GLOSS), NAME (GLOSS)` is read too. Other sentences, and items
    without a gloss, give none.

    Example:
        >>> parse_noun_list("1. Mira Holt (person/singer) 2. Quarry Lane: a street")
        [{'mention': 'Mira Holt', 'gloss': 'person/singer'}, {'mention': 'Quarry Lane', 'gloss': 'a street'}]
    """
    items = _numbered(text)
    if not items and _BULLET.match(text):
        items = [item for item in _BULLET.split(text) if item.strip()]
    if items:
        matches = [_PARENTHESES.fullmatch(item) or _COLON.fullmatch(item) for item in items]
    elif _RUNNING.fullmatch(text):
        matches = list(_ONE_OF_RUNNING.finditer(text))
    else:
        return []
    pairs = [(match["mention"].strip(_QUOTES + " "), match["gloss"].strip()) for match in matches if match]
    return [{"mention": mention, "gloss": gloss} for mention, gloss in pairs if mention and gloss][:MAX_GLOSSES]


def _numbered(text: str) -> list[str]:
    """The items of a list numbered from 1 without a gap; an empty list when there is none."""
    borders: list[tuple[int, int]] = []
    position = 0
    while match := regex.compile(_NUMBER.format(number=len(borders) + 1)).search(text, position):
        if not borders and text[: match.start()].strip(_QUOTES + " \n\t"):
            return []  # text before the first item: a sentence, not a list
        borders.append(match.span())
        position = match.end()
    ends = [start for start, _ in borders[1:]] + [len(text)] if borders else []
    return [text[start:end] for (_, start), end in zip(borders, ends, strict=True)]


def find_glosses(text: str, glosses: Iterable[dict[str, str]]) -> list[tuple[int, int, str]]:
    """Find each gloss's mention in a text.

    Letters and digits are compared; case, spaces and punctuation such as `#` and `@` are ignored. Every occurrence
    that begins and ends with a word counts. Longer mentions are found first, and occurrences do not overlap.

    Returns:
        `list[tuple[int, int, str]]`: First character, the one after the last, and the gloss; in the order of the text.

    Example:
        >>> find_glosses("so proud of #MiraHolt", [{"mention": "Mira Holt", "gloss": "singer"}])
        [(13, 21, 'singer')]
    """
    letters, places = _letters(text)
    known: dict[str, str] = {}
    for gloss in list(glosses)[:MAX_GLOSSES]:
        name = _letters(gloss["mention"])[0]
        if name and gloss["gloss"].strip():
            known.setdefault(name, gloss["gloss"].strip())
    taken = [False] * len(letters)
    found = []
    for name in sorted(known, key=len, reverse=True):
        start = letters.find(name)
        while start >= 0:
            end = start + len(name)
            begin, last = places[start], places[end - 1]
            if not any(taken[start:end]) and _is_border(text, begin) and _is_border(text, last + 1):
                taken[start:end] = [True] * len(name)
                found.append((begin, last + 1, known[name]))
            start = letters.find(name, start + 1)
    return sorted(found)


def _letters(text: str) -> tuple[str, Sequence[int]]:
    """The letters and digits of a text without case, and the character that each is from."""
    letters, places = [], []
    for place, character in enumerate(text):
        if character.isalnum():
            for letter in character.casefold():
                letters.append(letter)
                places.append(place)
    return "".join(letters), places


def _is_border(text: str, place: int) -> bool:
    """Whether a word may begin or end before the character at `place`."""
    around = text[max(0, place - 1) : place + 1]
    return len(around) < 2 or not around.isalnum() or _SPACELESS.search(around) is not None

"""A training post with its gold mentions, and names among tokens, compared without case, spaces, signs and accents."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from modeling_cotpd.data.bio import entities, orphans

Item = TypeVar("Item")
SIGNS = ("#", "@")
SHORT = 3
"""Names of at most so many characters are compared with their case: US is not us, IT is not it."""
LONGEST_NAME = 10
"""Tokens of the longest name that is looked for; the longest mention of the published data has 9."""


@dataclass(frozen=True)
class Mention:
    """A gold mention: tokens from `start` to `end`, excluded; `kind` is empty when the type is not known."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True)
class Sample:
    """A training post: the record, with labels as names, and its mentions (MRE: head and tail)."""

    row: dict
    mentions: tuple[Mention, ...]

    @property
    def id(self) -> str:
        return self.row["id"]

    @property
    def tokens(self) -> list[str]:
        return self.row["tokens"]

    @property
    def is_relation(self) -> bool:
        """Whether the task is relation extraction."""
        return "head" in self.row

    @property
    def unlabelled(self) -> bool:
        """Whether an MNER post is not labelled, so that its mentions are not known."""
        return not self.is_relation and self.row["ner_tags"] is None

    @property
    def has_orphans(self) -> bool:
        """Whether an `I-` tag continues nothing, so that it is open what the mentions are."""
        return not self.is_relation and bool(orphans(self.row["ner_tags"] or ()))

    def text(self, mention: Mention) -> str:
        """The mention's tokens, joined by blanks."""
        return " ".join(self.tokens[mention.start : mention.end])

    def key(self, mention: Mention) -> str:
        """Return `name_key` of a mention."""
        return name_key(self.text(mention))


def read_sample(row: dict, task: str) -> Sample:
    """A sample from a record whose labels are names.

    The types of head and tail stand in the published relations' names: `/per/org/member_of`.
    """
    if task == "mner":
        found = entities(row["ner_tags"] or ())
        return Sample(row, tuple(Mention(kind, start, end) for kind, start, end in found))
    parts = (row["relation"] or "").split("/")
    kinds = (parts[1].upper(), parts[2].upper()) if len(parts) == 4 and not parts[0] else ("", "")
    spans = (row["head"], row["tail"])
    return Sample(row, tuple(Mention(k, span["start"], span["end"]) for k, span in zip(kinds, spans, strict=True)))


def replace_spans(items: Sequence[Item], edits: Sequence[tuple[int, int, Sequence[Item]]]) -> list[Item]:
    """Items with spans (start, end, new items) replaced; the spans must not overlap.

    Example:
        >>> replace_spans("abcde", [(3, 4, "XY"), (0, 2, "Z")])
        ['Z', 'c', 'X', 'Y', 'e']
    """
    result = list(items)
    for start, end, new in sorted(edits, key=lambda edit: edit[0], reverse=True):
        result[start:end] = new
    return result


def moved(place: int, edits: Sequence[tuple[int, int, Sequence[object]]]) -> int:
    """Where a token outside the edits stands after `replace_spans`."""
    return place + sum(len(new) - (end - start) for start, end, new in edits if end <= place)


def with_mentions(row: dict, tokens: list[str], mentions: Sequence[Mention]) -> dict:
    """A copy of a record with other tokens and mentions, and the labels that these mean."""
    if "head" in row:
        head, tail = ({"start": mention.start, "end": mention.end} for mention in mentions)
        return {**row, "tokens": tokens, "head": head, "tail": tail}
    tags = ["O"] * len(tokens)
    for mention in mentions:
        inside = [f"I-{mention.kind}"] * (mention.end - mention.start - 1)
        tags[mention.start : mention.end] = [f"B-{mention.kind}", *inside]
    return {**row, "tokens": tokens, "ner_tags": None if row["ner_tags"] is None else tags}


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

"""The mentions that a language model listed, found in the text of a post and described for a linear model."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import regex

from modeling_cotpd.data.entities import entity_tags
from modeling_cotpd.data.glosses import MAX_GLOSSES, find_glosses
from modeling_cotpd.data.words import word_spans

NO_GLOSS, NOT_FOUND, REPEATED = "no gloss", "not in the text", "listed before"
NOT_AN_ENTITY, OVERLAP = "score below the threshold", "overlaps a mention with a higher score"


@dataclass
class ListedMention:
    """A listed mention at one place of a post.

    Args:
        mention, gloss (`str`): As listed.
        start, end (`int`): First word and the one after the last; -1 when it has no place.
        features (`tuple[str, ...]`): What the model reads; empty when the mention is no candidate.
        type (`str`), score (`float`): The most probable entity type and its probability.
        reason (`str`): Why it is not an entity; empty for an entity.
    """

    mention: str
    gloss: str
    start: int = -1
    end: int = -1
    features: tuple[str, ...] = field(default=(), repr=False)
    type: str = ""
    score: float = 0.0
    reason: str = ""


def read_list(tokens: Sequence[str], glosses: Iterable[dict[str, str]]) -> list[ListedMention]:
    """Find the candidates of a post: every occurrence of a listed mention in its text.

    Args:
        tokens (`Sequence[str]`): The words of the post.
        glosses (`Iterable[dict]`): `mention` and `gloss`.

    Returns:
        `list[ListedMention]`: One per occurrence, in the order of the list, with features; and one without features
        for a mention that does not stand in the text. Occurrences may overlap.

    Example:
        >>> [(each.start, each.end) for each in read_list(["#", "MiraHolt"], [{"mention": "Mira Holt", "gloss": "a"}])]
        [(1, 2)]
    """
    text, spans = " ".join(tokens), word_spans(tokens)
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    listed: list[ListedMention] = []
    seen = set()
    for item in list(glosses)[:MAX_GLOSSES]:
        mention, gloss = item["mention"], item["gloss"]
        found = find_glosses(text, [item])
        if not found:
            listed.append(ListedMention(mention, gloss, reason=NOT_FOUND if gloss.strip() else NO_GLOSS))
        for first, last, _ in found:
            start, end = bisect_right(ends, first), bisect_left(starts, last)
            if (start, end) in seen:
                listed.append(ListedMention(mention, gloss, start, end, reason=REPEATED))
                continue
            seen.add((start, end))
            around = text[starts[start] : first], text[first:last], text[last : ends[end - 1]]
            listed.append(
                ListedMention(mention, gloss, start, end, tuple(_features(tokens, start, end, around, gloss)))
            )
    return listed


def _features(tokens: Sequence[str], start: int, end: int, around: tuple[str, str, str], gloss: str) -> Iterator[str]:
    """Features of the gloss, of the mention, of its place and of its neighbours."""
    before, mention, after = around  # within the mention's words: what precedes it, itself, what follows it
    words = regex.findall(r"\w+", gloss.casefold())
    yield from (f"gloss word {word}" for word in words)
    yield from (f"gloss part {part}" for part in _ngrams(" ".join(words), 3, 4))
    if words:
        yield from (f"gloss {' '.join(words)}", f"gloss first {words[0]}", f"gloss last {words[-1]}")
    parts = mention.split()
    yield from (f"mention word {part.casefold()}" for part in parts)
    yield from (f"mention part {part}" for part in _ngrams(mention.casefold(), 3))
    yield f"shape {_shape(mention)}"
    yield f"words {min(end - start, 5)}"
    yield f"length {min(len(mention) // 4, 6)}"
    yield f"capitals {all(part[0].isupper() for part in parts)} {mention.isupper()} {mention.islower()}"
    previous = tokens[start - 1].casefold() if start else "^"
    mark = (before or previous)[-1:]
    yield f"hashtag {mark in '#＃'} handle {mark in '@＠'}"
    yield f"within words {bool(before)} {bool(after)}"
    yield f"begins {start == 0} ends {end == len(tokens)}"
    yield f"place {4 * start // len(tokens)}"
    yield f"previous {previous}"
    yield f"next {tokens[end].casefold() if end < len(tokens) else '$'}"


def _ngrams(text: str, *lengths: int) -> Iterator[str]:
    text = f" {text} "
    return (text[i : i + length] for length in lengths for i in range(len(text) - length + 1))


def _shape(text: str) -> str:
    """`Aa Aa9` for "Mira Holt7"."""
    for characters, letter in ((r"\p{Lu}+", "A"), (r"[\p{Ll}\p{Lo}]+", "a"), (r"\p{N}+", "9")):
        text = regex.sub(characters, letter, text)
    return text


def resolve(row: Sequence[ListedMention], threshold: float) -> None:
    """Give every candidate of a row its `reason`; of overlapping ones the best score wins."""
    taken: set[int] = set()
    for each in sorted((each for each in row if each.features), key=lambda each: -each.score):
        words = range(each.start, each.end)
        each.reason = NOT_AN_ENTITY if each.score < threshold else "" if taken.isdisjoint(words) else OVERLAP
        if not each.reason:
            taken.update(words)


def found_entities(row: Sequence[ListedMention]) -> list[dict]:
    """`start`, `end` (words, end excluded), `type` and `score` of the row's entities, in the order of the text."""
    found = [
        {"start": each.start, "end": each.end, "type": each.type, "score": round(each.score, 4)}
        for each in row
        if not each.reason
    ]
    return sorted(found, key=itemgetter("start"))


def bio_tags(row: Sequence[ListedMention], words: int) -> list[str]:
    """One BIO tag per word."""
    return entity_tags(found_entities(row), [(word, word + 1) for word in range(words)])

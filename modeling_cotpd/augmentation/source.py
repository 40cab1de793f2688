"""Where new entities come from: the mentions of the training split, or a list that the teacher wrote."""

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from modeling_cotpd.augmentation.names import SIGNS, fold, key_of
from modeling_cotpd.augmentation.sample import Mention, Sample

_SIGNED = re.compile(r"^[^\w#@]*([#@])")


@dataclass(frozen=True)
class Name:
    """A name of an entity.

    Args:
        tokens (`tuple[str, ...]`): Without a sign.
        sign (`str`): `#` or `@` when it was written so, else empty.
    """

    tokens: tuple[str, ...]
    sign: str = ""

    @property
    def key(self) -> str:
        """`name_key` of the name."""
        return key_of(self.tokens)


def name_of(tokens: Sequence[str], mention: Mention) -> Name:
    """The name that a mention gives, its sign taken off wherever it stands.

    Example:
        >>> name_of(["Go", "#", "Otters"], Mention("ORG", 2, 3))
        Name(tokens=('Otters',), sign='#')
    """
    span = list(tokens[mention.start : mention.end])
    before = tokens[mention.start - 1] if mention.start else ""
    match = _SIGNED.match(span[0])
    if match is None:
        return Name(tuple(span), before if before in SIGNS else "")
    rest = span[0][match.end() :]
    return Name(tuple([rest, *span[1:]] if rest else span[1:]), match.group(1))


class EntitySource:
    """Names by entity type and sign, each once, in the order in which they were added."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, str], list[Name]] = {}
        self._seen: set[tuple[str, str, str]] = set()

    def add(self, kind: str, name: Name) -> bool:
        """Add a name unless it is there or has no letters; whether it was added."""
        entry = (kind, name.sign, name.key)
        if not name.key or entry in self._seen:
            return False
        self._seen.add(entry)
        self.names.setdefault((kind, name.sign), []).append(name)
        return True

    def draws(self, rng: random.Random, kind: str, sign: str, most: int) -> Iterator[Name]:
        """Up to `most` random names of a type, those first that were written with the same sign."""
        names = self.names.get((kind, sign)) or self.names.get((kind, "")) or []
        for _ in range(most if names else 0):
            yield rng.choice(names)

    def types(self) -> dict[str, str]:
        """`fold` of a name to its type, of the names that have one type only."""
        kinds: dict[str, set[str]] = {}
        for (kind, _), names in self.names.items():
            for name in names:
                kinds.setdefault(fold(name.key), set()).add(kind)
        return {key: min(types) for key, types in kinds.items() if len(types) == 1}


def training_names(samples: Iterable[Sample]) -> EntitySource:
    """The in-domain source: all mentions whose type is known."""
    source = EntitySource()
    for sample in samples:
        for mention in sample.mentions:
            if mention.kind:
                source.add(mention.kind, name_of(sample.tokens, mention))
    return source


def written_as(name: Name, old: Sequence[str], sign: str) -> tuple[str, ...]:
    """The tokens that a name gets in the place of an old mention.

    After a sign a name is one word, as hashtags and handles are; where the sign belongs to the old mention, it does
    to the new one.

    Args:
        name (`Name`): The new name.
        old (`Sequence[str]`): Tokens of the old mention.
        sign (`str`): The sign that the old mention was written with, or empty.

    Example:
        >>> written_as(Name(("New", "Tarn")), ["#Otters"], "#")
        ('#NewTarn',)
    """
    if not sign:
        return name.tokens
    word = "".join(c for c in "".join(name.tokens) if c.isalnum() or c == "_")
    if old[0] == sign:
        return (sign, word)
    return (f"{sign}{word}",) if _SIGNED.match(old[0]) else (word,)

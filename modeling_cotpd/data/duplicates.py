"""Equal and nearly equal posts, within a split and across splits."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

# Some files part an address into tokens, such as `https : //t . co/abc`, and a handle, such as `@Ada _ Lee`.
_URL = re.compile(r"(?:https?\s*:\s*)?/+\s*t\s*\.\s*co\s*/\s*\S+|https?\s*:\s*/+\s*\S+|\S+://\S+")
_HANDLE = re.compile(r"@\s?\w+(?: _(?: \w+)?)*")
_WORD = re.compile(r"\w+")
NEAR = 0.8
"""Least Jaccard similarity, 0 to 1, of the word sets of nearly equal posts, chosen because retweets that differ
by one word of ten lie above it and different posts on one event mostly below."""
MIN_WORDS = 4
"""Least number of different words of a post that can be nearly equal to another: with fewer, greetings match."""
MAX_PARTNERS = 20
"""A post is paired with at most this many earlier ones that equal it: a text that occurs a thousand times would give
half a million pairs, and a few of them show the same."""


@dataclass(frozen=True)
class Pair:
    """Two equal or nearly equal posts: `"exact"` (the same tokens), `"normalised"` (the same words once user handles,
    addresses, case and punctuation are taken away) or `"near"` (at least `NEAR` of their different words are shared).
    """

    a_split: str
    a_id: str
    b_split: str
    b_id: str
    kind: str


def normalise(tokens: Sequence[str]) -> tuple[str, ...]:
    """Lower-case words of a post without the retweet mark, user handles, addresses and punctuation.

    Example:
        >>> normalise(["RT", "@ana", ":", "Leaving", "Leeds", "!", "http://t.co/1"])
        ('leaving', 'leeds')
    """
    text = _HANDLE.sub(" ", _URL.sub(" ", " ".join(tokens)))
    words = _WORD.findall(text.lower())
    return tuple(words[1:] if words[:1] == ["rt"] else words)


def identity(tokens: Sequence[str]) -> tuple[str, ...]:
    """What equal posts share: their normalised words, or all tokens where fewer than `MIN_WORDS` words are left.

    Example:
        >>> identity(["@ana", "hello"]) == identity(["@ben", "hello"])
        False
    """
    words = normalise(tokens)
    return words if len(set(words)) >= MIN_WORDS else tuple(tokens)


def find_pairs(posts: Iterable[tuple[str, str, Sequence[str]]], near: float = NEAR) -> list[Pair]:
    """All pairs of equal and nearly equal posts.

    Candidates share one of the rare words that any two sets of this similarity must share (prefix filtering), so that
    the time grows with the number of similar posts and not with the square of all posts.

    Args:
        posts (`Iterable[tuple[str, str, Sequence[str]]]`): Split, id and tokens of each post. The pairs stand in this
            order, and the earlier post of a pair is `a`.
        near (`float`, defaults to `NEAR`): Least similarity, above 0 and up to 1.
    """
    names, forms = [], []
    for split, name, tokens in posts:
        names.append((split, name))
        forms.append({"exact": tuple(tokens), "normalised": normalise(tokens)})
    sets = [frozenset(form["normalised"]) for form in forms]
    kinds: dict[tuple[int, int], str] = {}
    searched: list[int] = []
    for kind in ("exact", "normalised"):
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for index, form in enumerate(forms):
            if kind == "exact" or len(sets[index]) >= MIN_WORDS:
                groups[form[kind]].append(index)
        for group in groups.values():
            for position, b in enumerate(group):
                for a in group[: min(position, MAX_PARTNERS)]:
                    kinds.setdefault((a, b), kind)
        searched = sorted(index for group in groups.values() for index in group[:MAX_PARTNERS])
    for a, b in _near_pairs(sets, searched, near):
        kinds.setdefault((a, b), "near")
    return [Pair(*names[a], *names[b], kind) for (a, b), kind in sorted(kinds.items())]


def _near_pairs(sets: list[frozenset[str]], searched: list[int], near: float) -> Iterator[tuple[int, int]]:
    frequency = Counter(word for words in sets for word in words)
    by_word: dict[str, list[int]] = defaultdict(list)
    for b in searched:
        words = sets[b]
        rare_first = sorted(words, key=lambda word: (frequency[word], word))
        # Two sets that share ceil(near * n) of n words share one of the n - ceil(near * n) + 1 rarest.
        prefix = rare_first[: len(words) - math.ceil(near * len(words) - 1e-9) + 1]
        for a in sorted({a for word in prefix for a in by_word[word]}):
            shared = len(words & sets[a])
            if shared >= near * (len(words) + len(sets[a]) - shared):
                yield a, b
        for word in prefix:
            by_word[word].append(b)

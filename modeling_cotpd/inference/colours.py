"""The background colour of each entity type, the same on all pages and in displaCy."""

from collections.abc import Iterable

COLOURS = {"PER": "#cfe1ff", "LOC": "#c9efd0", "ORG": "#ffe1b0", "MISC": "#e4d6fb", "OTHER": "#e4d6fb"}
"""The types of the benchmark data sets; dark text is readable on them."""
SPARE = ("#cfe1ff", "#ffe1b0", "#c9efd0", "#e4d6fb", "#ffd3da", "#c3efec")
"""Other types take these in turn."""


def colour_of(kind: str, kinds: Iterable[str]) -> str:
    """The colour of a type among all types that a model or page knows."""
    if kind in COLOURS:
        return COLOURS[kind]
    others = sorted(name for name in {*kinds, kind} if name not in COLOURS)
    return SPARE[others.index(kind) % len(SPARE)]


def types_of(label_names: Iterable[str]) -> list[str]:
    """The entity types of a tag set."""
    return sorted({name[2:] for name in label_names if name[:2] in ("B-", "I-")})

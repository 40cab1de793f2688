"""Tags of entities: what a sequence of BIO tags means, read strictly and leniently, and other schemes as BIO."""

import re
from collections.abc import Collection, Sequence

from modeling_cotpd.errors import DataError

SCHEMES = {"bio": "BI", "iob1": "BI", "bioes": "BIESLUMW"}
"""Tag schemes and the prefixes that each has. `bioes` covers BILOU (`L`, `U`) and BMEWO (`M`, `W`) too."""
_BEGINS, _ENDS = "BSUW", "ESLUW"


def check_tag(tag: str, spot: str, types: Collection[str] | None = None, scheme: str = "bio") -> None:
    """Raise a `DataError` unless a tag is `O`, or a prefix of the scheme, a hyphen and one of the entity types."""
    if not re.fullmatch(rf"O|[{SCHEMES[scheme]}]-\S+", tag):
        forms = ", ".join(f"{prefix}-TYPE" for prefix in SCHEMES[scheme])
        others = f"Other schemes: prepare with --tag-scheme {' or '.join(SCHEMES)}."
        fix = f"Tags are O, {forms}; in CoNLL files the last column. {others}"
        raise DataError(f"Unknown tag {tag!r}.", place=spot, fix=fix)
    if types is not None and tag != "O" and tag[2:] not in types:
        raise DataError(f"Unknown tag {tag!r}.", place=spot, fix=f"The entity types are {', '.join(sorted(types))}.")


def to_bio(tags: Sequence[str], scheme: str) -> list[str]:
    """The tags of another scheme as BIO tags.

    In `"iob1"`, `B-` marks only an entity right after one of its type; `"bioes"` has `S-` for entities of one token
    and `E-` for their ends, or the letters of BILOU and BMEWO.

    Example:
        >>> to_bio(["S-LOC", "O", "B-PER", "E-PER"], "bioes")
        ['B-LOC', 'O', 'B-PER', 'I-PER']
        >>> to_bio(["I-PER", "I-PER", "B-PER"], "iob1")
        ['B-PER', 'I-PER', 'B-PER']
    """
    if scheme == "bio":
        return list(tags)
    found = []
    for before, tag in zip(["O", *tags], tags, strict=False):
        continues = before != "O" and before[2:] == tag[2:] and not (scheme == "bioes" and before[0] in _ENDS)
        begins = tag[0] in (_BEGINS if scheme == "bioes" else "B") or not continues
        found.append(tag if tag == "O" else f"{'B' if begins else 'I'}-{tag[2:]}")
    return found


def orphans(tags: Sequence[str]) -> list[int]:
    """Positions of `I-` tags that continue nothing: the tag before is not `B-` or `I-` of the same type.

    Example:
        >>> orphans(["O", "I-PER", "I-PER", "B-LOC", "I-ORG"])
        [1, 4]
    """
    pairs = enumerate(zip(["O", *tags], tags, strict=False))
    return [index for index, (before, tag) in pairs if tag.startswith("I-") and before not in (tag, "B-" + tag[2:])]


def entities(tags: Sequence[str], lenient: bool = False) -> list[tuple[str, int, int]]:
    """Entities as (type, start, end) with `end` excluded.

    Strictly, only `B-` begins an entity. Leniently, an `I-` tag that continues nothing begins one too, as in the CoNLL
    scorer and seqeval's default mode.

    Example:
        >>> entities(["I-PER", "I-PER", "B-LOC"])
        [('LOC', 2, 3)]
        >>> entities(["I-PER", "I-PER", "B-LOC"], lenient=True)
        [('PER', 0, 2), ('LOC', 2, 3)]
    """
    found: list[tuple[str, int, int]] = []
    kind, start = "", -1
    for index, tag in enumerate([*tags, "O"]):
        if kind and tag != f"I-{kind}":
            found.append((kind, start, index))
            kind = ""
        if tag.startswith("B-") or (lenient and not kind and tag.startswith("I-")):
            kind, start = tag[2:], index
    return found

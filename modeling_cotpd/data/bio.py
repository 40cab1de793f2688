"""Tags of entities: what a sequence of BIO tags means, read strictly and leniently, and other schemes as BIO."""

import re
from collections.abc import Collection, Sequence

from modeling_cotpd.errors import DataError

SCHEMES = {"bio": "BI", "iob1": "BI", "bioes": "BIESLUMW"}
"""Tag schemes and the prefixes that each has. `bioes` covers BILOU (`L`, `U`) and BMEWO (`M`, `W`) too."""
_BEGINS, _ENDS = "BSUW", "ESLUW"


def check_tag(tag: str, spot: str, types: Collection[str] | None = None, scheme: str = "bio") -> None:
    """Check a tag.

    Args:
        tag (`str`): `O`, or a prefix of the scheme, a hyphen and the entity type.
        spot (`str`): The tag's place, for the message.
        types (`Collection[str]`, *optional*): The entity types that may occur; any by default.
        scheme (`str`, *optional*, defaults to `"bio"`): One of `SCHEMES`.

    Raises:
        DataError: The tag has another form or another type.
    """
    prefixes = SCHEMES[scheme]
    if not re.fullmatch(rf"O|[{prefixes}]-\S+", tag):
        forms = ", ".join(f"{prefix}-TYPE" for prefix in prefixes)
        raise DataError(
            f"Unknown tag {tag!r}.",
            place=spot,
            fix=f"Tags are O, {forms}. Other schemes: prepare with --tag-scheme {' or '.join(SCHEMES)}.",
        )
    if types is not None and tag != "O" and tag[2:] not in types:
        raise DataError(f"Unknown tag {tag!r}.", place=spot, fix=f"The entity types are {', '.join(sorted(types))}.")


def to_bio(tags: Sequence[str], scheme: str) -> list[str]:
    """The tags of another scheme as BIO tags.

    Args:
        tags (`Sequence[str]`): Tags of the scheme.
        scheme (`str`): `"iob1"`, where `B-` marks only an entity right after one of its type; `"bioes"` with `S-` for
            entities of one token and `E-` for their ends, or its letters in BILOU and BMEWO; or `"bio"`, unchanged.

    Example:
        >>> to_bio(["S-LOC", "O", "B-PER", "E-PER"], "bioes")
        ['B-LOC', 'O', 'B-PER', 'I-PER']
        >>> to_bio(["I-PER", "I-PER", "B-PER"], "iob1")
        ['B-PER', 'I-PER', 'B-PER']
    """
    if scheme == "bio":
        return list(tags)
    found = []
    for index, tag in enumerate(tags):
        before = tags[index - 1] if index else "O"
        continues = before != "O" and before[2:] == tag[2:] and not (scheme == "bioes" and before[0] in _ENDS)
        if tag == "O":
            found.append(tag)
        elif scheme == "iob1":
            found.append(tag if tag[0] == "B" or continues else f"B-{tag[2:]}")
        else:
            found.append(f"B-{tag[2:]}" if tag[0] in _BEGINS or not continues else f"I-{tag[2:]}")
    return found


def orphans(tags: Sequence[str]) -> list[int]:
    """Positions of `I-` tags that continue nothing: the tag before is not `B-` or `I-` of the same type.

    Example:
        >>> orphans(["O", "I-PER", "I-PER", "B-LOC", "I-ORG"])
        [1, 4]
    """
    return [
        index
        for index, tag in enumerate(tags)
        if tag.startswith("I-") and (index == 0 or tags[index - 1] not in (tag, "B-" + tag[2:]))
    ]


def entities(tags: Sequence[str], lenient: bool = False) -> list[tuple[str, int, int]]:
    """Entities as (type, start, end) with `end` excluded.

    Args:
        tags (`Sequence[str]`): `O`, `B-TYPE` and `I-TYPE`.
        lenient (`bool`, defaults to `False`): Whether an `I-` tag that continues nothing begins an entity, as in the
            CoNLL scorer and seqeval's default mode. Strictly, only `B-` begins one.

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

"""What a sequence of BIO tags means, read strictly and leniently."""

from collections.abc import Sequence


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

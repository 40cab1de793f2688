"""Gold mentions carried over from a post to its rewrite, exactly or not at all."""

from collections.abc import Sequence

from modeling_cotpd.augmentation.candidate import Rejected
from modeling_cotpd.augmentation.names import fold, occurrences
from modeling_cotpd.augmentation.sample import Mention, Sample

Span = tuple[int, int]


def align(sample: Sample, tokens: Sequence[str], label_repeats: bool = False) -> list[Mention]:
    """The sample's mentions among the tokens of its rewrite.

    A mention is found when whole tokens read like it, whatever their case, spaces, signs and accents (`name_key`): the
    mention `NewTarn` of `# NewTarn` is found in `New Tarn`, and the other way round. Every name must stand in the
    rewrite as often as in the post; so the number of mentions is kept.

    Args:
        sample (`Sample`): The post.
        tokens (`Sequence[str]`): The rewrite, tokenized as the post is.
        label_repeats (`bool`): Take a rewrite that names an entity more often than the post: every one is labelled
            (MNER), or the first is taken (MRE).

    Returns:
        MNER: the mentions in their order in the rewrite; MRE: head and tail.

    Raises:
        Rejected: A mention is missing, or it is unclear which tokens it is.
    """
    gold: dict[str, list[Mention]] = {}
    for mention in sample.mentions:
        gold.setdefault(sample.key(mention), []).append(mention)
    if "" in gold:
        raise Rejected("mention without letters", _text(sample, gold[""][0]))
    if sample.is_relation and len(gold) < len(sample.mentions):
        raise Rejected("head and tail have the same name", _text(sample, sample.mentions[0]))
    before, after = occurrences(sample.tokens, gold), occurrences(tokens, gold)
    found: dict[str, list[Mention]] = {}
    for key, mentions in gold.items():
        places = [_core(sample.tokens, mention) for mention in mentions]
        stray = set(places) - set(before[key]) if sample.is_relation else set(places) ^ set(before[key])
        if stray or len({mention.kind for mention in mentions}) > 1:
            raise Rejected("mention not unique in the post", _text(sample, mentions[0]))
        if len(after[key]) < len(before[key]):
            raise Rejected("mention missing", _text(sample, mentions[0]))
        if len(after[key]) > len(before[key]) and not label_repeats:
            raise Rejected("mention repeated", _text(sample, mentions[0]))
        spans = after[key]
        if sample.is_relation:
            equal = len(after[key]) == len(before[key])
            spans = [after[key][before[key].index(place) if equal else 0] for place in places]
        found[key] = [Mention(mentions[0].kind, *_widened(sample, mentions[0], tokens, span)) for span in spans]
    aligned = [mention for mentions in found.values() for mention in mentions]
    return aligned if sample.is_relation else sorted(aligned, key=lambda mention: mention.start)


def _core(tokens: Sequence[str], mention: Mention) -> Span:
    """A mention without the tokens at its ends that have no letters, such as `#` and `.`"""
    lettered = [index for index in range(mention.start, mention.end) if fold(tokens[index])]
    return lettered[0], lettered[-1] + 1


def _widened(sample: Sample, mention: Mention, tokens: Sequence[str], span: Span) -> Span:
    """A span with the tokens around it that the gold mention has at its ends too."""
    start, end = _core(sample.tokens, mention)
    lead, trail = sample.tokens[mention.start : start], sample.tokens[end : mention.end]
    first, last = span[0] - len(lead), span[1] + len(trail)
    return (
        first if first >= 0 and list(tokens[first : span[0]]) == lead else span[0],
        last if list(tokens[span[1] : last]) == trail else span[1],
    )


def _text(sample: Sample, mention: Mention) -> str:
    return " ".join(sample.tokens[mention.start : mention.end])

"""Entity: a mention becomes another one of its type, where that is possible in fact."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from modeling_cotpd.augmentation.plan import ENTITY, ONE, AugmentPlan, Candidate, Rejected
from modeling_cotpd.augmentation.renaming import Renaming, with_knowledge
from modeling_cotpd.augmentation.sample import (
    Mention,
    Sample,
    candidate_names,
    fold,
    moved,
    occurrences,
    replace_spans,
    with_mentions,
)
from modeling_cotpd.augmentation.sources import EntitySource, Name, name_of, written_as
from modeling_cotpd.augmentation.tokenization import detokenize
from modeling_cotpd.knowledge.answer import CUT
from modeling_cotpd.knowledge.prompt import opening
from modeling_cotpd.knowledge.request import Conversation

MOST_DRAWS = 30
"""Draws until no other name is sought; enough unless nearly all names of a type are in the post."""
SAME_ENTITY = "alternate_names"
"""How MNRE's relations between two names of one entity end: replacing one of them makes the relation false."""
_SAYS = r"\b(yes|no)\b(?!\s+(?:one|doubt|idea|matter|longer)\b)"
_WORD, _FIRST = re.compile(_SAYS, re.IGNORECASE), re.compile(rf"\W*{_SAYS}", re.IGNORECASE)


@dataclass(frozen=True)
class Replacement:
    """One name for another: edits for `replace_spans` at all its places, and the change of knowledge and captions."""

    edits: list[tuple[int, int, tuple[str, ...]]]
    renaming: Renaming


def replace_entities(sample: Sample, plan: AugmentPlan, source: EntitySource, types: dict[str, str]) -> Conversation:
    """Ask about new entities in one post; the result has one candidate for each of `plan.times`.

    `types` has the types of folded names, for MRE rows whose relation does not tell them.
    """
    rng = random.Random(f"{plan.seed}/{sample.id}")
    seen, candidates = {tuple(sample.tokens)}, list[Candidate]()
    for time in range(1, plan.times + 1):
        candidate = Candidate(sample.id, ENTITY, time)
        candidates.append(candidate)
        with candidate.judged():
            replacements = draw(sample, plan, source, types, rng, seen)
            row = replaced_row(sample, replacements)
            candidate.text = detokenize(row["tokens"])
            if plan.fact_check:
                yield from check_fact(plan, candidate.text)
            candidate.row = yield from with_knowledge(plan, row, [each.renaming for each in replacements], candidate)
    return candidates


def check_fact(plan: AugmentPlan, text: str) -> Conversation:
    """Ask whether a post is possible in fact. Raises `Rejected`."""
    prompts = (plan.prompts["post"], plan.prompts["fact_check"])
    answer = yield plan.request("fact_check", opening(plan.prompts, prompts[1], text), *prompts, example="Yes.")
    # An answer that was cut has said its yes or no before.
    usable, verdict = plan.usable_text(answer) or answer.status == CUT, read_verdict(answer.text)
    if not usable:
        raise Rejected(f"fact check {answer.status}", answer.reason)
    if verdict is None:
        raise Rejected("fact check unclear", answer.text.strip()[:200])
    if not verdict:
        raise Rejected("fact check says no", answer.text.strip()[:200])


def draw(
    sample: Sample,
    plan: AugmentPlan,
    source: EntitySource,
    types: dict[str, str],
    rng: random.Random,
    seen: set[tuple[str, ...]],
) -> list[Replacement]:
    """Draw what is replaced by what, to a post that is not in `seen`, and put it there. Raises `Rejected`."""
    groups = _groups(sample, types)
    for _ in range(MOST_DRAWS):
        rng.shuffle(groups)
        chosen: list[Replacement] = []
        for group in groups:
            if plan.mentions == ONE and chosen:
                break
            if (replacement := _draw_one(sample, group, source, rng, chosen)) is not None:
                chosen.append(replacement)
        edits = [edit for each in chosen for edit in each.edits]
        tokens = tuple(replace_spans(sample.tokens, edits))
        if tokens not in seen:
            seen.add(tokens)
            return chosen
    raise Rejected("no other name to take", ", ".join(sorted({group[0].kind for group in groups})))


def _groups(sample: Sample, types: dict[str, str]) -> list[list[Mention]]:
    """The post's mentions that can be replaced, those of the same name together."""
    if sample.unlabelled:
        raise Rejected("not labelled")
    if sample.has_orphans:
        raise Rejected("tags that continue nothing")
    mentions = sample.mentions
    if sample.is_relation:
        head, tail = mentions
        if head.start < tail.end and tail.start < head.end:
            raise Rejected("head and tail overlap")
        if sample.key(head) == sample.key(tail):
            raise Rejected("head and tail have the same name")
        if (sample.row["relation"] or "").endswith(SAME_ENTITY):
            raise Rejected("head and tail are one entity")
        mentions = tuple(
            Mention(mention.kind or types.get(fold(sample.key(mention)), ""), mention.start, mention.end)
            for mention in mentions
        )
        if not any(mention.kind for mention in mentions):
            raise Rejected("type not known")
    grouped: dict[str, list[Mention]] = {}
    for mention in mentions:
        if sample.key(mention) and mention.kind:
            grouped.setdefault(sample.key(mention), []).append(mention)
    if not grouped:
        raise Rejected("no entity")
    groups = [whole for key, group in grouped.items() if (whole := _whole_group(sample, key, group, mentions))]
    if not groups:
        raise Rejected("name also stands unlabelled", " ".join(grouped))
    return groups


def _whole_group(sample: Sample, key: str, group: list[Mention], mentions: Sequence[Mention]) -> list[Mention]:
    """A name's mentions, for MRE with further places of the name; none when the name would still stand somewhere."""
    if len({mention.kind for mention in group}) > 1:
        return []
    taken = {place for mention in mentions for place in range(mention.start, mention.end)}
    spans = occurrences(sample.tokens, {key})[key]
    strays = [span for span in spans if not any(each.start <= span[0] and span[1] <= each.end for each in group)]
    if strays and (not sample.is_relation or any(taken & set(range(*span)) for span in strays)):
        return []
    return [*group, *(Mention(group[0].kind, *span) for span in strays)]


def _draw_one(
    sample: Sample, group: list[Mention], source: EntitySource, rng: random.Random, others: Sequence[Replacement]
) -> Replacement | None:
    names = [name_of(sample.tokens, mention) for mention in group]
    keys = {key for _, _, key in candidate_names(sample.tokens)}
    keys |= {fold(" ".join(each.renaming.new)) for each in others}
    old = fold(names[0].key)
    for name in source.draws(rng, group[0].kind, names[0].sign, MOST_DRAWS):
        new = fold(name.key)
        if name.key not in keys and new not in keys and old not in new and new not in old:
            return _replacement(sample, group, names, name, others)
    return None


def _replacement(
    sample: Sample, group: list[Mention], names: list[Name], new: Name, others: Sequence[Replacement]
) -> Replacement:
    edits = [
        (mention.start, mention.end, written_as(new, sample.tokens[mention.start : mention.end], name.sign))
        for mention, name in zip(group, names, strict=True)
    ]
    inside = {place for mention in group for place in range(mention.start, mention.end)}
    places = {place for mention in sample.mentions for place in range(mention.start, mention.end)}
    shared = {fold(sample.tokens[place]) for place in places - inside}
    shared |= {fold(token) for each in others for token in each.renaming.new}
    return Replacement(edits, Renaming(names[0].tokens, new.tokens, frozenset(shared)))


def replaced_row(sample: Sample, replacements: Sequence[Replacement]) -> dict:
    """The parent's record with new tokens and labels; the label of every other token stays as it is."""
    edits = [edit for each in replacements for edit in each.edits]
    lengths = {(start, end): len(new) for start, end, new in edits}
    mentions = []
    for mention in sample.mentions:
        start = moved(mention.start, edits)
        length = lengths.get((mention.start, mention.end), mention.end - mention.start)
        mentions.append(Mention(mention.kind, start, start + length))
    return with_mentions(sample.row, replace_spans(sample.tokens, edits), mentions)


def read_verdict(text: str) -> bool | None:
    """Whether an answer says yes or no, `None` when it does not say or says both.

    The first word decides, else the only one of the two in the first line.

    Example:
        >>> read_verdict("**Yes**, it is."), read_verdict("The answer is no."), read_verdict("Possibly.")
        (True, False, None)
    """
    if first := _FIRST.match(text):
        return first.group(1).lower() == "yes"
    words = {word.lower() for word in _WORD.findall(text.strip().split("\n")[0])}
    return words == {"yes"} if len(words) == 1 else None

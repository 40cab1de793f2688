"""A training post with its gold mentions, the same for both tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from modeling_cotpd.augmentation.names import name_key
from modeling_cotpd.data.bio import entities, orphans

Item = TypeVar("Item")


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
        """The record's id."""
        return self.row["id"]

    @property
    def tokens(self) -> list[str]:
        """The post's tokens."""
        return self.row["tokens"]

    @property
    def is_relation(self) -> bool:
        """Whether this is an MRE sample."""
        return "head" in self.row

    @property
    def unlabelled(self) -> bool:
        """Whether an MNER post is not labelled, so that its mentions are not known."""
        return not self.is_relation and self.row["ner_tags"] is None

    @property
    def has_orphans(self) -> bool:
        """Whether an `I-` tag continues nothing, so that it is open what the mentions are."""
        return not self.is_relation and bool(orphans(self.row["ner_tags"] or ()))

    def key(self, mention: Mention) -> str:
        """The name that a mention gives, as its `name_key`."""
        return name_key("".join(self.tokens[mention.start : mention.end]))


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


def bio_tags(length: int, mentions: Sequence[Mention]) -> list[str]:
    """The tags of mentions in a post of `length` tokens."""
    tags = ["O"] * length
    for mention in mentions:
        span = mention.end - mention.start
        tags[mention.start : mention.end] = [f"B-{mention.kind}", *[f"I-{mention.kind}"] * (span - 1)]
    return tags


def with_mentions(row: dict, tokens: list[str], mentions: Sequence[Mention]) -> dict:
    """A copy of a record with other tokens and mentions, and the labels that these mean."""
    if "head" in row:
        spans = [{"start": mention.start, "end": mention.end} for mention in mentions]
        return {**row, "tokens": tokens, "head": spans[0], "tail": spans[1]}
    tags = None if row["ner_tags"] is None else bio_tags(len(tokens), mentions)
    return {**row, "tokens": tokens, "ner_tags": tags}

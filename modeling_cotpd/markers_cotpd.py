"""Subword tokens, character spans and entity markers: how a text with two entities becomes model input."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

ENTITY_MARKERS = ("[E1]", "[/E1]", "[E2]", "[/E2]")
"""Start and end of the head, start and end of the tail (entity markers of arXiv 1906.03158)."""
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def add_entity_markers(tokenizer: PreTrainedTokenizerBase) -> int:
    """Add the four entity markers to the vocabulary; returns how many were new.

    Resize the model's embeddings afterwards: `model.resize_token_embeddings(len(tokenizer))`.
    """
    return tokenizer.add_tokens(list(ENTITY_MARKERS), special_tokens=True)


def marker_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids of the four markers."""
    vocabulary = tokenizer.get_added_vocab()
    missing = [marker for marker in ENTITY_MARKERS if marker not in vocabulary]
    if missing:
        raise ValueError(
            f"The tokenizer lacks the entity markers {missing}. Add them with add_entity_markers(tokenizer)."
        )
    return [vocabulary[marker] for marker in ENTITY_MARKERS]


def readable(text: str) -> str:
    """A text whose lone surrogates, which tokenizers refuse, are U+FFFD; as long as before."""
    return text if text.isascii() else text.translate(_SURROGATES)


def special_affixes(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and after one text, such as `[CLS]` and `[SEP]`."""
    # every call says how special tokens are read: a call that changes it fails beside another thread's
    bare = tokenizer("a", add_special_tokens=False, split_special_tokens=True)["input_ids"]
    full = tokenizer("a", split_special_tokens=True)["input_ids"]
    start = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return full[:start], full[start + len(bare) :]


def tokens_of_span(offsets: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The subword tokens [first, last) that overlap the characters [start, end).

    A span whose characters the tokenizer drops (a lone variation selector, say) gives an empty range at its place.
    """
    first = sum(1 for _, token_end in offsets if token_end <= start)
    last = sum(1 for token_start, _ in offsets if token_start < end)
    return first, max(first, last)


def insert_markers(
    tokens: Sequence[int], head: tuple[int, int], tail: tuple[int, int], markers: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Put the four markers around head and tail, [first, last) of the subword tokens, which may overlap.

    Returns:
        The tokens with markers, and where the start markers of head and tail stand in them.
    """
    head_start, head_end, tail_start, tail_end = markers
    # At one place, ends come before starts, so that neighbours do not nest; of an empty span the start comes first.
    insertions = sorted(
        [
            (head[0], 1, head_start),
            (head[1], 0 if head[1] > head[0] else 2, head_end),
            (tail[0], 1, tail_start),
            (tail[1], 0 if tail[1] > tail[0] else 2, tail_end),
        ],
        key=lambda insertion: insertion[:2],
    )
    marked: list[int] = []
    begin = 0
    for place, _, marker in insertions:
        marked += [*tokens[begin:place], marker]
        begin = place
    marked += tokens[begin:]
    return marked, [marked.index(head_start), marked.index(tail_start)]

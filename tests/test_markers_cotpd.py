"""Markers, character spans and special affixes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_models import TOKENIZER_KINDS

from modeling_cotpd.markers_cotpd import (
    ENTITY_MARKERS,
    add_entity_markers,
    insert_markers,
    marker_ids,
    special_affixes,
    tokens_of_span,
)

MARKERS = [101, 102, 103, 104]


def test_adding_markers(tokenizer):
    size = len(tokenizer)
    assert add_entity_markers(tokenizer) == 4 and add_entity_markers(tokenizer) == 0
    assert marker_ids(tokenizer) == [size, size + 1, size + 2, size + 3]
    assert tokenizer.convert_ids_to_tokens(marker_ids(tokenizer)) == list(ENTITY_MARKERS)


def test_markers_that_are_missing(wordpiece):
    wordpiece.add_tokens(["[E1]", "[/E1]"], special_tokens=True)
    with pytest.raises(ValueError, match=r"lacks the entity markers \['\[E2\]', '\[/E2\]'\].*add_entity_markers"):
        marker_ids(wordpiece)


def test_affixes():
    assert special_affixes(TOKENIZER_KINDS["wordpiece"]()) == ([2], [3])
    assert special_affixes(TOKENIZER_KINDS["bpe"]()) == ([0], [2])
    assert special_affixes(TOKENIZER_KINDS["unigram"]()) == ([0], [2])


def test_tokens_of_span():
    offsets = [(0, 4), (5, 7), (7, 9), (10, 12)]  # "Mira", "Ho", "lt", "at"
    assert tokens_of_span(offsets, 0, 4) == (0, 1)
    assert tokens_of_span(offsets, 5, 9) == (1, 3)
    assert tokens_of_span(offsets, 0, 9) == (0, 3)
    assert tokens_of_span(offsets, 6, 8) == (1, 3)  # half a piece is a piece
    assert tokens_of_span(offsets, 4, 5) == (1, 1)  # the space between
    assert tokens_of_span(offsets, 12, 13) == (4, 4)
    assert tokens_of_span([], 0, 3) == (0, 0)
    # the space before a word counted to its piece
    assert tokens_of_span([(0, 4), (4, 9), (9, 12)], 5, 9) == (1, 2)
    assert tokens_of_span([(0, 4), (4, 9), (9, 12)], 0, 4) == (0, 1)


@given(
    st.integers(0, 12).flatmap(
        lambda n: st.tuples(st.just(n), *[st.tuples(st.integers(0, n), st.integers(0, n)) for _ in range(2)])
    )
)
def test_insertion(case):
    """Any two spans: text unchanged, each marker once and around its own span, positions right."""
    length, *spans = case
    head, tail = (tuple(sorted(span)) for span in spans)
    pieces = list(range(length))
    marked, positions = insert_markers(pieces, head, tail, MARKERS)
    assert [piece for piece in marked if piece < 100] == pieces
    assert sorted(piece for piece in marked if piece > 100) == MARKERS
    assert positions == [marked.index(101), marked.index(103)]
    for (start, end), span in (((101, 102), head), ((103, 104), tail)):
        first, last = marked.index(start), marked.index(end)
        assert first < last
        assert [piece for piece in marked[first:last] if piece < 100] == pieces[span[0] : span[1]]
        assert len([piece for piece in marked[:first] if piece < 100]) == span[0]


def test_neighbours_do_not_nest():
    assert insert_markers([1, 2], (0, 1), (1, 2), MARKERS)[0] == [101, 1, 102, 103, 2, 104]
    assert insert_markers([1, 2], (1, 2), (0, 1), MARKERS)[0] == [103, 1, 104, 101, 2, 102]

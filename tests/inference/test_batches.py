"""Batches of like length, and long texts as overlapping stretches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.batches import BatchSettings, batches_by_length, stretches


@given(st.lists(st.integers(1, 60), max_size=60), st.integers(1, 9), st.one_of(st.none(), st.integers(1, 200)))
def test_batches_hold_everything_once_longest_first_within_both_limits(lengths, size, tokens):
    batches = list(batches_by_length(lengths, BatchSettings(size, tokens)))
    order = [index for batch in batches for index in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[index] for index in order] == sorted(lengths, reverse=True)
    for batch in batches:
        assert len(batch) <= size
        # a sequence longer than the limit still has to go through, alone
        assert tokens is None or len(batch) == 1 or len(batch) * lengths[batch[0]] <= tokens


def test_settings_are_checked():
    with pytest.raises(SettingError, match="batch_size must be at least 1, got 0"):
        BatchSettings(0)
    with pytest.raises(SettingError, match="max_batch_tokens"):
        BatchSettings(1, 0)


@given(st.integers(0, 400), st.integers(8, 60))
def test_stretches_cover_a_text_and_own_every_piece_once(length, room):
    parts = stretches(3, length, room)
    owned = [piece for part in parts for piece in range(part.own_begin, part.own_end)]
    assert owned == list(range(length))
    for part in parts:
        assert part.row == 3
        assert 0 <= part.begin <= part.own_begin <= part.own_end <= part.end <= length
        assert part.end - part.begin == min(length, room)
        # away from the text's ends, what counts has context on both sides
        if part.begin:
            assert part.own_begin - part.begin >= room // 8
        if part.end < length:
            assert part.end - part.own_end >= room // 8 - 1


def test_a_text_that_fits_is_one_stretch():
    assert len(stretches(0, 20, 20)) == 1
    assert len(stretches(0, 21, 20)) == 2

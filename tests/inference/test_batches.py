"""Batches of like length, and long texts as overlapping windows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.batches import (
    CPU_BATCH_TOKENS,
    BatchSettings,
    batches_by_length,
    run_batches,
    text_windows,
)
from modeling_cotpd.modeling_cotpd import CoTPDOutput


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


@pytest.mark.parametrize(("device", "limit"), [("cpu", CPU_BATCH_TOKENS), ("meta", 64 * 40)])
def test_batches_on_a_cpu_are_small_by_default(device: str, limit: int):
    sizes = []

    class Model:
        def __init__(self):
            self.device = torch.device(device)

        def __call__(self, input_ids, attention_mask):
            sizes.append(input_ids.numel())
            return CoTPDOutput(logits=torch.zeros(*input_ids.shape, 3))

    rows = [{"input_ids": [1] * 40} for _ in range(64)]
    assert len(list(run_batches(Model(), rows, BatchSettings(64), 0))) == 64
    assert limit - 40 < max(sizes) <= limit
    sizes.clear()
    assert len(list(run_batches(Model(), rows, BatchSettings(64, 80), 0))) == 64 and max(sizes) == 80


@given(st.lists(st.booleans(), max_size=400), st.integers(8, 60))
def test_windows_cover_a_text_and_keep_every_token_once(begins_word, room):
    length = len(begins_word)
    parts = text_windows(3, begins_word, room)
    kept = [token for part in parts for token in range(part.own_begin, part.own_end)]
    assert kept == list(range(length))
    for part in parts:
        assert part.row == 3
        assert 0 <= part.begin <= part.own_begin <= part.own_end <= part.end <= length
        assert min(length, room) // 2 <= part.end - part.begin <= room
        # away from the text's ends, what is kept has context on both sides
        if part.begin:
            assert part.own_begin - part.begin >= room // 16
        if part.end < length:
            assert part.end - part.own_end >= room // 8 - 1


@given(st.lists(st.integers(1, 3), min_size=1, max_size=200), st.integers(24, 60))
def test_windows_end_between_words(lengths, room):
    begins_word = [place == 0 for length in lengths for place in range(length)]
    for part in text_windows(0, begins_word, room):
        for place in (part.begin, part.end, part.own_begin, part.own_end):
            assert place == len(begins_word) or begins_word[place]


def test_a_text_that_fits_is_one_window():
    assert len(text_windows(0, [True] * 20, 20)) == 1
    assert len(text_windows(0, [True] * 21, 20)) == 2

"""Means, differences and retention on numbers worked out by hand."""

import math

import numpy as np
import pytest

from experiments.statistics import difference, mean_and_deviation, retention


def counts(correct: int, posts: int = 100) -> np.ndarray:
    """One gold and one predicted item per post, the first `correct` of them right: F1 = correct / posts."""
    return np.array([[index < correct, 1, 1] for index in range(posts)], dtype=np.int64)


def test_mean_and_sample_deviation():
    assert mean_and_deviation([0.8, 0.9]) == (pytest.approx(0.85), pytest.approx(math.sqrt(0.005)))
    assert mean_and_deviation([0.8]) == (0.8, None)


def test_a_difference_pools_the_seeds_that_both_have():
    row = {0: counts(80), 1: counts(90), 2: counts(10)}
    found = difference(row, {0: counts(70), 1: counts(70)})
    assert found is not None
    result, seeds = found
    assert seeds == 2
    assert (result.f1_a, result.f1_b) == (0.85, 0.70)
    assert result.low < 0.15 < result.high and result.low > 0
    assert difference(row, {5: counts(70)}) is None


def test_retention_is_the_share_of_the_gap_that_is_kept():
    found = retention(np.stack([counts(76), counts(80)]), counts(70)[None], counts(86)[None])
    assert found.value == pytest.approx(0.5)
    assert 0 < found.low < 0.5 < found.high < 1.2


def test_retention_is_unbounded_without_a_clear_gap():
    found = retention(counts(72)[None], counts(70)[None], counts(70)[None])
    assert math.isnan(found.value) and math.isinf(found.high)
    near = retention(counts(72)[None], counts(70)[None], counts(71)[None])
    assert near.value == pytest.approx(2.0) and math.isinf(near.low)

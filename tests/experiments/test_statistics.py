"""Means, differences and retention on numbers worked out by hand."""

import math

import numpy as np
import pytest

from modeling_cotpd.errors import DataError
from modeling_cotpd.experiments.statistics import (
    difference,
    f1_of,
    mean_and_deviation,
    resampled_means,
    retention,
    sum_posts,
)


def counts(correct: int, posts: int = 100) -> np.ndarray:
    """One gold and one predicted item per post, the first `correct` of them right: F1 = correct / posts."""
    return np.array([[index < correct, 1, 1] for index in range(posts)], dtype=np.int64)


def test_mean_and_sample_deviation():
    assert mean_and_deviation([0.8, 0.9]) == (pytest.approx(0.85), pytest.approx(math.sqrt(0.005)))
    assert mean_and_deviation([0.8]) == (0.8, None)


def test_f1_of_nothing_is_zero():
    assert f1_of(np.array([[0, 0, 0], [3, 4, 6]])).tolist() == [0.0, 0.6]


def test_rows_of_a_post_are_added_up():
    rows = np.array([[1, 1, 1], [0, 1, 1], [1, 1, 2]])
    assert sum_posts(rows, np.array([0, 1, 0])).tolist() == [[2, 2, 3], [0, 1, 1]]


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
    assert found.gap == pytest.approx(0.16) and found.gap_above_zero == 1.0
    assert 0 < found.low < 0.5 < found.high < 1.2


def test_retention_is_unbounded_without_a_clear_gap():
    found = retention(counts(72)[None], counts(70)[None], counts(70)[None])
    assert math.isnan(found.value) and math.isinf(found.high)
    near = retention(counts(72)[None], counts(70)[None], counts(71)[None])
    assert near.value == pytest.approx(2.0) and math.isinf(near.low)


def test_the_interval_grows_with_the_spread_of_seeds():
    same = np.stack([counts(70), counts(70)])
    apart = np.stack([counts(60), counts(80)])
    spread = [np.ptp(np.quantile(resampled_means([rows], 1000)[:, 0], [0.025, 0.975])) for rows in (same, apart)]
    assert spread[1] > 1.5 * spread[0]


def test_other_gold_is_refused():
    with pytest.raises(DataError, match="one copy"):
        resampled_means([counts(70)[None], counts(70, 90)[None]])

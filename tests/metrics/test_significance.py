"""The paired bootstrap: against the normal approximation, a plain resampling loop, and its own seed."""

import math
import time

import numpy as np
import pytest

from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.metrics.entity_score.entity_score import entity_row_counts
from modeling_cotpd.metrics.significance import f1_of, paired_bootstrap, resampled_f1


def one_item_rows(*blocks):
    """Rows with one gold and one predicted item each, so that F1 is the share of correct rows."""
    return np.array([[correct, 1, 1] for correct, times in blocks for _ in range(times)])


def random_counts(rows, rate, seed):
    rng = np.random.default_rng(seed)
    gold = np.random.default_rng(5).integers(0, 4, rows)
    correct = rng.binomial(gold, rate)
    return np.stack([correct, correct + rng.integers(0, 2, rows), gold], axis=1)


def test_interval_and_p_value_agree_with_the_normal_approximation():
    # 1,000 rows: both right 600, only A right 150, only B right 130, both wrong 120.
    a = one_item_rows((1, 750), (0, 250))
    b = one_item_rows((1, 600), (0, 150), (1, 130), (0, 120))
    result = paired_bootstrap(a, b)
    difference = 0.02
    error = math.sqrt((150 + 130) / 1000 - difference**2) / math.sqrt(1000)
    assert (result.f1_a, result.f1_b) == (0.75, 0.73)
    assert result.difference == pytest.approx(difference)
    assert result.low == pytest.approx(difference - 1.96 * error, abs=0.002)
    assert result.high == pytest.approx(difference + 1.96 * error, abs=0.002)
    assert result.p_value == pytest.approx(math.erfc(difference / error / math.sqrt(2)), abs=0.02)  # about 0.23
    assert result.units == 1000 and result.resamples == 10_000


def test_agrees_with_a_loop_that_draws_posts():
    a, b = random_counts(200, 0.8, seed=1), random_counts(200, 0.7, seed=2)
    rng = np.random.default_rng(3)
    drawn = []
    for _ in range(4000):
        chosen = rng.integers(0, 200, 200)
        correct_a, predicted_a, gold = a[chosen].sum(axis=0)
        correct_b, predicted_b, _ = b[chosen].sum(axis=0)
        drawn.append(2 * correct_a / (predicted_a + gold) - 2 * correct_b / (predicted_b + gold))
    result = paired_bootstrap(a, b)
    assert [result.low, result.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]).tolist(), abs=0.006)
    distance = np.abs(np.array(drawn) - result.difference)
    assert result.p_value == pytest.approx((distance >= abs(result.difference)).mean(), abs=0.01)


def test_a_seed_fixes_the_result():
    a, b = random_counts(300, 0.8, seed=1), random_counts(300, 0.78, seed=2)
    assert paired_bootstrap(a, b, seed=4) == paired_bootstrap(a, b, seed=4)
    assert paired_bootstrap(a, b, seed=4) != paired_bootstrap(a, b, seed=5)


def test_changing_sides_mirrors_the_result():
    a, b = random_counts(300, 0.8, seed=1), random_counts(300, 0.75, seed=2)
    forth, back = paired_bootstrap(a, b), paired_bootstrap(b, a)
    assert back.difference == -forth.difference
    assert [-back.high, -back.low] == pytest.approx([forth.low, forth.high], abs=0.004)
    assert back.p_value == pytest.approx(forth.p_value, abs=0.02)


def test_equal_systems_do_not_differ():
    counts = random_counts(100, 0.8, seed=1)
    result = paired_bootstrap(counts, counts)
    assert (result.difference, result.low, result.high, result.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_a_clear_difference_has_the_smallest_p_value():
    result = paired_bootstrap(one_item_rows((1, 50)), one_item_rows((0, 50)), resamples=999)
    assert (result.difference, result.low, result.high) == (1.0, 1.0, 1.0)
    # Every resample differs by 1, so none lies as far as 1 from the observed difference of 1.
    assert result.p_value == pytest.approx(1 / 1000)


def test_rows_of_one_post_are_drawn_together():
    """Repeating every row four times within its post adds no evidence, so the interval stays as wide."""
    a, b = random_counts(150, 0.8, seed=1), random_counts(150, 0.7, seed=2)
    posts = [f"post {row // 4}" for row in range(600)]
    once = paired_bootstrap(a, b)
    grouped = paired_bootstrap(a.repeat(4, axis=0), b.repeat(4, axis=0), groups=posts)
    apart = paired_bootstrap(a.repeat(4, axis=0), b.repeat(4, axis=0))
    assert grouped.units == 150
    assert (grouped.difference, grouped.low, grouped.high) == pytest.approx((once.difference, once.low, once.high))
    assert apart.high - apart.low == pytest.approx((once.high - once.low) / 2, rel=0.1)


def test_confidence_widens_the_interval():
    a, b = random_counts(200, 0.8, seed=1), random_counts(200, 0.7, seed=2)
    narrow, wide = paired_bootstrap(a, b, confidence=0.5), paired_bootstrap(a, b, confidence=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_reads_the_counts_of_the_entity_score():
    gold = [["B-PER", "O"], ["B-LOC", "I-LOC"], ["O", "B-PER"]]
    worse = [["B-PER", "O"], ["B-LOC", "O"], ["O", "O"]]
    result = paired_bootstrap(entity_row_counts(gold, gold), entity_row_counts(worse, gold), resamples=100)
    assert (result.f1_a, result.f1_b) == (1.0, pytest.approx(2 / 5))


def test_resamples_without_any_item_count_as_zero():
    a = np.array([[1, 1, 1], [0, 0, 0], [0, 0, 0]])
    result = paired_bootstrap(a, a * [[0, 0, 1]], resamples=200)
    assert (result.low, result.high) == (0.0, 1.0)


def test_ten_thousand_resamples_take_seconds():
    a, b = random_counts(3257, 0.8, seed=1), random_counts(3257, 0.79, seed=2)
    start = time.perf_counter()
    paired_bootstrap(a, b)
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    ("a", "b", "groups", "message"),
    [
        ([[1, 1, 1]], [[1, 1, 1]] * 2, None, "One system has 1 rows, the other 2"),
        ([[1, 1, 1], [0, 0, 2]], [[1, 1, 1], [0, 0, 1]], None, "row 1: One system was scored against 2 gold items"),
        ([[1, 1]], [[1, 1]], None, r"counts_a: Expected shape \(rows, 3\)"),
        (np.empty((0, 3)), np.empty((0, 3)), None, "at least one row"),
        ([[0, 0, 0], [2, 1, 2]], [[0, 0, 0], [1, 1, 2]], None, r"counts_a, row 1: The counts \[2, 1, 2\]"),
        ([[1, 1, 1]], [[1, 1, 1]], ["one", "two"], "There are 2 groups but 1 rows"),
    ],
)
def test_counts_that_do_not_fit_are_refused(a, b, groups, message):
    with pytest.raises(DataError, match=message):
        paired_bootstrap(np.array(a), np.array(b), groups=groups)


@pytest.mark.parametrize("setting", [{"resamples": 0}, {"confidence": 1.0}, {"confidence": 95}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(SettingError, match=next(iter(setting))):
        paired_bootstrap(np.array([[1, 1, 1]]), np.array([[1, 1, 1]]), **setting)


def one_item_each(correct: int, posts: int = 100) -> np.ndarray:
    """One gold and one predicted item per post, the first `correct` of them right: F1 = correct / posts."""
    return np.array([[index < correct, 1, 1] for index in range(posts)], dtype=np.int64)


def test_f1_of_nothing_is_zero():
    assert f1_of(np.array([[0, 0, 0], [3, 4, 6]])).tolist() == [0.0, 0.6]


def test_the_interval_over_seeds_grows_with_their_spread():
    same = np.stack([one_item_each(70), one_item_each(70)])
    apart = np.stack([one_item_each(60), one_item_each(80)])
    drawn = [resampled_f1([rows], resamples=1000)[:, 0] for rows in (same, apart)]
    assert all(abs(values.mean() - 0.7) < 0.01 for values in drawn)
    spread = [np.ptp(np.quantile(values, [0.025, 0.975])) for values in drawn]
    assert spread[1] > 1.5 * spread[0]


def test_systems_share_the_posts_of_a_resample():
    first, same, worse = one_item_each(80), one_item_each(80), one_item_each(40)
    drawn = resampled_f1([first[None], same[None], worse[None]], resamples=500)
    assert (drawn[:, 0] == drawn[:, 1]).all() and (drawn[:, 0] >= drawn[:, 2]).all() and drawn[:, 0].std() > 0.02


def test_resampling_refuses_another_gold():
    with pytest.raises(DataError, match="one copy"):
        resampled_f1([one_item_each(70)[None], one_item_each(70, 90)[None]])

"""Is one system's micro F1 better than another's on the same test set? A paired bootstrap over posts."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from modeling_cotpd.errors import DataError, SettingError

# Resamples that are held in memory at once.
_CHUNK = 1_000


@dataclass(frozen=True)
class BootstrapResult:
    """What `paired_bootstrap` found. F1 scores and differences are fractions in [0, 1].

    Args:
        f1_a, f1_b (`float`): Micro F1 of the first and of the second system.
        difference (`float`): `f1_a - f1_b`.
        low, high (`float`): The interval of the difference.
        p_value (`float`): Two-sided, never zero.
        units (`int`): Posts (groups, or rows where no groups were given) that were resampled.
        resamples (`int`): How often.
    """

    f1_a: float
    f1_b: float
    difference: float
    low: float
    high: float
    p_value: float
    units: int
    resamples: int


def paired_bootstrap(
    counts_a: np.ndarray,
    counts_b: np.ndarray,
    *,
    groups: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> BootstrapResult:
    """Compare the micro F1 of two systems on the same rows by resampling posts with replacement.

    Each resample draws as many posts as there are, the same ones for both systems, and takes the difference of the
    two F1 scores. The interval is the percentile interval of these differences. The p-value is the share of resamples
    whose difference lies at least as far from the observed one as that lies from zero (Berg-Kirkpatrick et al., 2012,
    both sides, with one added to both counts so that it is never zero). It speaks of the choice of test posts only,
    not of the spread over training seeds.

    Args:
        counts_a, counts_b (`np.ndarray` of shape (rows, 3)): Correct, predicted and gold items of every row for the
            two systems, from `entity_row_counts` or `relation_row_counts`.
        groups (`Sequence[Hashable]`, *optional*): The post of every row. Rows of one post are drawn together; needed
            where a post has several rows, such as the pairs of MRE, which are not independent of one another.
        resamples (`int`, defaults to 10000): The p-value's own error is then below 0.005.
        confidence (`float`, defaults to 0.95): Coverage of the interval, between 0 and 1.
        seed (`int`, defaults to 0): Equal seeds give equal results.

    Raises:
        DataError: The arrays differ in shape or in their gold counts, hold impossible counts or no row, or there is
            not one group per row.
        SettingError: `resamples` or `confidence` is out of range.

    Example:
        >>> good, bad = np.array([[1, 1, 1]] * 50), np.array([[0, 1, 1]] * 50)
        >>> paired_bootstrap(good, bad).difference
        1.0
    """
    if resamples < 1:
        raise SettingError(f"resamples must be at least 1, but is {resamples}.", place="resamples")
    if not 0 < confidence < 1:
        raise SettingError(f"confidence must lie between 0 and 1, but is {confidence}.", place="confidence")
    counts_a, counts_b = np.asarray(counts_a), np.asarray(counts_b)
    _check_counts(counts_a, counts_b)
    units = np.concatenate([counts_a, counts_b[:, :2]], axis=1).astype(np.int64)
    if groups is not None:
        units = _sum_groups(units, groups)

    resampled = resampled_f1([units[None, :, [0, 1, 2]], units[None, :, [3, 4, 2]]], resamples=resamples, seed=seed)
    drawn = resampled[:, 0] - resampled[:, 1]
    totals = units.sum(axis=0)
    f1_a, f1_b = float(f1_of(totals[[0, 1, 2]])), float(f1_of(totals[[3, 4, 2]]))
    difference = f1_a - f1_b
    # The tolerance keeps ties that rounding would split, such as two equal systems.
    extreme = int((np.abs(drawn - difference) >= abs(difference) - 1e-12).sum())
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return BootstrapResult(
        f1_a=f1_a,
        f1_b=f1_b,
        difference=difference,
        low=float(low),
        high=float(high),
        p_value=(extreme + 1) / (resamples + 1),
        units=len(units),
        resamples=resamples,
    )


def resampled_f1(systems: Sequence[np.ndarray], *, resamples: int = 5_000, seed: int = 0) -> np.ndarray:
    """Resample posts with replacement, the same ones for all systems, and compute the micro F1 of each.

    A system may have several training seeds. Then its value is the mean F1 over as many seeds, also drawn with
    replacement and for each system on its own, because seeds of different systems have nothing in common.

    Args:
        systems (`Sequence[np.ndarray]` of shape (seeds, posts, 3)): Correct, predicted and gold items of every post.
            The number of seeds may differ.
        resamples (`int`, defaults to 5000): Number of resamples.
        seed (`int`, defaults to 0): Equal seeds give equal results.

    Returns:
        `np.ndarray` of shape (resamples, systems).

    Raises:
        DataError: The systems were not scored on the same posts.
    """
    gold = systems[0][0, :, 2]
    if any(counts.shape[1] != len(gold) or (counts[..., 2] != gold).any() for counts in systems):
        raise DataError("The systems were scored on different posts or another gold.", fix="Use one copy of the data.")
    units = np.concatenate([seeded for counts in systems for seeded in counts], axis=1)
    # Few posts differ in all counts, so drawing how often each distinct row of counts occurs is the same bootstrap as
    # drawing posts, and takes a small part of the time.
    patterns, frequencies = np.unique(units, axis=0, return_counts=True)
    parts = np.cumsum([len(counts) for counts in systems])[:-1]
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, len(systems)))
    for start in range(0, resamples, _CHUNK):
        stop = min(start + _CHUNK, resamples)
        times = rng.multinomial(len(units), frequencies / len(units), size=stop - start)
        totals = times.astype(float) @ patterns.astype(float)
        f1 = np.split(f1_of(totals.reshape(stop - start, -1, 3)), parts, axis=1)
        for index, scores in enumerate(f1):
            if scores.shape[1] > 1:
                scores = np.take_along_axis(scores, rng.integers(scores.shape[1], size=scores.shape), axis=1)
            means[start:stop, index] = scores.mean(axis=1)
    return means


def f1_of(totals: np.ndarray) -> np.ndarray:
    """Micro F1 from correct, predicted and gold items in the last dimension; 0 where there are none."""
    return 2 * totals[..., 0] / np.maximum(totals[..., 1] + totals[..., 2], 1)


def _check_counts(counts_a: np.ndarray, counts_b: np.ndarray) -> None:
    for name, counts in (("counts_a", counts_a), ("counts_b", counts_b)):
        if counts.ndim != 2 or counts.shape[1] != 3 or not len(counts):
            raise DataError(f"Expected shape (rows, 3) with at least one row, but got {counts.shape}.", place=name)
        correct, predicted, gold = counts.T
        wrong = np.flatnonzero((correct < 0) | (correct > predicted) | (correct > gold))
        if wrong.size:
            raise DataError(
                f"The counts {counts[wrong[0]].tolist()} are impossible.",
                place=f"{name}, row {wrong[0]}",
                fix="The columns are correct, predicted and gold items, in this order.",
            )
    if len(counts_a) != len(counts_b):
        raise DataError(
            f"One system has {len(counts_a)} rows, the other {len(counts_b)}.",
            fix="Compare predictions for the same rows in the same order.",
        )
    differs = np.flatnonzero(counts_a[:, 2] != counts_b[:, 2])
    if differs.size:
        row = differs[0]
        raise DataError(
            f"One system was scored against {counts_a[row, 2]} gold items, the other against {counts_b[row, 2]}.",
            place=f"row {row}",
            fix="Compare systems on the same copy of the test set, in the same order and under the same reading.",
        )


def _sum_groups(units: np.ndarray, groups: Sequence[Hashable]) -> np.ndarray:
    """The counts of every group, in the order in which the groups first occur."""
    if len(groups) != len(units):
        raise DataError(f"There are {len(groups)} groups but {len(units)} rows.", fix="Name the post of every row.")
    number: dict[Hashable, int] = {}
    index = np.array([number.setdefault(group, len(number)) for group in groups])
    sums = np.zeros((len(number), units.shape[1]), dtype=units.dtype)
    np.add.at(sums, index, units)
    return sums

"""Means over seeds, differences to a baseline, and retention, each with an interval.

Legend: S seeds of a row, P posts. Counts of one row of a table are an array of shape (S, P, 3): correct, predicted
and gold items per post.
"""

from dataclasses import dataclass

import numpy as np

from modeling_cotpd.errors import DataError
from modeling_cotpd.metrics.significance import BootstrapResult, paired_bootstrap

RESAMPLES, CONFIDENCE = 5_000, 0.95
_CHUNK = 500


@dataclass(frozen=True)
class Retention:
    """How much of what knowledge gives at test time the text-only view keeps.

    Args:
        value (`float`): R = (F1 prompt view - F1 [x; I]) / (F1 with knowledge at test time - F1 [x; I]), from means
            over seeds.
        low, high (`float`): Percentile interval over posts and seeds; infinite where it is not bounded.
        gap (`float`): The denominator.
        gap_above_zero (`float`): Share of resamples in which the denominator is positive. R says nothing where that
            is well below 1.
    """

    value: float
    low: float
    high: float
    gap: float
    gap_above_zero: float


def f1_of(totals: np.ndarray) -> np.ndarray:
    """Micro F1 from totals of shape (..., 3)."""
    return 2 * totals[..., 0] / np.maximum(totals[..., 1] + totals[..., 2], 1)


def sum_posts(counts: np.ndarray, posts: np.ndarray) -> np.ndarray:
    """Add the counts of rows that belong to one post.

    Args:
        counts (`np.ndarray` of shape `(rows, 3)`): Counts per row.
        posts (`np.ndarray` of shape `(rows,)`): The post of every row, numbered from 0.

    Returns:
        `np.ndarray` of shape `(P, 3)`.
    """
    sums = np.zeros((int(posts.max()) + 1, 3), dtype=np.int64)
    np.add.at(sums, posts, counts)
    return sums


def mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; no deviation of a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def difference(row: dict[int, np.ndarray], baseline: dict[int, np.ndarray]) -> tuple[BootstrapResult, int] | None:
    """Difference of two rows of a table over the seeds that both have, with an interval over posts.

    The counts of a post are added up over the seeds, so that a resample draws a post with all its predictions: the
    interval is that of the pooled F1 under another choice of test posts, for these trained models. How far seeds are
    apart is told by their standard deviation beside it.

    Args:
        row, baseline (`dict[int, np.ndarray]`): Counts of shape (P, 3) per seed.

    Returns:
        The result and the number of seeds, or `None` where they have no seed in common.
    """
    seeds = sorted(row.keys() & baseline.keys())
    if not seeds:
        return None
    pooled = [np.sum([counts[seed] for seed in seeds], axis=0) for counts in (row, baseline)]
    return paired_bootstrap(pooled[0], pooled[1], resamples=RESAMPLES, confidence=CONFIDENCE), len(seeds)


def resampled_means(rows: list[np.ndarray], resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Mean F1 over seeds of several rows, under resampling of posts and seeds.

    A resample draws P posts with replacement, the same for all rows, and for every row S of its seeds with
    replacement, each row on its own since seeds of different rows have nothing in common.

    Args:
        rows (`list[np.ndarray]` of shape `(S, P, 3)`): Counts; S may differ from row to row.

    Returns:
        `np.ndarray` of shape `(resamples, len(rows))`.

    Raises:
        DataError: The rows were not scored on the same posts.
    """
    posts = rows[0].shape[1]
    for counts in rows:
        if counts.shape[1] != posts or (counts[..., 2] != rows[0][:1, :, 2]).any():
            raise DataError(
                "The rows were scored on different posts or another gold.", fix="Use one copy of the data."
            )
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, len(rows)))
    flat = [np.ascontiguousarray(counts.transpose(1, 0, 2)).reshape(posts, -1).astype(float) for counts in rows]
    for start in range(0, resamples, _CHUNK):
        stop = min(start + _CHUNK, resamples)
        weights = rng.multinomial(posts, np.full(posts, 1 / posts), size=stop - start).astype(float)
        for index, (counts, table) in enumerate(zip(rows, flat, strict=True)):
            scores = f1_of((weights @ table).reshape(stop - start, len(counts), 3))
            drawn = rng.integers(len(counts), size=scores.shape)
            means[start:stop, index] = np.take_along_axis(scores, drawn, 1).mean(1)
    return means


def interval(samples: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Percentile interval."""
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def retention(prompt: np.ndarray, caption: np.ndarray, knowledge: np.ndarray) -> Retention:
    """R of a text-only row, with an interval over posts and seeds.

    Args:
        prompt (`np.ndarray` of shape `(S, P, 3)`): Counts of the prompt view.
        caption (`np.ndarray` of shape `(S, P, 3)`): Counts of [x; I].
        knowledge (`np.ndarray` of shape `(S, P, 3)`): Counts with knowledge at test time.

    Returns:
        `Retention`. Resamples whose denominator is not positive have no R; where they are more than the interval
        leaves out on one side, the interval is unbounded.
    """
    rows = [prompt, caption, knowledge]
    f1 = [float(f1_of(counts.sum(1)).mean()) for counts in rows]
    gap = f1[2] - f1[1]
    drawn = resampled_means(rows)
    gaps = drawn[:, 2] - drawn[:, 1]
    above = gaps > 0
    share = float(above.mean())
    low, high = -np.inf, np.inf
    if share >= (1 + CONFIDENCE) / 2:
        low, high = interval((drawn[above, 0] - drawn[above, 1]) / gaps[above])
    value = (f1[0] - f1[1]) / gap if gap else float("nan")
    return Retention(value, low, high, gap, share)

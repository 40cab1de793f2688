"""Means over seeds, differences and retention, each with an interval.

Legend: S seeds of a row, P posts. Counts of a row are an array of shape (S, P, 3): correct, predicted and gold items.
"""

from dataclasses import dataclass

import numpy as np

from modeling_cotpd.metrics.significance import BootstrapResult, f1_of, paired_bootstrap, resampled_f1

RESAMPLES, CONFIDENCE = 5_000, 0.95


@dataclass(frozen=True)
class Retention:
    """The share of the gain by knowledge at test time that the text-only view keeps.

    Args:
        value (`float`): R = (F1 text-only view - F1 without) / (F1 with knowledge - F1 without).
        low, high (`float`): Percentile interval over posts and seeds; infinite where it is not bounded.
    """

    value: float
    low: float
    high: float


def mean_and_deviation(values: list[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; no deviation of a single value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def difference(row: dict[int, np.ndarray], baseline: dict[int, np.ndarray]) -> tuple[BootstrapResult, int] | None:
    """Difference of two rows of a table over the seeds that both have, with an interval over posts.

    The counts of a post are added up over the seeds, so a resample draws a post with all its predictions: the interval
    is that of the pooled F1 under another choice of test posts, for these trained models.

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


def interval(samples: np.ndarray) -> tuple[float, float]:
    """Percentile interval."""
    low, high = np.quantile(samples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def retention(prompt: np.ndarray, without: np.ndarray, knowledge: np.ndarray) -> Retention:
    """R of a text-only row, with an interval over posts and seeds.

    Args:
        prompt (`np.ndarray` of shape `(S, P, 3)`): Counts of the prompt view.
        without (`np.ndarray` of shape `(S, P, 3)`): Counts of the row without knowledge: [x; I], or text only.
        knowledge (`np.ndarray` of shape `(S, P, 3)`): Counts with knowledge at test time.

    Returns:
        `Retention`. A resample whose denominator is not positive has no R; where these are more than the interval
        leaves out on one side, the interval is unbounded.
    """
    rows = [prompt, without, knowledge]
    f1 = [float(f1_of(counts.sum(1)).mean()) for counts in rows]
    drawn = resampled_f1(rows, resamples=RESAMPLES)
    gaps = drawn[:, 2] - drawn[:, 1]
    above = gaps > 0
    low, high = -np.inf, np.inf
    if above.mean() >= (1 + CONFIDENCE) / 2:
        low, high = interval((drawn[above, 0] - drawn[above, 1]) / gaps[above])
    gap = f1[2] - f1[1]
    return Retention((f1[0] - f1[1]) / gap if gap else float("nan"), low, high)

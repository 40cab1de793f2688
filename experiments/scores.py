"""The cells of a sweep's tables, looked up in saved runs: means over seeds, differences, retention, with intervals.

Legend: S seeds of a row, P posts. Counts of a row are an array of shape (S, P, 3): correct, predicted and gold items.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from experiments.plan import Plan
from experiments.store import ALL_NAMES, PLACES, by_post, per_row
from experiments.sweep import Row
from modeling_cotpd.errors import DataError
from modeling_cotpd.metrics.significance import BootstrapResult, f1_of, paired_bootstrap, resampled_f1

RESAMPLES, CONFIDENCE = 5_000, 0.95
Score = tuple[float, float | None]


class Retention(NamedTuple):
    """R, the share of the gain by knowledge that the text-only view keeps, and its interval, infinite if unbounded."""

    value: float
    low: float
    high: float


@dataclass
class Cell:
    """A row of a table in one column: its finished seeds."""

    row: Row
    counts: dict[int, np.ndarray] = field(default_factory=dict)  # per seed those of every test post, (P, 3)
    runs: pd.DataFrame = field(default_factory=pd.DataFrame)  # a line per seed x split, of the row's view
    unsure: dict[int, np.ndarray] = field(default_factory=dict)  # per seed and test post; NaN where it is not saved
    places: dict[str, np.ndarray] = field(default_factory=dict)  # per key of PLACES the counts of every seed, (S, 3)

    @property
    def stacked(self) -> np.ndarray:
        """Counts of all seeds, `(S, P, 3)`."""
        return np.stack([self.counts[seed] for seed in sorted(self.counts)])

    @property
    def seeds(self) -> list[float]:
        """Test F1 of every seed."""
        return [float(f1_of(self.counts[seed].sum(0))) for seed in sorted(self.counts)]

    def score(self, name: str = "f1", split: str = "test") -> Score | None:
        """Mean and deviation of a score over seeds, `None` where there is none."""
        if (name, split) == ("f1", "test"):
            return mean_and_deviation(self.seeds)
        return mean_and_deviation(self.runs.loc[self.runs["split"] == split, name].dropna() if len(self.runs) else [])

    def place_score(self, place: str) -> Score | None:
        """Mean and deviation of the F1 of names that occur in one place."""
        return mean_and_deviation(f1_of(self.places[place]) if place in self.places else [])

    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean F1 over posts and seeds."""
        return interval(resampled_f1([self.stacked], resamples=2_000)[:, 0])

    def difference(self, baseline: "Cell") -> tuple[BootstrapResult, int] | None:
        """Difference to another cell of the same column over the seeds that both have, with an interval over posts.

        The counts of a post are added up over the seeds, so a resample draws a post with all its predictions: the
        interval is that of the pooled F1 under another choice of test posts, for these trained models.

        Returns:
            The result and the number of seeds, or `None` where they have no seed in common.
        """
        seeds = sorted(self.counts.keys() & baseline.counts.keys())
        if not seeds:
            return None
        pooled = [np.sum([cell.counts[seed] for seed in seeds], axis=0) for cell in (self, baseline)]
        return paired_bootstrap(pooled[0], pooled[1], resamples=RESAMPLES, confidence=CONFIDENCE), len(seeds)

    def retention(self, without: "Cell", knowledge: "Cell") -> Retention | None:
        """R = (F1 text-only view - F1 without) / (F1 with knowledge - F1 without), where all three have runs.

        A resample whose denominator is not positive has no R; where these are more than the interval leaves out on one
        side, the interval is unbounded.
        """
        cells = (self, without, knowledge)
        if not all(cell.counts for cell in cells):
            return None
        f1 = [float(np.mean(cell.seeds)) for cell in cells]
        drawn = resampled_f1([cell.stacked for cell in cells], resamples=RESAMPLES)
        gaps = drawn[:, 2] - drawn[:, 1]
        above = gaps > 0
        low, high = -np.inf, np.inf
        if above.mean() >= (1 + CONFIDENCE) / 2:
            low, high = interval((drawn[above, 0] - drawn[above, 1]) / gaps[above])
        gap = f1[2] - f1[1]
        return Retention((f1[0] - f1[1]) / gap if gap else float("nan"), low, high)


def mean_and_deviation(values: Any) -> Score | None:
    """Mean and sample standard deviation; no deviation of a single value, nothing of none."""
    values = np.asarray(values, dtype=float)
    if not len(values):
        return None
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def interval(samples: np.ndarray) -> tuple[float, float]:
    """Percentile interval."""
    low, high = np.quantile(samples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


class Scores:
    """All cells of a sweep, from saved runs of its reading alone; a run is found by its declaration."""

    def __init__(self, plan: Plan, runs: pd.DataFrame, counts: pd.DataFrame):
        self.plan, self.runs = plan, runs
        self._cells: dict[tuple[str, str, str], Cell] = {}
        self._counts = {
            (line.run, line.reading, line.view, line.names): line for line in counts.itertuples(index=False)
        }

    def cell(self, column: str, encoder: str, name: str) -> Cell:
        """One cell; without finished runs it is empty.

        Raises:
            DataError: A run lacks the view that the row reports, or seeds were run on different copies of the data.
        """
        key, row = (column, encoder, name), self.plan.sweep.row(name)
        if key not in self._cells:
            self._cells[key] = self._mixed(*key) if row.mix else self._read(*key) if row.view else Cell(row)
        return self._cells[key]

    def finished(self, column: str, encoder: str) -> list[Cell]:
        """The cells of a column that have runs, in the order of the rows."""
        cells = [self.cell(column, encoder, row.name) for row in self.plan.sweep.rows_of(column)]
        return [cell for cell in cells if cell.counts]

    def _read(self, column: str, encoder: str, name: str) -> Cell:
        sweep, row = self.plan.sweep, self.plan.sweep.row(name)
        declared = {self.plan.cell(column, encoder, name, seed).declared for seed in sweep.seeds}
        if not len(self.runs):
            return Cell(row)
        lines = self.runs[self.runs["declared"].isin(declared) & (self.runs["reading"] == sweep.reading)]
        seen = lines[lines["view"] == row.view]
        tested = seen[seen["split"] == "test"]
        if len(lines) and not len(seen):
            place = f"{sweep.name}, {column}"
            raise DataError(f"No run of {name!r} has its {row.view} view.", place=place, fix="See eval_views.")
        if tested["gold_hash"].nunique() > 1:
            raise DataError("The seeds were scored on different copies of the data.", place=f"{column} | {name}")
        keys = {int(line.seed): (line.run, sweep.reading, row.view) for line in tested.itertuples(index=False)}
        whole = {seed: self._counts[*key, ALL_NAMES] for seed, key in keys.items()}
        places = {}
        for place in PLACES:
            lines = [self._counts.get((*keys[seed], place)) for seed in sorted(keys)]
            if lines and all(line is not None for line in lines):
                places[place] = np.stack([per_row(line).sum(0) for line in lines])
        counts = {seed: by_post(line) for seed, line in whole.items()}
        return Cell(row, counts, seen, {seed: _unsure(line) for seed, line in whole.items()}, places)

    def _mixed(self, column: str, encoder: str, name: str) -> Cell:
        """The knowledge row's predictions for a share of the posts, and the text row's for the rest."""
        row = self.plan.sweep.row(name)
        text, knowledge = (self.cell(column, encoder, row.mix[key]) for key in ("text", "knowledge"))
        counts = {}
        for seed in sorted(text.counts.keys() & knowledge.counts.keys()):
            one, other = text.counts[seed], knowledge.counts[seed]
            errors = one[:, 1:].sum(1) - 2 * one[:, 0] - (other[:, 1:].sum(1) - 2 * other[:, 0])
            orders = {
                "oracle": errors,
                "random": np.random.default_rng(seed).random(len(one)),
                "uncertainty": text.unsure[seed],
            }
            rank, asked = orders[row.mix["by"]], round(row.mix["share"] * len(one))
            if np.isnan(rank).any() and 0 < asked < len(one):
                continue
            counts[seed] = one.copy()
            first = np.argsort(-rank, kind="stable")[:asked]
            counts[seed][first] = other[first]
        return Cell(row, counts)


def _unsure(line: Any) -> np.ndarray:
    """Uncertainty per post, the largest of its rows; NaN where it is not saved."""
    posts = np.asarray(line.post)
    if line.uncertainty is None:
        return np.full(int(posts.max()) + 1, np.nan)
    unsure = np.full(int(posts.max()) + 1, -np.inf)
    with np.errstate(invalid="ignore"):
        np.maximum.at(unsure, posts, np.asarray(line.uncertainty, dtype=float))
    return unsure

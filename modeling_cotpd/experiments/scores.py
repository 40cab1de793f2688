"""The cells of a sweep's table, looked up in saved runs."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from modeling_cotpd.errors import DataError
from modeling_cotpd.experiments.collect import ALL_NAMES, COUNTS
from modeling_cotpd.experiments.exposure import PLACES
from modeling_cotpd.experiments.plan import Plan
from modeling_cotpd.experiments.statistics import (
    Retention,
    difference,
    interval,
    mean_and_deviation,
    resampled_means,
    retention,
    sum_posts,
)
from modeling_cotpd.experiments.sweep import Row
from modeling_cotpd.metrics.significance import BootstrapResult


@dataclass
class Cell:
    """A row of a table in one column: its finished seeds.

    Args:
        row (`Row`): The row.
        runs (`pd.DataFrame`): A line per seed, of the row's view on the test split.
        validation (`pd.DataFrame`): The same on the validation split; empty for models evaluated elsewhere.
        counts (`dict[int, np.ndarray]`): Per seed the counts of every test post, `(P, 3)`, under the sweep's reading.
        reading (`str`): `"lenient"` or `"strict"`.
        places (`dict[str, np.ndarray]`): Per key of `exposure.PLACES` the counts of every seed, `(S, 3)`, of the names
            that stand there in training; empty where that is not saved.
    """

    row: Row
    runs: pd.DataFrame
    validation: pd.DataFrame
    counts: dict[int, np.ndarray]
    reading: str
    places: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        """The finished seeds."""
        return sorted(self.counts)

    def score(self, name: str, split: str = "test") -> tuple[float, float | None] | None:
        """Mean and deviation of a score over seeds, `None` where there is none."""
        frame = self.runs if split == "test" else self.validation
        if not len(frame):
            return None
        values = frame[self.score_name(name)].dropna().tolist()
        return mean_and_deviation(values) if values else None

    def place_score(self, place: str) -> tuple[float, float | None]:
        """Mean and deviation over seeds of the F1 of names that stand in one place."""
        correct, predicted, gold = self.places[place].T
        return mean_and_deviation((2 * correct / np.maximum(predicted + gold, 1)).tolist())

    def score_name(self, name: str) -> str:
        """The column of the headline reading."""
        return f"strict_{name}" if self.reading == "strict" and name in ("precision", "recall", "f1") else name

    @cached_property
    def stacked(self) -> np.ndarray:
        """Counts of all seeds, `(S, P, 3)`."""
        return np.stack([self.counts[seed] for seed in self.seeds])

    def interval(self) -> tuple[float, float]:
        """95 % interval of the mean F1 over posts and seeds."""
        return interval(resampled_means([self.stacked], 2_000)[:, 0])

    def difference(self, baseline: "Cell") -> tuple[BootstrapResult, int] | None:
        """Paired difference to another cell of the same column."""
        return difference(self.counts, baseline.counts) if self.counts and baseline.counts else None

    def retention(self, caption: "Cell", knowledge: "Cell") -> Retention | None:
        """R of this cell, where all three are there."""
        if not (self.counts and caption.counts and knowledge.counts):
            return None
        return retention(self.stacked, caption.stacked, knowledge.stacked)


class Scores:
    """All cells of a sweep.

    Args:
        plan (`Plan`): The sweep's plan; runs are found by what it declares.
        runs, counts (`pd.DataFrame`): Saved runs (`collect.read_store`).
    """

    def __init__(self, plan: Plan, runs: pd.DataFrame, counts: pd.DataFrame):
        self.plan, self.runs = plan, runs
        self._counts = {
            (line.run, line.split, line.view, line.reading, line.names): line
            for line in counts.itertuples(index=False)
        }

    def cell(self, column: str, encoder: str, row: str) -> Cell:
        """One cell; without finished runs it is empty.

        Raises:
            DataError: A run has not the view that the row reports, or seeds were run on different copies of the data.
        """
        sweep = self.plan.sweep
        method = sweep.row(row)
        declared = [self.plan.cell(column, encoder, row, seed).declared for seed in sweep.seeds]
        lines = self.runs[self.runs["declared"].isin(declared)] if len(self.runs) else self.runs
        reading = sweep.reading if sweep.columns[column].task == "mner" else "lenient"
        if not len(lines):
            return Cell(method, lines, lines, {}, reading)
        seen = lines[lines["view"] == method.view]
        if not len(seen):
            raise DataError(
                f"No run of {row!r} has its {method.view} view.",
                place=f"{sweep.name}, {column}",
                fix="See eval_views.",
            )
        test = seen[seen["split"] == "test"].sort_values("seed")
        if test["gold_hash"].nunique() > 1:
            raise DataError("The seeds were scored on different copies of the data.", place=f"{column} | {row}")
        counts = {}
        for line in test.itertuples(index=False):
            found = self._counts[(line.run, "test", method.view, reading, ALL_NAMES)]
            counts[int(line.seed)] = sum_posts(_per_row(found), np.asarray(found.post))
        places = {
            place: np.stack([_per_row(self._counts[key]).sum(0) for key in keys])
            for place in PLACES
            if (keys := [(run, "test", method.view, reading, place) for run in test["run"]])
            and all(key in self._counts for key in keys)
        }
        return Cell(method, test, seen[seen["split"] == "validation"], counts, reading, places)


def _per_row(line) -> np.ndarray:
    """The three counts of every row, `(rows, 3)`, of a saved line."""
    return np.stack([np.asarray(getattr(line, name)) for name in COUNTS], axis=1)

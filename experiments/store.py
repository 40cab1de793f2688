"""From finished runs to one tidy table, and to the counts per post that intervals are computed from.

Neither file holds any text of the data, so both can be published beside the tables made from them.
"""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset

from experiments.plan import Plan, Run, with_effect
from experiments.runner import OUTPUT, RESULTS_FILE, SPEC_FILE, is_finished, read_json
from experiments.sweep import SUBWORDS, WORDS
from modeling_cotpd.data.prepared import sample_rows
from modeling_cotpd.errors import DataError
from modeling_cotpd.files import atomic_write
from modeling_cotpd.metrics.entity_score.entity_score import entities_of, entity_row_counts, entity_scores
from modeling_cotpd.metrics.relation_score.relation_score import relation_row_counts, relation_scores

RUNS_FILE, COUNTS_FILE = "runs.parquet", "counts.parquet"
SCORES = ("precision", "recall", "f1", "strict_precision", "strict_recall", "strict_f1", "accuracy", "macro_f1")
COUNTS = ("correct", "predicted", "gold")
ALL_NAMES = "all"
PLACES = {"labelled": "in a labelled post", "others": "only in other training posts", "new": "in no training post"}
"""Where a name can occur, and the heading in a table."""


def collect(plan: Plan, folders: Mapping[str, Path], root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read every finished run of a plan whose data are there.

    Returns:
        `tuple[pd.DataFrame, pd.DataFrame]`: Runs, a row per run x split x view; and counts of the test split, a row
        per run x view x names (all, and for MNER those in each of `PLACES`), with a list entry per test row.
    """
    runs: list[dict] = []
    counts: list[dict] = []
    for run in plan.runs:
        if all(name in folders for name in plan.data_of(run)):
            folder = plan.folder(run, folders, root)
            if is_finished(folder):
                facts, found = read_run(folder, run, folders[run.data])
                runs += facts
                counts += found
    return pd.DataFrame(runs), pd.DataFrame(counts)


def read_run(folder: Path, run: Run, data: Path) -> tuple[list[dict], list[dict]]:
    """Tidy rows and counts of one finished run, which read the prepared folder `data`."""
    spec, results = read_json(folder / SPEC_FILE), read_json(folder / OUTPUT / RESULTS_FILE)
    dataset = results.get("dataset") or read_json(data / "dataset.json")
    settings = with_effect({name: _portable(value) for name, value in results.get("settings", run.settings).items()})
    labelled = settings.get("max_labelled_samples") or settings.get("max_train_samples")
    full = dataset["splits"].get("train", {}).get("rows", 0)
    labelled_rows = min(labelled or full, full)
    train_rows = results.get("train_rows", labelled_rows)
    about = {
        "declared": run.declared,
        "reading": results.get("reading", SUBWORDS if results else WORDS),
        **{name: spec[name] for name in ("run", "column", "encoder", "row")},
        "seed": run.seed,
        "task": run.task,
        "dataset": dataset["name"],
        "captioner": dataset["captioner"],
        "knowledge": dataset["knowledge"],
        "train_rows": train_rows,
        "labelled_rows": labelled_rows if train_rows else 0,
        "seconds": spec.get("seconds", float("nan")),
        "git_commit": results.get("git_commit"),
        "machine": results.get("machine", ""),
        "versions": json.dumps(results.get("versions", {}), sort_keys=True),
        "settings": json.dumps(settings, sort_keys=True),
    }
    is_mner, runs, counts = run.task == "mner", [], []
    for path in sorted((folder / OUTPUT).glob("predictions.*.jsonl")):
        split, rows = path.name.split(".")[1], read_predictions(path)
        gold = [row["gold"] for row in rows]
        for view in [view for view in ("prompt", "knowledge") if rows and view in rows[0]]:
            predicted = [row[view] for row in rows]
            scores = (entity_scores if is_mner else relation_scores)(predicted, gold)
            recorded = results.get("splits", {}).get(split, {}).get(view, scores)
            if abs(scores["f1"] - recorded["f1"]) > 1e-9:
                found = f"The saved predictions of the {view} view on {split} give F1 {scores['f1']:.6f}"
                message = f"{found}, results.json says {recorded['f1']:.6f}."
                raise DataError(message, place=str(folder), fix="Remove the folder to run it again.")
            kept = {name: scores.get(name, float("nan")) for name in SCORES}
            gold_hash = dataset["splits"][split]["gold_hash"]
            runs.append({**about, "split": split, "view": view, "gold_hash": gold_hash, "rows": len(rows), **kept})
            if split != "test":
                continue
            divided = {ALL_NAMES: (entity_row_counts if is_mner else relation_row_counts)(predicted, gold)}
            if is_mner and train_rows:
                divided |= read_exposure(data, labelled, settings.get("sample_seed", 0)).counts(rows, view)
            for names, part in divided.items():
                line = {"run": spec["run"], "reading": about["reading"], "view": view, "names": names}
                line |= {name: part[:, index].tolist() for index, name in enumerate(COUNTS)}
                if names == ALL_NAMES:
                    unsure = [row.get("uncertainty", {}).get(view, float("nan")) for row in rows]
                    line |= {"post": post_numbers(rows), "uncertainty": unsure}
                counts.append(line)
    return runs, counts


def _portable(value: Any) -> Any:
    """A setting without folders of this machine: of a path its name, of another run's model that run's name."""
    if isinstance(value, list):
        return [_portable(each) for each in value]
    if not isinstance(value, str) or not Path(value).is_absolute():
        return value
    path = Path(value)
    return path.parent.name if path.name == OUTPUT else path.name


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """The labelled rows of a predictions file."""
    with path.open(encoding="utf-8") as file:
        return [row for row in map(json.loads, file) if row["gold"] is not None]


def post_numbers(rows: Iterable[dict[str, Any]]) -> list[int]:
    """A number per row, equal for rows of the same post, because the pairs of one post are not independent."""
    numbers: dict[tuple, int] = {}
    return [numbers.setdefault(tuple(row["tokens"]), len(numbers)) for row in rows]


def write_store(folder: Path, runs: pd.DataFrame, counts: pd.DataFrame) -> None:
    """Add the frames of `collect` to a folder; they replace earlier runs of the same declaration and reading."""
    if not len(runs):
        return
    if (folder / RUNS_FILE).is_file():
        old_runs, old_counts = read_store(folder)
        old_runs = old_runs[~_keys(old_runs, "declared").isin(_keys(runs, "declared"))]
        stays = _keys(old_counts).isin(_keys(old_runs)) & ~_keys(old_counts).isin(_keys(counts))
        frames = ((old_runs, runs), (old_counts[stays], counts))
        runs, counts = (pd.concat([one for one in pair if len(one)], ignore_index=True) for pair in frames)
    runs = runs.sort_values(["declared", "reading", "split", "view"], ignore_index=True)
    counts = counts.sort_values(["run", "reading", "view", "names"], ignore_index=True)
    for frame, name in ((runs, RUNS_FILE), (counts, COUNTS_FILE)):
        with atomic_write(folder / name, "wb") as file:
            frame.to_parquet(file, index=False, compression="zstd")


def _keys(frame: pd.DataFrame, name: str = "run") -> pd.Series:
    return frame[name] + " " + frame["reading"]


def read_store(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the two files back.

    Raises:
        DataError: They are not there.
    """
    for name in (RUNS_FILE, COUNTS_FILE):
        if not (folder / name).is_file():
            fix = "Make it with: python -m experiments SWEEP --tables --save DIR"
            raise DataError(f"There is no {name} here.", place=str(folder), fix=fix)
    return pd.read_parquet(folder / RUNS_FILE), pd.read_parquet(folder / COUNTS_FILE)


def by_post(line: Any) -> np.ndarray:
    """Counts of a saved line as (posts, 3); rows of one post are added up."""
    posts = np.asarray(line.post)
    sums = np.zeros((int(posts.max()) + 1, 3), dtype=np.int64)
    np.add.at(sums, posts, per_row(line))
    return sums


def per_row(line: Any) -> np.ndarray:
    """Counts of a saved line as (rows, 3)."""
    return np.stack([np.asarray(getattr(line, name)) for name in COUNTS], axis=1)


class Exposure:
    """Looks names up in the words of training posts, in any case and whether they are an entity there or not.

    The posts are those trained on with their labels, and the data set's others, used or not.

    Example:
        >>> exposure = Exposure([["Ada", "sings"]], [["at", "Lindmere", "Hall"]])
        >>> [exposure.place(name) for name in (["ADA"], ["Lindmere", "Hall"], ["Lindmere", "sings"])]
        ['labelled', 'others', 'new']
    """

    def __init__(self, labelled: Iterable[Sequence[str]], others: Iterable[Sequence[str]]):
        self._texts = {"labelled": _searchable(labelled), "others": _searchable(others)}

    def place(self, name: Sequence[str]) -> str:
        """The key of `PLACES` for a name, given as its tokens."""
        words = _searchable([name])
        return next((place for place, text in self._texts.items() if words in text), "new")

    def counts(self, rows: Sequence[dict[str, Any]], view: str) -> dict[str, np.ndarray]:
        """Correct, predicted and gold entities of every line of a predictions file, `(rows, 3)`, per place."""
        counts = {place: np.zeros((len(rows), 3), dtype=np.int64) for place in PLACES}
        for index, row in enumerate(rows):
            predicted, gold = entities_of(row[view]), entities_of(row["gold"])
            for column, entities in enumerate((predicted & gold, predicted, gold)):
                for _, first, last in entities:
                    counts[self.place(row["tokens"][first : last + 1])][index, column] += 1
        return counts


def _searchable(posts: Iterable[Sequence[str]]) -> str:
    """Lower-case words with a space on either side of each, and a line break between posts."""
    return "\n".join(f" {' '.join(tokens)} " for tokens in posts).lower()


@functools.cache
def read_exposure(folder: Path, labelled: int | None, sample_seed: int) -> Exposure:
    """Divide the training posts of a prepared MNER folder as a run with so many labels does (`None`: all)."""
    train = Dataset.from_parquet(str(folder / "train.parquet")).select_columns(["tokens", "ner_tags"])
    size = min(labelled or len(train), len(train))
    if size < len(train):
        train = sample_rows(train, len(train), sample_seed)
    posts: dict[bool, list[Sequence[str]]] = {True: [], False: []}
    for index, row in enumerate(train):
        posts[index < size and row["ner_tags"] is not None].append(row["tokens"])
    return Exposure(posts[True], posts[False])

"""From finished runs to one tidy table, and to the counts per post that intervals are computed from.

Neither file holds any text of the data, so both can be published beside the tables made from them.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from modeling_cotpd.errors import DataError
from modeling_cotpd.experiments.exposure import read_exposure
from modeling_cotpd.experiments.identity import with_effect
from modeling_cotpd.experiments.launch import OUTPUT, is_finished, read_spec
from modeling_cotpd.experiments.plan import Plan
from modeling_cotpd.metrics.entity_score.entity_score import entity_row_counts
from modeling_cotpd.metrics.relation_score.relation_score import relation_row_counts
from modeling_cotpd.training.results import RESULTS_FILE

RUNS_FILE, COUNTS_FILE = "runs.parquet", "counts.parquet"
SCORES = ("precision", "recall", "f1", "strict_precision", "strict_recall", "strict_f1", "accuracy", "macro_f1")
COUNTS = ("correct", "predicted", "gold")
ALL_NAMES = "all"


def collect(plan: Plan, folders: Mapping[str, Path], root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read every finished run of a plan.

    Args:
        plan (`Plan`): The plan.
        folders (`Mapping[str, Path]`): Prepared folders that are there.
        root (`Path`): Where its runs are.

    Returns:
        `tuple[pd.DataFrame, pd.DataFrame]`: Runs, a row per run x split x view; and counts, a row per run x split x
        view x reading x names (all, and on MNER test splits those that stand in one of `exposure.PLACES`), with one
        list entry per test row.

    Raises:
        DataError: A run's saved predictions do not give the scores in its `results.json`.
    """
    runs: list[dict] = []
    counts: list[dict] = []
    for run in plan.runs:
        if any(name not in folders for name in plan.data_of(run)):
            continue
        folder = plan.folder(run, folders, root)
        if is_finished(folder):
            facts, found = read_run(folder, run.declared, folders[run.data])
            runs += facts
            counts += found
    return pd.DataFrame(runs), pd.DataFrame(counts)


def read_run(folder: Path, declared: str, data: Path) -> tuple[list[dict], list[dict]]:
    """Tidy rows and counts of one finished run.

    Args:
        folder (`Path`): The run's.
        declared (`str`): What the sweep declares it as.
        data (`Path`): The prepared folder that it read.
    """
    results = json.loads((folder / OUTPUT / RESULTS_FILE).read_text("utf-8"))
    spec = read_spec(folder)
    settings = {name: _portable(value) for name, value in with_effect(results["settings"]).items()}
    about = {
        "declared": declared,
        "run": spec["run"],
        "column": spec["column"],
        "encoder": spec["encoder"],
        "row": spec["row"],
        "seed": results["seed"],
        "task": results["task"],
        "dataset": results["dataset"]["name"],
        "captioner": results["dataset"]["captioner"],
        "knowledge": results["dataset"]["knowledge"],
        "knowledge_columns": " ".join(results["knowledge_columns"]),
        "prompt_type": settings["prompt_type"],
        "learning_rate": float(settings["learning_rate"]),
        "train_rows": results["train_rows"],
        "labelled_rows": settings.get("max_labelled_samples") or results["train_rows"],
        "seconds": spec.get("seconds", float("nan")),
        "git_commit": results["git_commit"],
        "machine": results["machine"],
        "versions": json.dumps(results["versions"], sort_keys=True),
        "settings": json.dumps(
            {name: _portable(value) for name, value in with_effect(settings).items()}, sort_keys=True
        ),
    }
    runs, counts = [], []
    for split, views in results["splits"].items():
        rows = read_predictions(folder / OUTPUT / f"predictions.{split}.jsonl")
        posts = post_numbers(rows)
        gold_hash = results["dataset"]["splits"][split]["gold_hash"]
        for view, scores in views.items():
            kept = {name: scores.get(name, float("nan")) for name in SCORES}
            runs.append({**about, "split": split, "view": view, "gold_hash": gold_hash, "rows": len(rows), **kept})
            for reading, per_row in row_counts(rows, view, results["task"]).items():
                _compare(per_row, scores["strict_f1" if reading == "strict" else "f1"], folder, split, view)
                divided = {ALL_NAMES: per_row}
                if split == "test" and results["task"] == "mner" and results["train_rows"]:
                    labelled = settings.get("max_labelled_samples") or settings.get("max_train_samples")
                    exposure = read_exposure(data, labelled, settings["sample_seed"])
                    divided |= exposure.counts(rows, view, reading == "strict")
                place = {"run": spec["run"], "split": split, "view": view, "reading": reading, "post": posts}
                for names, part in divided.items():
                    columns = {name: part[:, index].tolist() for index, name in enumerate(COUNTS)}
                    counts.append({**place, "names": names, **columns})
    return runs, counts


def _portable(value: Any) -> Any:
    """A setting as another machine may read it: of a folder its name, of another run's model that run's name."""
    if isinstance(value, list):
        return [_portable(each) for each in value]
    if not isinstance(value, str) or not Path(value).is_absolute():
        return value
    path = Path(value)
    return path.parent.name if path.name == OUTPUT else path.name


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """The labelled rows of a predictions file."""
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [row for row in rows if row["gold"] is not None]


def post_numbers(rows: Iterable[dict[str, Any]]) -> list[int]:
    """A number per row, equal for rows of the same post; the pairs of one post are not independent of one another."""
    numbers: dict[tuple, int] = {}
    return [numbers.setdefault(tuple(row["tokens"]), len(numbers)) for row in rows]


def row_counts(rows: list[dict[str, Any]], view: str, task: str) -> dict[str, np.ndarray]:
    """Correct, predicted and gold items of every row, per reading."""
    predicted, gold = [row[view] for row in rows], [row["gold"] for row in rows]
    if task == "mre":
        return {"lenient": relation_row_counts(predicted, gold)}
    return {reading: entity_row_counts(predicted, gold, reading == "strict") for reading in ("lenient", "strict")}


def _compare(per_row: np.ndarray, recorded: float, folder: Path, split: str, view: str) -> None:
    correct, predicted, gold = per_row.sum(0)
    f1 = 2 * correct / max(predicted + gold, 1)
    if abs(f1 - recorded) > 1e-9:
        raise DataError(
            f"The saved predictions of the {view} view on {split} give F1 {f1:.6f}, results.json says {recorded:.6f}.",
            place=str(folder),
            fix="Remove the folder to run it again.",
        )


def write_store(folder: Path, runs: pd.DataFrame, counts: pd.DataFrame, looked_at: Iterable[str] = ()) -> None:
    """Add runs to the two files in a folder; rows of the same run are replaced.

    Args:
        folder (`Path`): Where the files are or will be.
        runs, counts (`pd.DataFrame`): What `collect` returned.
        looked_at (`Iterable[str]`): Declarations of which everything that is finished was collected, so that runs
            which are gone since go from the files, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / RUNS_FILE).is_file():
        old_runs, old_counts = read_store(folder)
        new = {*looked_at, *(runs["declared"] if len(runs) else ())}
        old_runs = old_runs[~old_runs["declared"].isin(new)]
        known = set(counts["run"]) if len(counts) else set()
        old_counts = old_counts[old_counts["run"].isin(set(old_runs["run"]) - known)]
        runs = pd.concat([frame for frame in (old_runs, runs) if len(frame)] or [old_runs], ignore_index=True)
        counts = pd.concat([frame for frame in (old_counts, counts) if len(frame)] or [old_counts], ignore_index=True)
    elif not len(runs):
        return
    runs = runs.sort_values(["declared", "split", "view"], ignore_index=True)
    counts = counts.sort_values(["run", "split", "view", "reading", "names"], ignore_index=True)
    for frame, name in ((runs, RUNS_FILE), (counts, COUNTS_FILE)):
        temporary = folder / (name + ".tmp")
        frame.to_parquet(temporary, index=False, compression="zstd")
        os.replace(temporary, folder / name)


def read_store(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the two files back.

    Raises:
        DataError: They are not there.
    """
    for name in (RUNS_FILE, COUNTS_FILE):
        if not (folder / name).is_file():
            raise DataError(
                f"There is no {name} here.",
                place=str(folder),
                fix="Make it with: cotpd experiment SWEEP --tables",
            )
    counts = pd.read_parquet(folder / COUNTS_FILE)
    if "names" not in counts:  # written before names were divided
        counts["names"] = ALL_NAMES
    return pd.read_parquet(folder / RUNS_FILE), counts

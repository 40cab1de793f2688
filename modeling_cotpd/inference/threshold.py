"""When knowledge on demand asks: a threshold of uncertainty, chosen on validation data and stored with a model."""

import json
import os
from pathlib import Path

import numpy as np

from modeling_cotpd.data.entities import gold_entities
from modeling_cotpd.data.posts import post_of_record
from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.data.schema import label_names_of, labels_of, task_of
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.files import write_json
from modeling_cotpd.inference.predictor import Predictor
from modeling_cotpd.inference.triples import NO_RELATION
from modeling_cotpd.training.results import THRESHOLD_FILE

MEASURE = "expected number of wrong labels"


def check_reader(student: Predictor, reader: Predictor) -> None:
    """Raise a `SettingError` unless a model can read again, with knowledge, what another read as text alone."""
    if student.task != reader.task:
        raise SettingError(
            f"The models are for {student.task} and {reader.task}.",
            place="--knowledge-model",
            fix="Name two of one.",
        )
    if not reader.knowledge.sources:
        raise SettingError(
            "The model was trained without knowledge.",
            place="--knowledge-model",
            fix="Name a model with a knowledge view.",
        )


def view_counts(
    student: Predictor, reader: Predictor, dataset_dir: str | os.PathLike, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Uncertainty of the text-only view, and the counts of both views, per labelled post of a split.

    Args:
        student (`Predictor`): Reads the text alone.
        reader (`Predictor`): Reads with the split's knowledge.
        dataset_dir (`str` or `os.PathLike`): A prepared folder.
        name (`str`): The split.

    Returns:
        Uncertainty `(posts,)`, and for the prompt and the knowledge view the correct, predicted and gold entities (or
        relations other than `None`) `(posts, 3)`.

    Raises:
        SettingError: The reader has no knowledge view, or is of another task.
        DataError: There is no such split, it is of another task, or it has no labels or no explanations.
    """
    check_reader(student, reader)
    splits, _ = read_prepared(dataset_dir)
    if name not in splits:
        raise DataError(f"There is no split {name!r}.", place=str(dataset_dir), fix=f"There are {', '.join(splits)}.")
    split = splits[name]
    if task_of(split.features) != student.task:
        raise DataError(f"The data is for {task_of(split.features)}, the model for {student.task}.")
    split = split.select([index for index, label in enumerate(labels_of(split)) if label is not None])
    posts = [post_of_record(row) for row in split]
    if not any(post.columns for post in posts):
        raise DataError(
            f"The split {name!r} has no labelled posts with knowledge.",
            place=str(dataset_dir),
            fix="Explain it first: cotpd elicit",
        )
    names = label_names_of(split.features)
    gold = [_gold(row, names, student.task) for row in split]
    text, known = student(posts, uncertainty=True), reader(posts, "knowledge")
    uncertainty = np.array([row["uncertainty"] for row in text])
    return uncertainty, _counts(text, gold), _counts(known, gold)


def _gold(row: dict, names: list[str], task: str) -> set:
    if task == "mre":
        return {names[row["relation"]]} - {NO_RELATION}
    return set(gold_entities(row["tokens"], [names[tag] for tag in row["ner_tags"]]))


def _counts(rows: list[dict], gold: list[set]) -> np.ndarray:
    counts = []
    for row, wanted in zip(rows, gold, strict=True):
        if "relation" in row:
            found = {row["relation"]} - {NO_RELATION, None}
        else:
            found = {(entity["type"], entity["start"], entity["end"]) for entity in row["entities"]}
        counts.append((len(found & wanted), len(found), len(wanted)))
    return np.array(counts)


def f1_curve(prompt: np.ndarray, knowledge: np.ndarray, order: np.ndarray) -> np.ndarray:
    """F1 after asking about the first 0, 1, 2, ... posts.

    Args:
        prompt, knowledge (`np.ndarray` of shape `(posts, 3)`): Per post the correct, predicted and gold entities of
            each view.
        order (`np.ndarray` of shape `(posts,)`): The posts in the order in which they are asked about.

    Example:
        >>> one, two = np.array([[0, 1, 1], [1, 1, 1]]), np.array([[1, 1, 1], [1, 1, 1]])
        >>> f1_curve(one, two, np.array([0, 1])).tolist()
        [0.5, 1.0, 1.0]
    """
    gain = np.cumsum((knowledge - prompt)[order], axis=0)
    counts = prompt.sum(0) + np.vstack([np.zeros((1, 3), dtype=gain.dtype), gain])
    return 2 * counts[:, 0] / np.maximum(1, counts[:, 1] + counts[:, 2])


def choose_threshold(
    uncertainty: np.ndarray, prompt: np.ndarray, knowledge: np.ndarray, gain: float = 0.9
) -> tuple[float, float]:
    """The largest threshold that keeps a share of the gain of asking about every post, and the share it asks about.

    Args:
        uncertainty (`np.ndarray` of shape `(posts,)`): Of validation posts.
        prompt, knowledge (`np.ndarray` of shape `(posts, 3)`): As for `f1_curve`.
        gain (`float`, *optional*, defaults to 0.9): The share of the gain in F1.
    """
    order = np.argsort(-uncertainty, kind="stable")
    curve = f1_curve(prompt, knowledge, order)
    enough = np.flatnonzero(curve >= curve[0] + gain * (curve[-1] - curve[0]))
    count = int(enough[0])
    if count == 0:
        return float(uncertainty.max()), 0.0
    ranked = uncertainty[order]
    below = ranked[count] if count < len(ranked) else ranked[-1] - 1.0
    return float((ranked[count - 1] + below) / 2), count / len(uncertainty)


def write_threshold(model: str | os.PathLike, threshold: float, share: float, **further) -> Path:
    """Store a threshold with a model, for `cotpd predict --threshold stored`."""
    path = Path(model) / THRESHOLD_FILE
    write_json(path, {"measure": MEASURE, "threshold": threshold, "share": share, **further})
    return path


def stored_threshold(model: str | os.PathLike) -> float:
    """Read the threshold that is stored with a model.

    Raises:
        SettingError: There is none.
    """
    path = Path(model) / THRESHOLD_FILE
    try:
        return float(json.loads(path.read_text("utf-8"))["threshold"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(
            "No threshold is stored with this model.",
            place=str(path),
            fix="Choose one on validation data with: cotpd threshold MODEL --dataset-dir DATA",
        ) from error

"""Labelled posts read in both views, for what is chosen on validation data."""

import os

import numpy as np
from datasets import Dataset

from modeling_cotpd.data.bio import entities
from modeling_cotpd.data.posts import Post
from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, label_names_of, task_of
from modeling_cotpd.data.words import word_spans
from modeling_cotpd.errors import DataError
from modeling_cotpd.inference.predictor import Predictor

NO_RELATION = "None"


def posts_of(split: Dataset) -> list[Post]:
    """The rows of a prepared split as posts, with their knowledge."""
    posts = []
    for row in split:
        spans = word_spans(row["tokens"])
        pair = [
            (spans[row[side]["start"]][0], spans[row[side]["end"] - 1][1]) if side in row else None
            for side in ("head", "tail")
        ]
        columns = {name: row[name] for name in (*KNOWLEDGE_COLUMNS, "glosses") if row.get(name)}
        posts.append(Post(row["id"], " ".join(row["tokens"]), f"row {row['id']!r}", pair[0], pair[1], columns))
    return posts


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
        DataError: There is no such split, it is of another task, or it has no labels or no explanations.
    """
    splits, _ = read_prepared(dataset_dir)
    if name not in splits:
        raise DataError(f"There is no split {name!r}.", place=str(dataset_dir), fix=f"There are {', '.join(splits)}.")
    split = splits[name]
    if task_of(split.features) != student.task:
        raise DataError(f"The data is for {task_of(split.features)}, the model for {student.task}.")
    label = "relation" if student.task == "mre" else "ner_tags"
    split = split.select([index for index, value in enumerate(split[label]) if value is not None])
    posts = posts_of(split)
    if not any(post.columns for post in posts):
        raise DataError(
            f"The split {name!r} has no labelled posts with knowledge.",
            place=str(dataset_dir),
            fix="Explain it first: cotpd elicit",
        )
    gold = [_gold(row, label_names_of(split.features), student.task) for row in split]
    text, known = student(posts, uncertainty=True), reader(posts, "knowledge")
    uncertainty = np.array([row["uncertainty"] for row in text])
    return uncertainty, _counts(text, gold), _counts(known, gold)


def _gold(row: dict, names: list[str], task: str) -> set:
    if task == "mre":
        return {names[row["relation"]]} - {NO_RELATION}
    spans = word_spans(row["tokens"])
    found = entities([names[tag] for tag in row["ner_tags"]], lenient=True)
    return {(kind, spans[start][0], spans[end - 1][1]) for kind, start, end in found}


def _counts(rows: list[dict], gold: list[set]) -> np.ndarray:
    counts = []
    for row, wanted in zip(rows, gold, strict=True):
        if "relation" in row:
            found = {row["relation"]} - {NO_RELATION, None}
        else:
            found = {(entity["type"], entity["start"], entity["end"]) for entity in row["entities"]}
        counts.append((len(found & wanted), len(found), len(wanted)))
    return np.array(counts)

"""From predicted ids to tags and relations, and from those to scores, for both tasks."""

from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset

from modeling_cotpd.data.entities import EntityReader, entity_tags
from modeling_cotpd.data.schema import LABEL_COLUMNS, gold_labels, label_names_of, task_of
from modeling_cotpd.data.words import word_spans
from modeling_cotpd.errors import DataError
from modeling_cotpd.training.tasks import TASKS


@dataclass
class Evaluation:
    """Predictions and scores of one evaluated split.

    Args:
        predictions (`dict[str, list]`): Per view the predictions of every row: tags per word, or a relation name.
        scores (`dict[str, dict]`): Per view the scores; empty for a split without labels.
    """

    predictions: dict[str, list]
    scores: dict[str, dict]


def highest_label(logits: torch.Tensor | tuple, labels: torch.Tensor) -> torch.Tensor | tuple:
    """`preprocess_logits_for_metrics` of the Trainer: keeps one id per position instead of all logits."""
    if isinstance(logits, torch.Tensor):
        return logits.argmax(-1)
    return tuple(view.argmax(-1) for view in logits)


def decode(predicted: np.ndarray, features: Dataset, split: Dataset) -> list:
    """Tags per word (MNER) or a relation name (MRE) for every row.

    Entities are read from characters as in inference; a word has the tag of the entity that touches it.

    Args:
        predicted (`np.ndarray` of shape `(rows, n)` or `(rows,)`): Predicted ids of one view.
        features (`Dataset`): The rows' features, in the same order.
        split (`Dataset`): The records, in the same order.
    """
    label_names = label_names_of(split.features)
    if "offsets" not in features.column_names:
        return [label_names[index] for index in predicted.tolist()]
    reader = EntityReader(label_names)
    decoded = []
    for ids, offsets, tokens in zip(predicted, features["offsets"], split["tokens"], strict=True):
        ids = ids[: len(offsets)]
        entities = reader(" ".join(tokens), offsets, ids, np.ones(len(ids)))
        decoded.append(entity_tags(entities, word_spans(tokens)))
    return decoded


def is_labelled(split: Dataset) -> bool:
    """Return whether any row of a split, or of its features, has gold labels."""
    column = next((name for name in (*LABEL_COLUMNS.values(), "labels") if name in split.column_names), None)
    if column is None:
        return False
    return any(
        any(label not in (None, -100) for label in (labels if isinstance(labels, list) else [labels]))
        for labels in split[column]
    )


def score(predictions: list, split: Dataset) -> dict:
    """Scores of decoded predictions against the split's gold labels; rows without labels are left out.

    Raises:
        DataError: The numbers of predictions and rows differ, or no row has labels.
    """
    if len(predictions) != len(split):
        raise DataError(f"{len(predictions)} predictions for {len(split)} rows.", fix="Predict on the same split.")
    pairs = [(guess, gold) for guess, gold in zip(predictions, gold_labels(split), strict=True) if gold is not None]
    if not pairs:
        raise DataError("No row of the split has labels.", fix="Evaluate on labelled rows.")
    guesses, golds = (list(column) for column in zip(*pairs, strict=True))
    return TASKS[task_of(split.features)].score(guesses, golds)


def by_view(predictions: np.ndarray | tuple, eval_views: str) -> dict[str, np.ndarray]:
    """Name the arrays that the Trainer predicted: `prompt`, `knowledge`, or both."""
    if isinstance(predictions, tuple):
        return dict(zip(("prompt", "knowledge"), predictions, strict=True))
    return {"knowledge" if eval_views == "knowledge" else "prompt": predictions}

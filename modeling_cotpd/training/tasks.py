"""What training, evaluation and the model card need to know about each task, and scores of what was predicted."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from modeling_cotpd.data.entities import EntityReader, entity_tags
from modeling_cotpd.data.schema import LABEL_COLUMNS, gold_labels, label_names_of, task_of
from modeling_cotpd.data.words import word_spans
from modeling_cotpd.errors import DataError
from modeling_cotpd.metrics.entity_score.entity_score import entity_scores
from modeling_cotpd.metrics.relation_score.relation_score import relation_scores
from modeling_cotpd.modeling_cotpd import (
    CoTPDForRelationExtraction,
    CoTPDForTokenClassification,
    CoTPDPreTrainedModel,
)


@dataclass(frozen=True)
class Task:
    """One task: its model and scores, and what the model card says of it."""

    name: str
    title: str
    model_class: type[CoTPDPreTrainedModel]
    score: Callable[[list, list], dict]
    metrics: Mapping[str, tuple[str, str]]  # headline scores: the metric's type and name in the Hub's model-index
    pipeline: str
    hub_type: str  # in the Hub's model-index
    adds_tokens: bool  # entity markers
    example: Any
    usage: str  # code, with {name} where the model's name goes
    intended: str

    def metric_names(self) -> list[str]:
        """Names of the scores that are numbers."""
        return [name for name, value in self.score([], []).items() if isinstance(value, int | float)]


TASKS: Mapping[str, Task] = {
    "mner": Task(
        name="mner",
        title="Named entity recognition",
        model_class=CoTPDForTokenClassification,
        score=entity_scores,
        metrics={
            "f1": ("f1", "Entity F1"),
            "strict_f1": ("f1", "Entity F1, strict"),
            "precision": ("precision", "Entity precision"),
            "recall": ("recall", "Entity recall"),
        },
        pipeline="token-classification",
        hub_type="token-classification",
        adds_tokens=False,
        example="Saw @mayastone at Harlow Park with the whole crew",
        usage="""tagger = pipeline(
    "token-classification", "{name}", aggregation_strategy="simple", trust_remote_code=True
)
tagger("Saw @mayastone at Harlow Park with the whole crew")""",
        intended="Finding names of persons, places, organizations and other entities in short English posts.",
    ),
    "mre": Task(
        name="mre",
        title="Relation extraction",
        model_class=CoTPDForRelationExtraction,
        score=relation_scores,
        metrics={
            "f1": ("f1", "Micro F1 without None"),
            "precision": ("precision", "Micro precision without None"),
            "recall": ("recall", "Micro recall without None"),
        },
        pipeline="relation-extraction",
        hub_type="text-classification",
        adds_tokens=True,
        example={"text": "Maya Stone moved to Harlow", "head": (0, 10), "tail": (20, 26)},
        usage="""extractor = pipeline("relation-extraction", "{name}", trust_remote_code=True)
extractor({{"text": "Maya Stone moved to Harlow", "head": (0, 10), "tail": (20, 26)}})""",
        intended="Naming the relation between two entities that are marked in a short English post.",
    ),
}
TASK_OF_MODEL = {task.model_class.__name__: task.name for task in TASKS.values()}


@dataclass
class Evaluation:
    """Predictions and scores of one evaluated split.

    Args:
        predictions (`dict[str, list]`): Per view the predictions of every row: tags per word, or a relation name.
        uncertainty (`dict[str, list[float]]`): Per view the expected number of wrong labels of every row, over its
            subword tokens (MNER), or the probability that the relation is another one.
        scores (`dict[str, dict]`): Per view the scores; empty for a split without labels.
    """

    predictions: dict[str, list]
    uncertainty: dict[str, list[float]]
    scores: dict[str, dict]


def best_labels(logits: torch.Tensor | tuple, labels: torch.Tensor) -> torch.Tensor | tuple:
    """`preprocess_logits_for_metrics` of the Trainer: keeps two numbers per position instead of all logits, the id of
    the best label and the probability that another one is right."""
    if isinstance(logits, tuple):
        return tuple(best_labels(view, labels) for view in logits)
    probability, ids = logits.float().softmax(-1).max(-1)
    return torch.stack((ids.float(), 1 - probability), -1)


def best_ids(kept: np.ndarray) -> np.ndarray:
    """The ids among what `best_labels` keeps; -100 where the Trainer padded."""
    return kept[..., 0].astype(np.int64)


def by_view(predictions: np.ndarray | tuple, eval_views: str) -> dict[str, np.ndarray]:
    """Name the arrays that the Trainer predicted: `prompt`, `knowledge`, or both."""
    if isinstance(predictions, tuple):
        return dict(zip(("prompt", "knowledge"), predictions, strict=True))
    return {"knowledge" if eval_views == "knowledge" else "prompt": predictions}


def uncertainties(doubts: np.ndarray, features: Dataset) -> list[float]:
    """The `uncertainty` of every row, as `cotpd predict --ask-teacher` ranks posts."""
    if "offsets" in features.column_names:
        own = ([end > start for start, end in offsets] for offsets in features["offsets"])
        doubts = np.array([row[: len(inside)][inside].sum() for row, inside in zip(doubts, own, strict=True)])
    return [round(value, 6) for value in doubts.astype(float).tolist()]


def decode(predicted: np.ndarray, features: Dataset, split: Dataset, prefixes: Iterable[str] | None = None) -> list:
    """Tags per word (MNER) or a relation name (MRE) for every row of `predicted`, `(rows, n)` or `(rows,)`.

    Entities are read from characters as in inference; a word has the tag of the entity that touches it.
    """
    label_names = label_names_of(split.features)
    if "offsets" not in features.column_names:
        return [label_names[index] for index in predicted.tolist()]
    reader = EntityReader(label_names, prefixes)
    decoded = []
    for ids, offsets, tokens in zip(predicted, features["offsets"], split["tokens"], strict=True):
        ids = ids[: len(offsets)]
        entities = reader(" ".join(tokens), offsets, ids, np.ones(len(ids)))
        decoded.append(entity_tags(entities, word_spans(tokens)))
    return decoded


def is_labelled(split: Dataset) -> bool:
    """Return whether any row of a split, or of its features, has gold labels."""
    column = next((name for name in (*LABEL_COLUMNS.values(), "labels") if name in split.column_names), None)
    rows = split[column] if column else ()
    return any(
        label not in (None, -100) for labels in rows for label in (labels if isinstance(labels, list) else [labels])
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

"""Labels from lists: which of the mentions that a language model listed are entities, and of which type."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from sklearn.calibration import calibration_curve
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold

from modeling_cotpd.data.bio import entities
from modeling_cotpd.data.schema import label_names_of
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.knowledge.list_mentions import ListedMention, read_list, resolve
from modeling_cotpd.metrics.counts import precision_recall_f1

FOLDS = 5
REGULARIZATION = (0.03, 0.1, 0.3, 1.0)
"""Values of scikit-learn's `C` that cross-validation compares."""
THRESHOLDS = tuple(round(0.15 + 0.05 * step, 2) for step in range(12))
"""Thresholds that cross-validation compares."""


class ListLabeller:
    """Decides which listed mentions are entities: multinomial logistic regression over gloss, mention and neighbours.

    The classes are the entity types and none. Five-fold cross-validation over posts chooses the regularization by log
    loss, so that scores are probabilities, and then the threshold by F1. A mention that the list lacks is never found.

    Args:
        posts (`Dataset`): MNER rows with `tokens`, `glosses` and `ner_tags`, none of which is `None`.
        threshold (`float`, *optional*): The lowest score of an entity, between 0 and 1. By default cross-validation
            chooses it.

    Attributes:
        types (`list[str]`): The entity types.
        threshold (`float`): The lowest score of an entity.
        report (`dict`): What cross-validation chose, and its `f1`, `log_loss` and `calibration_error`.

    Raises:
        DataError: The posts have too few listed mentions to learn from.
        SettingError: The threshold is out of range.

    Example:
        >>> labeller = ListLabeller(splits["train"])  # doctest: +SKIP
        >>> [(each.mention, each.type, each.score) for each in labeller(splits["test"])[0]]  # doctest: +SKIP
    """

    def __init__(self, posts: Dataset, threshold: float | None = None):
        if threshold is not None and not 0 < threshold < 1:
            raise SettingError(f"threshold must lie between 0 and 1, got {threshold}.")
        names = label_names_of(posts.features)
        self.types = list(dict.fromkeys(name[2:] for name in names if name != "O"))
        rows = [read_list(*row) for row in zip(posts["tokens"], posts["glosses"], strict=True)]
        gold = [entities([names[tag] for tag in tags], lenient=True) for tags in posts["ner_tags"]]
        classes, owners = self._classes(rows, gold), np.array([number for number, _ in _numbered(rows)])
        if len(set(owners)) < FOLDS or np.bincount(classes).max() < FOLDS:
            raise _too_few(posts, classes)
        self._vectorizer = CountVectorizer(analyzer=_features_of, binary=True)
        inputs = self._vectorizer.fit_transform(_candidates(rows))
        with warnings.catch_warnings():  # a type that few posts have is usual when labels are few
            warnings.filterwarnings("ignore", "The least populated class", UserWarning)
            folds = list(StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(inputs, classes, owners))
        if any(len(set(classes[seen])) < 2 for seen, _ in folds):
            raise _too_few(posts, classes)
        held_out = {value: self._held_out(inputs, classes, folds, value) for value in REGULARIZATION}
        labels = range(len(self.types) + 1)
        losses = {value: log_loss(classes, scores, labels=labels) for value, scores in held_out.items()}
        strength = min(losses, key=lambda value: losses[value])
        self._score(rows, held_out[strength])
        f1 = {value: _f1(rows, gold, value) for value in ([threshold] if threshold else THRESHOLDS)}
        self.threshold = max(f1, key=lambda value: f1[value])
        self._model = LogisticRegression(C=strength, max_iter=1000).fit(inputs, classes)
        self.report = {
            "labelled_rows": len(posts),
            "candidates": len(classes),
            "C": strength,
            "threshold": self.threshold,
            "threshold_chosen_by": "the user" if threshold else "cross-validated F1",
            "f1": f1[self.threshold],
            "log_loss": losses[strength],
            "calibration_error": calibration_error(held_out[strength], classes),
        }

    def __call__(self, posts: Dataset) -> list[list[ListedMention]]:
        """Score the listed mentions of every row and say which are entities. Labels of the rows are not read."""
        rows = [read_list(*row) for row in zip(posts["tokens"], posts["glosses"], strict=True)]
        if candidates := _candidates(rows):
            self._score(rows, self._probabilities(candidates))
        for row in rows:
            resolve(row, self.threshold)
        return rows

    def calibration_error(self, rows: Sequence[Sequence[ListedMention]], gold: Sequence[Sequence[tuple]]) -> float:
        """The calibration error on other rows.

        Args:
            rows (`Sequence`): What `__call__` returned.
            gold (`Sequence`): Entities of every row as (type, start, end).
        """
        candidates = _candidates(rows)
        return calibration_error(self._probabilities(candidates), self._classes(rows, gold)) if candidates else 0.0

    def _probabilities(self, candidates: Sequence[ListedMention]) -> np.ndarray:
        scores = np.zeros((len(candidates), len(self.types) + 1))
        scores[:, self._model.classes_] = self._model.predict_proba(self._vectorizer.transform(candidates))
        return scores

    def _classes(self, rows: Sequence[Sequence[ListedMention]], gold: Sequence[Sequence[tuple]]) -> np.ndarray:
        """Per candidate 0 for none, or 1 + its type: only a span that is exactly an entity's counts."""
        numbers = {kind: number for number, kind in enumerate(self.types, 1)}
        known = [{(start, end): numbers[kind] for kind, start, end in row} for row in gold]
        return np.array([known[row].get((each.start, each.end), 0) for row, each in _numbered(rows)], dtype=int)

    def _held_out(self, inputs: Any, classes: np.ndarray, folds: list, strength: float) -> np.ndarray:
        """Probabilities `(candidates, 1 + types)` by models that have not seen the candidate's post."""
        scores = np.zeros((len(classes), len(self.types) + 1))
        for seen, held in folds:
            model = LogisticRegression(C=strength, max_iter=1000).fit(inputs[seen], classes[seen])
            scores[np.ix_(held, model.classes_)] = model.predict_proba(inputs[held])
        return scores

    def _score(self, rows: Sequence[Sequence[ListedMention]], scores: np.ndarray) -> None:
        for each, row in zip(_candidates(rows), scores[:, 1:], strict=True):
            best = int(row.argmax())
            each.type, each.score = self.types[best], float(row[best])


def calibration_error(scores: np.ndarray, classes: np.ndarray) -> float:
    """Expected calibration error: mean distance between confidence and accuracy over ten bins of equal size.

    Args:
        scores (`np.ndarray` of shape `(candidates, classes)`): Probabilities.
        classes (`np.ndarray` of shape `(candidates,)`): The right class.
    """
    right = scores.argmax(1) == classes
    accuracy, confidence = calibration_curve(right, scores.max(1), n_bins=10, strategy="quantile")
    return float(np.abs(accuracy - confidence).mean())


def _f1(rows: Sequence[Sequence[ListedMention]], gold: Sequence[Sequence[tuple]], threshold: float) -> float:
    correct = predicted = 0
    for row, wanted in zip(rows, gold, strict=True):
        resolve(row, threshold)
        found = {(each.type, each.start, each.end) for each in row if not each.reason}
        correct, predicted = correct + len(found & set(wanted)), predicted + len(found)
    return precision_recall_f1(correct, predicted, sum(map(len, gold)))["f1"]


def _numbered(rows: Sequence[Sequence[ListedMention]]) -> Iterator[tuple[int, ListedMention]]:
    return ((number, each) for number, row in enumerate(rows) for each in row if each.features)


def _candidates(rows: Sequence[Sequence[ListedMention]]) -> list[ListedMention]:
    return [each for _, each in _numbered(rows)]


def _too_few(posts: Dataset, classes: np.ndarray) -> DataError:
    return DataError(
        f"{len(posts)} labelled posts with {len(classes)} listed mentions in their text are too few to learn from.",
        fix="Label more posts that have glosses; 50 are a beginning.",
    )


def _features_of(candidate: ListedMention) -> tuple[str, ...]:
    return candidate.features

"""What the entity and the relation score share: rows that fit together, and precision, recall and F1 from counts."""

from collections.abc import Sized

from modeling_cotpd.errors import DataError


def check_row_numbers(predictions: Sized, references: Sized) -> None:
    """Raise a `DataError` unless there is one prediction per reference."""
    if len(predictions) != len(references):
        raise DataError(
            f"There are {len(predictions)} predictions but {len(references)} references.",
            fix="Give one prediction to every row, in the order of the references.",
        )


def check_is_string(label: object, place: str) -> None:
    """Raise a `DataError` at `place` unless a label is a string; an id and the `None` of an unlabelled row are not."""
    if not isinstance(label, str):
        raise DataError(
            f"The label {label!r} is not a string.",
            place=place,
            fix="Score label names, not ids, and leave out rows without gold labels.",
        )


def precision_recall_f1(correct: int, predicted: int, gold: int) -> dict[str, float]:
    """Precision, recall and F1, as fractions in [0, 1].

    A score whose denominator is zero is 0.0, without a warning: no prediction gives precision 0.0, no gold item gives
    recall 0.0, and neither of them gives F1 0.0, although nothing was done wrong. seqeval and conlleval count so, too.

    Example:
        >>> precision_recall_f1(correct=1, predicted=2, gold=1)
        {'precision': 0.5, 'recall': 1.0, 'f1': 0.6666666666666666}
    """
    return {
        "precision": correct / predicted if predicted else 0.0,
        "recall": correct / gold if gold else 0.0,
        "f1": 2 * correct / (predicted + gold) if predicted + gold else 0.0,
    }

"""Relation precision, recall and F1 without the "no relation" label; loadable with `evaluate.load`.

Micro-averaged precision, recall and F1 over the pairs that have a relation, which is the standard of MNRE: the label
for "no relation" is neither a prediction nor a gold item. Accuracy over all pairs and macro F1 stand beside it.
"""

import warnings
from collections import Counter
from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from modeling_cotpd.metrics.counts import check_is_string, check_row_numbers, precision_recall_f1

_CITATION = """
@inproceedings{zheng-etal-2021-mnre,
  title = {{MNRE}: A Challenge Multimodal Dataset for Neural Relation Extraction with Visual Evidence in Social Media
           Posts},
  author = {Zheng, Changmeng and Wu, Zhiwei and Feng, Junhao and Fu, Ze and Cai, Yi},
  booktitle = {IEEE International Conference on Multimedia and Expo},
  year = {2021}
}
"""


def relation_row_counts(predictions: Sequence[str], references: Sequence[str], none_label: str = "None") -> np.ndarray:
    """Correct, predicted and gold relations per row, each 0 or 1, int64 (rows, 3), as `paired_bootstrap` reads them.

    Arguments and errors are those of `relation_scores`.
    """
    check_row_numbers(predictions, references)
    for side, labels in (("predictions", predictions), ("references", references)):
        for number, label in enumerate(labels):
            check_is_string(label, f"{side}, row {number}")
    counts = [
        (predicted == gold and gold != none_label, predicted != none_label, gold != none_label)
        for predicted, gold in zip(predictions, references, strict=True)
    ]
    return np.array(counts, dtype=np.int64).reshape(-1, 3)


def relation_scores(
    predictions: Sequence[str], references: Sequence[str], none_label: str = "None"
) -> dict[str, float | int | dict[str, dict[str, float | int]]]:
    """Score predicted relations against gold relations.

    Args:
        predictions (`Sequence[str]`): The predicted relation of every row.
        references (`Sequence[str]`): The gold relation of every row.
        none_label (`str`, defaults to `"None"`, as MNRE writes it): The label for "no relation". When it occurs
            nowhere, every row counts as a relation, and a warning says so.

    Returns:
        `dict`: `precision`, `recall`, `f1`: micro-averages without `none_label`, that is, correct relations over
        predicted and over gold relations; `correct_relations`, `predicted_relations`, `gold_relations`: their counts;
        `accuracy` over all rows, `none_label` included; `macro_f1`: the mean F1 of the relations that the references
        hold, `none_label` left out (a relation that is only ever predicted does not enter, so that the mean runs over
        the same relations for every system); `per_relation`: for every relation that occurs in either, `precision`,
        `recall`, `f1` and `support` (gold rows).
        Scores are fractions in [0, 1]; a score with denominator zero is 0.0, without a warning.

    Raises:
        DataError: The numbers of rows differ, or a label is not a string.

    Example:
        >>> scores = relation_scores(["near", "None", "near"], ["near", "near", "None"])
        >>> scores["precision"], scores["recall"], round(scores["accuracy"], 2)
        (0.5, 0.5, 0.33)
    """
    correct, predicted, gold = relation_row_counts(predictions, references, none_label).sum(axis=0).tolist()
    predicted_of, gold_of = Counter(predictions), Counter(references)
    if gold_of and none_label not in gold_of and none_label not in predicted_of:
        warnings.warn(
            f"No row has the label {none_label!r}, so every row counts as a relation. If the data has a label for "
            f"'no relation', name it with none_label=; the labels are {', '.join(sorted(gold_of))}.",
            stacklevel=2,
        )
    hits = Counter(one for one, other in zip(predictions, references, strict=True) if one == other)
    per_relation = {
        name: precision_recall_f1(hits[name], predicted_of[name], gold_of[name]) | {"support": gold_of[name]}
        for name in sorted({*predicted_of, *gold_of} - {none_label})
    }
    f1_of_gold = [row["f1"] for row in per_relation.values() if row["support"]]
    return {
        **precision_recall_f1(correct, predicted, gold),
        "correct_relations": correct,
        "predicted_relations": predicted,
        "gold_relations": gold,
        "accuracy": hits.total() / len(references) if len(references) else 0.0,
        "macro_f1": sum(f1_of_gold) / len(f1_of_gold) if f1_of_gold else 0.0,
        "per_relation": per_relation,
    }


class RelationScore(evaluate.Metric):
    """`relation_scores` as a metric of the evaluate library.

    Example:
        >>> metric = evaluate.load("modeling_cotpd/metrics/relation_score")  # doctest: +SKIP
        >>> metric.compute(predictions=["near", "None"], references=["near", "None"])["f1"]  # doctest: +SKIP
        1.0
    """

    def _info(self) -> evaluate.MetricInfo:
        label = datasets.Value("string")
        return evaluate.MetricInfo(
            description=str(__doc__),
            citation=_CITATION,
            inputs_description=relation_scores.__doc__,
            features=datasets.Features({"predictions": label, "references": label}),
        )

    def _compute(self, predictions: list[str], references: list[str], none_label: str = "None") -> dict:
        return relation_scores(predictions, references, none_label=none_label)

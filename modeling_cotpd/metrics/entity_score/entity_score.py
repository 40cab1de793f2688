"""Entity precision, recall and F1 under both readings of BIO tags; loadable with `evaluate.load`.

Micro-averaged precision, recall and F1 of entities: an entity counts when its type, its start and its end are right.
The headline is the lenient reading (conlleval, and seqeval's default); the strict reading (IOB2) stands beside it.
"""

from collections import Counter
from collections.abc import Sequence

import datasets
import evaluate
import numpy as np

from modeling_cotpd.data.bio import check_tag, entities
from modeling_cotpd.errors import DataError
from modeling_cotpd.metrics.counts import check_is_string, check_row_numbers, precision_recall_f1

_CITATION = """
@inproceedings{tjong-kim-sang-de-meulder-2003,
  title = {Introduction to the {CoNLL}-2003 Shared Task: Language-Independent Named Entity Recognition},
  author = {Tjong Kim Sang, Erik F. and De Meulder, Fien},
  booktitle = {Proceedings of CoNLL-2003},
  year = {2003}
}
@misc{seqeval,
  title = {{seqeval}: A Python framework for sequence labeling evaluation},
  author = {Nakayama, Hiroki},
  url = {https://github.com/chakki-works/seqeval},
  year = {2018}
}
"""

Entity = tuple[str, int, int]
"""Type, first token, last token (included)."""


def entities_of(tags: Sequence[str], strict: bool = False) -> set[Entity]:
    """The entities that the BIO tags of one row spell out.

    Args:
        tags (`Sequence[str]`): `O`, `B-TYPE` or `I-TYPE` for every token.
        strict (`bool`, defaults to `False`): What an `I-` tag that continues nothing means. Lenient: it starts an
            entity, as in conlleval. Strict: it belongs to no entity (IOB2).

    Returns:
        `set[tuple[str, int, int]]`: Type, first and last token of every entity.

    Example:
        >>> sorted(entities_of(["I-PER", "I-PER", "O", "B-LOC"]))
        [('LOC', 3, 3), ('PER', 0, 1)]
        >>> entities_of(["I-PER", "I-PER", "O", "B-LOC"], strict=True)
        {('LOC', 3, 3)}
    """
    return {(kind, start, end - 1) for kind, start, end in entities(tags, lenient=not strict)}


def _check_tags(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> None:
    check_row_numbers(predictions, references)
    for number, (predicted, gold) in enumerate(zip(predictions, references, strict=True)):
        for side, tags in (("predictions", predicted), ("references", gold)):
            place = f"{side}, row {number}"
            if tags is None or isinstance(tags, str):
                fix = "Give one list of tags to every row and leave out rows without gold labels."
                raise DataError(f"A list of tags is needed, but this is {tags!r}.", place=place, fix=fix)
            for tag in tags:
                check_is_string(tag, place)
                check_tag(tag, place)
        if len(predicted) != len(gold):
            raise DataError(
                f"{len(predicted)} predicted tags but {len(gold)} gold tags.",
                place=f"row {number}",
                fix="Give one tag to every token, also to tokens that were cut off before the encoder (as O).",
            )


def _matches(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], strict: bool
) -> list[tuple[set[Entity], set[Entity], set[Entity]]]:
    """Correct, predicted and gold entities of every row."""
    rows = []
    for predicted_tags, gold_tags in zip(predictions, references, strict=True):
        predicted, gold = entities_of(predicted_tags, strict), entities_of(gold_tags, strict)
        rows.append((predicted & gold, predicted, gold))
    return rows


def entity_row_counts(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]], strict: bool = False
) -> np.ndarray:
    """Correct, predicted and gold entities per row, int64 (rows, 3), as `paired_bootstrap` reads them.

    Arguments and errors are those of `entity_scores`; `strict` is the reading, see `entities_of`.
    """
    _check_tags(predictions, references)
    counts = [[len(part) for part in row] for row in _matches(predictions, references, strict)]
    return np.array(counts, dtype=np.int64).reshape(-1, 3)


def entity_scores(
    predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
) -> dict[str, float | int | dict[str, dict[str, float | int]]]:
    """Score predicted BIO tags against gold tags.

    The headline `precision`, `recall`, `f1` are micro-averages under the lenient reading, since published scores are
    conlleval's or those of seqeval's default mode. The strict reading (seqeval's `mode="strict"`, `scheme=IOB2`)
    carries the prefix `strict_`. The two differ only where an `I-` tag continues nothing.

    Args:
        predictions (`Sequence[Sequence[str]]`): Predicted tags (`O`, `B-TYPE`, `I-TYPE`) of every row.
        references (`Sequence[Sequence[str]]`): Gold tags of every row.

    Returns:
        `dict`: `precision`, `recall`, `f1`, `correct_entities`, `predicted_entities`, `gold_entities`; the same six
        with the prefix `strict_`; `accuracy` over tokens, `O` included; `per_type`, for every type that occurs in
        either, `precision`, `recall`, `f1`, `support` (gold entities) and the same four with the prefix `strict_`.
        Scores are fractions in [0, 1]; a score with denominator zero is 0.0, without a warning, so a
        test set without any entity scores 0.0 even when nothing is predicted.

    Raises:
        DataError: The numbers of rows differ, the lengths of a row differ (the error names the row, counted from 0),
            or a tag is not BIO.

    Example:
        >>> scores = entity_scores([["B-PER", "O", "B-LOC"]], [["I-PER", "O", "B-LOC"]])
        >>> scores["f1"], scores["strict_precision"], scores["strict_recall"]
        (1.0, 0.5, 1.0)
    """
    _check_tags(predictions, references)
    scores: dict = {}
    per_type: dict[str, dict[str, float | int]] = {}
    for prefix, strict in (("", False), ("strict_", True)):
        rows = _matches(predictions, references, strict)
        correct, predicted, gold = (Counter(kind for row in rows for kind, _, _ in row[part]) for part in range(3))
        totals = correct.total(), predicted.total(), gold.total()
        scores |= {prefix + name: value for name, value in precision_recall_f1(*totals).items()}
        names = ("correct_entities", "predicted_entities", "gold_entities")
        scores |= {prefix + name: total for name, total in zip(names, totals, strict=True)}
        # Under the strict reading a type may lose all its entities; its row still shows both readings.
        for kind in sorted({*per_type, *predicted, *gold}):
            one = precision_recall_f1(correct[kind], predicted[kind], gold[kind]) | {"support": gold[kind]}
            per_type.setdefault(kind, {}).update({prefix + name: value for name, value in one.items()})
    tokens = [pair for rows in zip(predictions, references, strict=True) for pair in zip(*rows, strict=True)]
    scores["accuracy"] = sum(predicted == gold for predicted, gold in tokens) / len(tokens) if tokens else 0.0
    scores["per_type"] = per_type
    return scores


class EntityScore(evaluate.Metric):
    """`entity_scores` as a metric of the evaluate library.

    Example:
        >>> metric = evaluate.load("modeling_cotpd/metrics/entity_score")  # doctest: +SKIP
        >>> metric.compute(predictions=[["B-PER", "O"]], references=[["B-PER", "O"]])["f1"]  # doctest: +SKIP
        1.0
    """

    def _info(self) -> evaluate.MetricInfo:
        tags = datasets.List(datasets.Value("string"))
        return evaluate.MetricInfo(
            description=str(__doc__),
            citation=_CITATION,
            inputs_description=entity_scores.__doc__,
            features=datasets.Features({"predictions": tags, "references": tags}),
        )

    def _compute(self, predictions: list[list[str]], references: list[list[str]]) -> dict:
        return entity_scores(predictions, references)

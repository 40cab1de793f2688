"""Relation scores: by hand and against scikit-learn."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from modeling_cotpd.errors import DataError
from modeling_cotpd.metrics.relation_score.relation_score import relation_row_counts, relation_scores

pairs = st.lists(st.tuples(*[st.sampled_from(["None", "near", "owns", "made"])] * 2), max_size=40)


def test_scores_by_hand():
    gold = ["near", "near", "None", "owns", "None", "owns"]
    predicted = ["near", "None", "near", "owns", "None", "made"]
    # Correct relations: near, owns. Predicted relations: near, near, owns, made. Gold relations: four.
    assert relation_scores(predicted, gold) == {
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "correct_relations": 2,
        "predicted_relations": 4,
        "gold_relations": 4,
        "accuracy": 0.5,
        "macro_f1": pytest.approx((1 / 2 + 2 / 3) / 2),
        "per_relation": {
            "made": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 0},
            "near": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2},
            "owns": {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2},
        },
    }
    assert relation_row_counts(predicted, gold).tolist() == [
        [1, 1, 1],
        [0, 0, 1],
        [0, 1, 0],
        [1, 1, 1],
        [0, 0, 0],
        [0, 1, 1],
    ]


@settings(max_examples=200, deadline=None)
@given(pairs)
def test_equals_scikit_learn(pairs):
    pairs = [*pairs, ("None", "near")]  # scikit-learn scores no empty list, and a mean needs one gold relation
    predicted, gold = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    scores = relation_scores(predicted, gold)
    micro = precision_recall_fscore_support(
        gold, predicted, labels=["near", "owns", "made"], average="micro", zero_division=0
    )
    assert [scores[name] for name in ("precision", "recall", "f1")] == pytest.approx(list(micro[:3]))
    held = sorted(set(gold) - {"None"})
    macro = precision_recall_fscore_support(gold, predicted, labels=held, average="macro", zero_division=0)
    assert scores["macro_f1"] == pytest.approx(macro[2])
    assert scores["accuracy"] == pytest.approx(accuracy_score(gold, predicted))
    names = sorted(scores["per_relation"])
    table = precision_recall_fscore_support(gold, predicted, labels=names, average=None, zero_division=0)
    for name, *row in zip(names, *(column.tolist() for column in table), strict=True):
        assert list(scores["per_relation"][name].values()) == pytest.approx(row)
    counts = relation_row_counts(predicted, gold).sum(axis=0).tolist()
    assert counts == [scores[f"{kind}_relations"] for kind in ("correct", "predicted", "gold")]


@pytest.mark.parametrize("labels", [[], ["None", "None"]])
def test_no_relation_scores_zero_without_a_warning(labels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = relation_scores(labels, labels)
    assert scores["precision"] == scores["recall"] == scores["f1"] == scores["macro_f1"] == 0.0
    assert scores["accuracy"] == (1.0 if labels else 0.0)
    assert scores["per_relation"] == {}


def test_another_name_for_no_relation():
    gold, predicted = ["no_relation", "near"], ["no_relation", "no_relation"]
    assert relation_scores(predicted, gold, none_label="no_relation")["gold_relations"] == 1
    with pytest.warns(UserWarning, match="every row counts as a relation.*near, no_relation"):
        scores = relation_scores(predicted, gold)
    assert scores["f1"] == scores["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("predicted", "gold", "message"),
    [
        (["near"], ["near", "None"], "1 predictions but 2 references"),
        (["near", "near"], ["near", None], "references, row 1: The label None is not a string"),
        ([4], ["near"], "predictions, row 0: The label 4 is not a string"),
    ],
)
def test_bad_input_names_its_place(predicted, gold, message):
    with pytest.raises(DataError, match=message):
        relation_scores(predicted, gold)

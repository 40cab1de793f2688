"""Entity scores: by hand, against seqeval, and against a CoNLL scorer written for these tests."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import seqeval.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.scheme import IOB2

from modeling_cotpd.errors import DataError
from modeling_cotpd.metrics.entity_score.entity_score import entities_of, entity_row_counts, entity_scores

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-book-title", "I-book-title")


def conll_counts(rows):
    """Correct, predicted and gold chunks as the CoNLL shared tasks count them, token by token.

    A chunk starts at a B tag, and at an I tag after O or after another type; it ends where the next tag is O, B or of
    another type, and at the end of the sentence. A chunk is correct when both sides start it on one token with one
    type and end it on one token.
    """
    correct = predicted = gold = 0
    for predicted_tags, gold_tags in rows:
        open_match = False
        before = ("O", "")
        was = {"p": before, "g": before}
        for pair in [*zip(predicted_tags, gold_tags, strict=True), ("O", "O")]:
            now = {side: tuple((tag + "-").split("-", 1)) for side, tag in zip("pg", pair, strict=True)}
            ends, starts = {}, {}
            for side in "pg":
                (old_letter, old_type), (letter, kind) = was[side], now[side]
                other = old_type != kind
                ends[side] = old_letter != "O" and (letter in "OB" or other)
                starts[side] = letter == "B" or (letter == "I" and (old_letter == "O" or other))
            if open_match and (ends["p"] or ends["g"]):
                correct += ends["p"] and ends["g"]
                open_match = False
            if starts["p"] and starts["g"] and now["p"][1] == now["g"][1]:
                open_match = True
            predicted += starts["p"]
            gold += starts["g"]
            was = now
    return correct, predicted, gold


def strict_spans(tags):
    """IOB2 by its definition: a B tag and the I tags of its type right after it."""
    spans = set()
    for start, tag in enumerate(tags):
        if tag.startswith("B-"):
            end = start + 1
            while end < len(tags) and tags[end] == "I" + tag[1:]:
                end += 1
            spans.add((tag[2:], start, end - 1))
    return spans


@st.composite
def tagged_rows(draw):
    """Rows of (predicted, gold) tags, ill-formed ones too; half of the predictions are gold tags with some changed."""
    rows = []
    for length in draw(st.lists(st.integers(0, 9), min_size=1, max_size=5)):
        tags = st.lists(st.sampled_from(TAGS), min_size=length, max_size=length)
        gold, other = draw(tags), draw(tags)
        keep = draw(st.lists(st.booleans(), min_size=length, max_size=length))
        rows.append(([g if k else o for g, o, k in zip(gold, other, keep, strict=True)], gold))
    return rows


def test_scores_by_hand():
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["I-LOC", "O", "B-PER", "I-LOC"]]
    predicted = [["B-PER", "I-PER", "O", "B-PER"], ["B-LOC", "O", "B-PER", "O"]]
    # Lenient: gold PER(0,1) LOC(3) | LOC(0) PER(2) LOC(3); predicted PER(0,1) PER(3) | LOC(0) PER(2); three agree.
    # Strict: the gold I-LOC tags fall away; gold PER LOC | PER; two agree.
    scores = entity_scores(predicted, gold)
    per_type = scores.pop("per_type")
    assert scores == pytest.approx(
        {
            "precision": 3 / 4,
            "recall": 3 / 5,
            "f1": 6 / 9,
            "correct_entities": 3,
            "predicted_entities": 4,
            "gold_entities": 5,
            "strict_precision": 2 / 4,
            "strict_recall": 2 / 3,
            "strict_f1": 4 / 7,
            "strict_correct_entities": 2,
            "strict_predicted_entities": 4,
            "strict_gold_entities": 3,
            "accuracy": 5 / 8,
        }
    )
    lenient_location = {"precision": 1.0, "recall": 1 / 3, "f1": 1 / 2, "support": 3}
    strict_location = {"strict_precision": 0.0, "strict_recall": 0.0, "strict_f1": 0.0, "strict_support": 1}
    assert per_type["LOC"] == pytest.approx(lenient_location | strict_location)
    assert per_type["PER"]["f1"] == per_type["PER"]["strict_f1"] == pytest.approx(4 / 5)
    assert sorted(per_type) == ["LOC", "PER"]


@pytest.mark.parametrize(
    ("tags", "lenient", "strict"),
    [
        (["B-PER", "B-PER"], {("PER", 0, 0), ("PER", 1, 1)}, {("PER", 0, 0), ("PER", 1, 1)}),
        (["O", "I-PER", "I-PER"], {("PER", 1, 2)}, set()),
        (["B-PER", "I-LOC", "I-LOC"], {("PER", 0, 0), ("LOC", 1, 2)}, {("PER", 0, 0)}),
        (["I-PER", "B-PER", "I-PER"], {("PER", 0, 0), ("PER", 1, 2)}, {("PER", 1, 2)}),
        ([], set(), set()),
    ],
)
def test_readings_of_one_row(tags, lenient, strict):
    assert entities_of(tags) == lenient
    assert entities_of(tags, strict=True) == strict


@settings(max_examples=300, deadline=None)
@given(tagged_rows())
def test_equals_the_independent_scorers(rows):
    predicted, gold = [row[0] for row in rows], [row[1] for row in rows]
    scores = entity_scores(predicted, gold)
    names = ("correct_entities", "predicted_entities", "gold_entities")
    assert tuple(scores[name] for name in names) == conll_counts(rows)
    spans = [(strict_spans(one), strict_spans(other)) for one, other in rows]
    strict = (
        sum(len(one & other) for one, other in spans),
        sum(len(one) for one, _ in spans),
        sum(len(other) for _, other in spans),
    )
    assert tuple(scores["strict_" + name] for name in names) == strict
    for reading, prefix in ((False, ""), (True, "strict_")):
        counts = entity_row_counts(predicted, gold, strict=reading)
        assert counts.sum(axis=0).tolist() == [scores[prefix + name] for name in names]
    assert entity_row_counts(predicted, gold).tolist() == [list(conll_counts([row])) for row in rows]


@settings(max_examples=100, deadline=None)
@given(tagged_rows())
def test_equals_seqeval(rows):
    predicted, gold = [row[0] for row in rows], [row[1] for row in rows]
    scores = entity_scores(predicted, gold)
    for prefix, reading in (("", {}), ("strict_", {"mode": "strict", "scheme": IOB2})):
        for name in ("precision", "recall", "f1"):
            score = getattr(seqeval.metrics, f"{name}_score")(gold, predicted, zero_division=0, **reading)
            assert scores[prefix + name] == pytest.approx(score)
        if scores[prefix + "gold_entities"] + scores[prefix + "predicted_entities"]:
            report = seqeval.metrics.classification_report(
                gold, predicted, output_dict=True, zero_division=0, **reading
            )
            for kind in set(report) - {"micro avg", "macro avg", "weighted avg"}:
                found = [scores["per_type"][kind][prefix + name] for name in ("precision", "recall", "f1", "support")]
                assert found == pytest.approx(
                    [report[kind][n] for n in ("precision", "recall", "f1-score", "support")]
                )
    if any(gold):
        assert scores["accuracy"] == pytest.approx(seqeval.metrics.accuracy_score(gold, predicted))


@pytest.mark.parametrize("rows", [[], [[]], [["O", "O"]]])
def test_no_entity_scores_zero_without_a_warning(rows):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = entity_scores(rows, rows)
    assert scores["f1"] == scores["strict_precision"] == scores["recall"] == 0.0
    assert scores["accuracy"] == (1.0 if rows == [["O", "O"]] else 0.0)
    assert scores["per_type"] == {}
    assert entity_row_counts(rows, rows).shape == (len(rows), 3)


@pytest.mark.parametrize(
    ("predicted", "gold", "message"),
    [
        ([["O"], ["O", "O"]], [["O"], ["O"]], "row 1: 2 predicted tags but 1 gold"),
        ([["O"]], [["O"], ["O"]], "1 predictions but 2 references"),
        ([["O"], ["PER"]], [["O"], ["O"]], "predictions, row 1: Unknown tag 'PER'"),
        ([["O"]], [["B-"]], "references, row 0: Unknown tag 'B-'"),
        ([["E-PER"]], [["O"]], "Unknown tag 'E-PER'"),
        ([[3]], [["O"]], "predictions, row 0: The label 3 is not a string"),
        ([["O"]], [None], "references, row 0: A list of tags is needed"),
        (["O"], [["O"]], "predictions, row 0: A list of tags is needed"),
    ],
)
def test_bad_input_names_its_place(predicted, gold, message):
    with pytest.raises(DataError, match=message):
        entity_scores(predicted, gold)
    with pytest.raises(DataError, match=message):
        entity_row_counts(predicted, gold)


def test_numpy_rows_are_read_like_lists():
    gold = [["B-PER", "I-PER", "O"]]
    assert entity_scores([np.array(gold[0])], gold)["f1"] == 1.0


def test_twitter_2015_holds_the_published_number_of_entities():
    """The two readings of the gold test tags differ by the orphan I- tags."""
    if "COTPD_DATA" not in os.environ:
        pytest.skip("COTPD_DATA does not name a folder with the published data sets")
    path = Path(os.environ["COTPD_DATA"]) / "twitter2015" / "test.txt"
    rows, row = [], []
    for line in path.read_text("utf-8").split("\n"):
        token, _, tag = line.rstrip("\r").partition("\t")
        if tag:
            row.append(tag)
        elif row and not token:
            rows.append(row)
            row = []
    rows += [row] if row else []
    scores = entity_scores(rows, rows)
    assert (len(rows), scores["gold_entities"], scores["strict_gold_entities"]) == (3257, 5207, 5072)
    assert scores["f1"] == scores["strict_f1"] == scores["accuracy"] == 1.0

"""The description of each task fits its data, its model and its score."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from seqeval.metrics import f1_score

from modeling_cotpd.data.schema import LABEL_COLUMNS, gold_labels, make_split
from modeling_cotpd.errors import DataError
from modeling_cotpd.training.tasks import TASKS, best_labels, by_view, decode, is_labelled, score, uncertainties


@pytest.mark.parametrize("name", TASKS)
def test_a_task(name):
    task = TASKS[name]
    assert task.name == name and name in LABEL_COLUMNS
    assert set(task.metrics) <= set(task.metric_names())
    assert {"precision", "recall", "f1"} <= set(task.metrics)
    perfect = {"mner": [["B-PER", "I-PER", "O"]], "mre": ["knows"]}[name]
    assert task.score(perfect, perfect)["f1"] == 1.0


TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
RELATIONS = ["None", "lives_in", "knows"]


def mner(*rows: tuple) -> Dataset:
    return make_split(
        [{"id": str(i), "tokens": tokens, "ner_tags": tags} for i, (tokens, tags) in enumerate(rows)],
        "mner",
        TAGS,
        "t",
    )


def mre(*relations: str | None) -> Dataset:
    span = {"head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2}}
    rows = [{"id": str(i), "tokens": ["a", "b"], **span, "relation": name} for i, name in enumerate(relations)]
    return make_split(rows, "mre", RELATIONS, "t")


def features(*offsets: list) -> Dataset:
    return Dataset.from_dict({"offsets": [list(row) for row in offsets]})


def test_a_word_has_the_tag_of_its_first_token():
    split = mner((["Mira", "Holt"], None), (["to", "Tarn"], None))
    given = features([[0, 0], [0, 2], [2, 4], [5, 9], [0, 0]], [[0, 0], [0, 2], [3, 7], [0, 0]])
    predicted = np.array([[0, 3, 0, 4, 3], [0, 0, 1, 0, -100]])
    assert decode(predicted, given, split) == [["B-PER", "I-PER"], ["O", "B-LOC"]]


def test_a_word_without_tokens_has_no_tag():
    split = mner((["\ufe0f", "Mira"], None))
    assert decode(np.array([[3, 3, 3]]), features([[0, 0], [2, 6], [0, 0]]), split) == [["O", "B-PER"]]


def test_decode_relations():
    given = Dataset.from_dict({"marker_positions": [[1, 2], [1, 2]]})
    assert decode(np.array([2, 0]), given, mre("knows", "None")) == ["knows", "None"]


def test_rows_and_predictions_must_be_as_many():
    with pytest.raises(ValueError):
        decode(np.zeros((3, 4), dtype=int), features([[0, 1]], [[0, 1]]), mner((["a"], None), (["b"], None)))
    with pytest.raises(DataError, match="1 predictions for 2 rows"):
        score(["None"], mre("None", "knows"))


def test_labelled_or_not():
    assert is_labelled(mner((["a"], None), (["b"], ["O"]))) and not is_labelled(mner((["a"], None)))
    assert is_labelled(mre("knows")) and not is_labelled(mre(None))
    assert not is_labelled(Dataset.from_dict({"labels": [[-100, -100]]}))
    assert is_labelled(Dataset.from_dict({"labels": [-100, 0]})) and not is_labelled(Dataset.from_dict({"x": [1]}))


def test_gold_labels():
    assert gold_labels(mner((["a", "b"], ["B-PER", "O"]), (["c"], None))) == [["B-PER", "O"], None]
    assert gold_labels(mre("knows", None, "None")) == ["knows", None, "None"]


def test_scores_leave_out_unlabelled_rows():
    split = mner((["a", "b"], ["B-PER", "O"]), (["c"], None), (["d"], ["B-LOC"]))
    given = score([["B-PER", "O"], ["B-PER"], ["O"]], split)
    assert given["f1"] == pytest.approx(f1_score([["B-PER", "O"], ["B-LOC"]], [["B-PER", "O"], ["O"]]))
    assert given["predicted_entities"] == 1 and given["gold_entities"] == 2
    given = score(["knows", "knows", "knows"], mre("knows", None, "None"))
    assert (given["predicted_relations"], given["gold_relations"], given["precision"], given["recall"]) == (
        2,
        1,
        0.5,
        1,
    )


def test_no_labelled_row():
    with pytest.raises(DataError, match="No row of the split has labels"):
        score([["O"]], mner((["c"], None)))


def test_by_view():
    one, other = np.zeros(2), np.ones(2)
    assert list(by_view(one, "prompt")) == ["prompt"]
    assert list(by_view(one, "knowledge")) == ["knowledge"]
    assert list(by_view(one, "both")) == ["prompt"]  # a run without knowledge columns
    both = by_view((one, other), "both")
    assert list(both) == ["prompt", "knowledge"] and both["knowledge"] is other


def test_best_labels():
    logits = torch.tensor([[0.1, 0.9], [0.8, 0.2]])
    assert best_labels(logits, None)[:, 0].tolist() == [1, 0]
    assert best_labels(logits, None)[:, 1].tolist() == pytest.approx([0.310026, 0.354344], abs=1e-6)
    assert [view[:, 0].tolist() for view in best_labels((logits, -logits), None)] == [[1, 0], [0, 1]]


def test_uncertainties():
    doubts = np.array([[0.9, 0.25, 0.5, 0.9], [0.9, 0.125, 0.9, 0.9]])
    rows = Dataset.from_dict({"offsets": [[(0, 0), (0, 1), (1, 3), (0, 0)], [(0, 0), (0, 1), (0, 0)]]})
    assert uncertainties(doubts, rows) == [0.75, 0.125]
    assert uncertainties(doubts[0], Dataset.from_dict({"tokens": [["a"]] * 4})) == [0.9, 0.25, 0.5, 0.9]

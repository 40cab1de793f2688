"""The record: features, checks, hashes."""

import pytest

from modeling_cotpd.data.schema import bio_label_names, features_for, gold_hash, label_names_of, make_split, task_of
from modeling_cotpd.errors import DataError

TAGS = ["O", "B-PER", "I-PER"]
MNER = {"id": "1", "tokens": ["Ada", "runs"], "ner_tags": ["B-PER", "O"]}
MRE = {
    "id": "1",
    "tokens": ["a", "b"],
    "head": {"start": 0, "end": 1},
    "tail": {"start": 1, "end": 2},
    "relation": "x",
}


def test_a_split_of_each_task():
    split = make_split(
        [MNER, {**MNER, "id": "2", "ner_tags": None, "caption": "a park", "place": "here"}], "mner", TAGS, "f"
    )
    assert split.features == features_for("mner", TAGS) and task_of(split.features) == "mner"
    assert label_names_of(split.features) == TAGS
    assert split[0] == {**MNER, "ner_tags": [1, 0], "image": None} | dict.fromkeys(
        ["caption", "cot_noun", "cot_sentence", "cot_multimodality"], ""
    ) | {"glosses": []}
    assert split[1]["ner_tags"] is None and split[1]["caption"] == "a park"
    split = make_split([MRE, {**MRE, "id": "2", "relation": None}], "mre", ["None", "x"], "f")
    assert split["relation"] == [1, None] and label_names_of(split.features) == ["None", "x"]


@pytest.mark.parametrize(
    ("task", "change", "message"),
    [
        ("mner", {"ner_tags": ["O"]}, "f, row 1: 2 tokens but 1 tags"),
        ("mner", {"ner_tags": ["O", "B-LOC"]}, "f, row 1: Unknown label 'B-LOC'.*O, B-PER, I-PER"),
        ("mner", {"tokens": [], "ner_tags": []}, "f, row 1: The post has no tokens"),
        ("mner", {"tokens": ["", "x"]}, "f, row 1: A token is empty"),
        ("mner", {"id": "1"}, "f, row 1: The id '1' was used before, at f, row 0"),
        ("mner", {"place": "train.txt, line 9", "ner_tags": []}, "^train.txt, line 9: 2 tokens but 0 tags"),
        ("mre", {"tail": {"start": 1, "end": 3}}, r"f, row 1: The tail span \[1, 3\) lies outside the 2 tokens"),
        ("mre", {"head": {"start": 1, "end": 1}}, r"f, row 1: The head span \[1, 1\)"),
        ("mre", {"relation": "y"}, "f, row 1: Unknown label 'y'"),
    ],
)
def test_faults_name_the_row(task, change, message):
    row, names = {"mner": (MNER, TAGS), "mre": (MRE, ["None", "x"])}[task]
    with pytest.raises(DataError, match=message):
        make_split([row, {**row, "id": "2", **change}], task, names, "f")


def test_missing_columns_and_tasks():
    with pytest.raises(DataError, match="The column 'ner_tags' is missing"):
        make_split([{"id": "1", "tokens": ["a"]}], "mner", TAGS, "f")
    with pytest.raises(DataError, match="Unknown task 'ner'"):
        features_for("ner", TAGS)
    assert bio_label_names(["B", "A", "B"]) == ["O", "B-A", "I-A", "B-B", "I-B"]


def test_gold_hash_sees_gold_and_nothing_else():
    def of(names=TAGS, **change):
        return gold_hash(make_split([{**MNER, **change}], "mner", names, "f"))

    assert of() == of(caption="x", cot_noun="y", image="z")
    assert of() == of(names=["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]), "names count, not ids"
    assert len({of(), of(id="2"), of(tokens=["Ada", "ran"]), of(ner_tags=["O", "O"]), of(ner_tags=None)}) == 5

"""Names of test posts, divided by where they stand in training."""

from pathlib import Path

import numpy as np
import pytest
from support.small_sweep import LABELS

from experiments.store import Exposure, read_exposure
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.metrics.entity_score.entity_score import entity_row_counts

LABELLED = [["Mira", "sings", "in", "Port", "Elm"], ["a", "FENWICK", "day"]]
OTHERS = [["Dario", "Holt", "sings"], ["Port"]]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (["mira"], "labelled"),
        (["Fenwick"], "labelled"),
        (["Port", "Elm"], "labelled"),
        (["Dario"], "others"),
        (["Port", "sings"], "new"),  # both words, but not beside one another
        (["Elm", "a"], "new"),  # beside one another only across two posts
        (["Mir"], "new"),  # part of a word
        (["a"], "labelled"),
    ],
)
def test_a_name_stands_where_its_words_stand(name: list[str], place: str):
    assert Exposure(LABELLED, OTHERS).place(name) == place


def test_the_places_add_up_to_all_names():
    rows = [
        {"tokens": ["Mira", "met", "Dario"], "gold": ["B-PER", "O", "B-PER"], "prompt": ["B-PER", "O", "O"]},
        {"tokens": ["Quill", "in", "Elm"], "gold": ["B-PER", "O", "O"], "prompt": ["I-PER", "O", "B-LOC"]},
    ]
    counts = Exposure(LABELLED, OTHERS).counts(rows, "prompt")
    whole = entity_row_counts([row["prompt"] for row in rows], [row["gold"] for row in rows])
    np.testing.assert_array_equal(sum(counts.values()), whole)
    assert counts["labelled"].tolist() == [[1, 1, 1], [0, 1, 0]]
    assert counts["others"].tolist() == [[0, 0, 1], [0, 0, 0]]
    assert counts["new"].tolist() == [[0, 0, 0], [1, 1, 1]]


def test_a_folder_is_divided_as_a_run_divides_it(tmp_path: Path):
    rows = [{"id": f"p{n}", "tokens": [f"name{n}"], "ner_tags": ["B-PER"]} for n in range(9)]
    rows.append({"id": "p9", "tokens": ["name9"], "ner_tags": None})
    write_prepared({"train": make_split(rows, "mner", LABELS, "train")}, DatasetInfo("x", "mner", LABELS), tmp_path)

    def labelled(*chosen) -> set[int]:
        exposure = read_exposure(tmp_path, *chosen)
        return {n for n in range(10) if exposure.place([f"name{n}"]) == "labelled"}

    assert labelled(None, 0) == set(range(9)), "a post without a label is among the others"
    small, large = labelled(3, 7), labelled(6, 7)
    assert small < large and len(small | {9}) in (3, 4) and labelled(3, 8) != small

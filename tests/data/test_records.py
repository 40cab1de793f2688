"""A user's own data: folders of JSON Lines, Parquet and Arrow files."""

import json
import zipfile

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value

from modeling_cotpd.data.records import read_folder
from modeling_cotpd.errors import DataError

MNER = {"tokens": ["Ada", "runs"], "ner_tags": ["B-PER", "O"]}
MRE = {"tokens": ["Ada", "met", "Bo"], "head": {"start": 0, "end": 1}, "tail": [2, 3], "relation": "peer"}
FEATURES = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=["O", "B-PER", "I-PER"]))})


def write(folder, name, *rows):
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_json_lines_with_names(tmp_path):
    write(tmp_path, "train.jsonl", {**MNER, "id": 7, "caption": "a park"}, {**MNER, "ner_tags": None})
    rows, files, declared = read_folder(write(tmp_path, "dev.json", MNER), "mner")
    assert [path.name for path in files] == ["train.jsonl", "dev.json"] and declared is None
    labelled, unlabelled = rows["train"]
    assert (labelled["id"], labelled["caption"], unlabelled["id"]) == ("7", "a park", "train-1")
    assert unlabelled["ner_tags"] is None and unlabelled["cot_noun"] == ""
    assert rows["validation"][0]["id"] == "validation-0"


def test_relations_with_either_kind_of_span(tmp_path):
    rows, *_ = read_folder(write(tmp_path, "train.jsonl", MRE), "mre")
    assert rows["train"][0]["head"] == {"start": 0, "end": 1} and rows["train"][0]["tail"] == {"start": 2, "end": 3}


@pytest.mark.parametrize("saved", ["parquet", "save_to_disk", "load_dataset"])
def test_declared_ids_become_names(tmp_path, saved):
    dataset = Dataset.from_dict({"tokens": [["Ada", "runs"], ["x"]], "ner_tags": [[1, 0], None]}, features=FEATURES)
    if saved == "save_to_disk":
        DatasetDict(train=dataset, val=dataset).save_to_disk(tmp_path / "d")
    else:
        (tmp_path / "d").mkdir()
        dataset.to_parquet(
            tmp_path / "d" / ("train.parquet" if saved == "parquet" else "train-00000-of-00001.parquet")
        )
    rows, files, declared = read_folder(tmp_path / "d", "mner")
    assert declared == ["O", "B-PER", "I-PER"]
    assert [row["ner_tags"] for row in rows["train"]] == [["B-PER", "O"], None]
    assert len(files) == 1 + (saved == "save_to_disk") and ("validation" in rows) == (saved == "save_to_disk")


def test_undeclared_ids_need_label_names(tmp_path):
    write(tmp_path, "train.jsonl", {**MNER, "ner_tags": [1, 0]})
    with pytest.raises(DataError, match=r"train\.jsonl, line 1: The column 'ner_tags' holds numbers.*--labels"):
        read_folder(tmp_path, "mner")
    rows, *_ = read_folder(tmp_path, "mner", ["O", "B-PER"])
    assert rows["train"][0]["ner_tags"] == ["B-PER", "O"]
    with pytest.raises(DataError, match="the id 1, but there are 1 labels"):
        read_folder(tmp_path, "mner", ["O"])


@pytest.mark.parametrize(
    ("task", "row", "message"),
    [
        (
            "mner",
            {"tokens": ["a"]},
            "line 2: The column 'ner_tags' is missing; the row has tokens. A row needs tokens,",
        ),
        ("mner", MRE, "'ner_tags' is missing; the row has .*, relation. Its columns are those of --task mre."),
        ("mre", MNER, "'head' is missing; the row has tokens, .* Its columns are those of --task mner."),
        ("mner", {"text": "Ada runs"}, "'tokens' is missing; the row has text. A row with a text needs .* as spans"),
        ("mner", {**MNER, "tokens": "Ada runs"}, "line 2: The column 'tokens' does not hold a list"),
        ("mner", {**MNER, "ner_tags": "O"}, "line 2: The column 'ner_tags' holds 'O'"),
        ("mner", {**MNER, "ner_tags": [1.5, "O"]}, "line 2: The column 'ner_tags' holds 1.5"),
        ("mner", {**MNER, "caption": ["x"]}, "line 2: The column 'caption' holds a list"),
        ("mre", {**MRE, "tail": [2]}, "line 2: 'tail' is .2., not a span"),
        ("mre", {**MRE, "relation": ["peer"]}, "line 2: The column 'relation' holds"),
    ],
)
def test_faults_name_line_and_column(tmp_path, task, row, message):
    with pytest.raises(DataError, match=message):
        read_folder(write(tmp_path, "train.jsonl", {"mner": MNER, "mre": MRE}[task], row), task)


def test_columns_that_are_left_out_are_logged(tmp_path, caplog):
    read_folder(write(tmp_path, "train.jsonl", {**MNER, "likes": 3}), "mner")
    assert "left out: likes" in caplog.text


def test_sources_that_cannot_be_read(tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"train\.parquet: The file is not Parquet"):
        read_folder(tmp_path, "mner")
    with pytest.raises(DataError, match=r"The source is a file. Put it into a folder as train\.parquet"):
        read_folder(tmp_path / "train.parquet", "mner")
    with pytest.raises(DataError, match="no such folder"):
        read_folder(tmp_path / "nothing" / "here" / "at all", "mner")
    (tmp_path / "conll").mkdir()
    (tmp_path / "conll" / "train.txt").write_text("Ada O\n")
    with pytest.raises(DataError, match="CoNLL files hold no relations"):
        read_folder(tmp_path / "conll", "mre")


def test_a_split_without_posts(tmp_path):
    (tmp_path / "train.conll").write_text("-DOCSTART- -X- O\n\n")
    with pytest.raises(DataError, match=r"train\.conll: There are no posts"):
        read_folder(tmp_path, "mner")
    (tmp_path / "train.conll").unlink()
    Dataset.from_dict({"tokens": [], "ner_tags": []}, features=FEATURES).to_parquet(tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"train\.parquet: There are no rows"):
        read_folder(tmp_path, "mner")


def test_shards_are_one_split(tmp_path):
    for number in range(2):
        write(tmp_path, f"train-0000{number}-of-00002.jsonl", MNER, MNER)
    rows, files, _ = read_folder(tmp_path, "mner")
    assert [row["id"] for row in rows["train"]] == [f"train-{number}" for number in range(4)] and len(files) == 2


def test_splits_that_declare_different_labels(tmp_path):
    other = Features({**FEATURES, "ner_tags": List(ClassLabel(names=["O", "B-LOC", "I-LOC"]))})
    for name, features in (("train", FEATURES), ("test", other)):
        Dataset.from_dict({"tokens": [["a"]], "ner_tags": [[1]]}, features=features).to_parquet(
            tmp_path / f"{name}.parquet"
        )
    with pytest.raises(DataError, match="declare different labels"):
        read_folder(tmp_path, "mner")


def test_archives_are_not_unpacked(tmp_path):
    """`datasets` would: here one whose member leads out of the folder."""
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("../escaped.jsonl", '{"tokens": ["a"], "ner_tags": ["O"]}')
    with pytest.raises(DataError, match=r"train\.zip: Archives are not unpacked"):
        read_folder(tmp_path, "mner")
    assert not (tmp_path.parent / "escaped.jsonl").exists()

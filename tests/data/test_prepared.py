"""Prepared folders, written whole and read back."""

import json
import shutil

import pyarrow
import pyarrow.parquet
import pytest
from datasets import ClassLabel, Dataset, Features, Image, List, Value

from modeling_cotpd.data import parquet
from modeling_cotpd.data.prepared import DatasetInfo, read_info, read_prepared, write_prepared
from modeling_cotpd.data.schema import gold_hash, make_split
from modeling_cotpd.errors import DataError, SettingError

TAGS = ["O", "B-PER", "I-PER"]


def split(count=2):
    rows = [{"id": str(i), "tokens": ["Ada"], "ner_tags": ["B-PER"], "caption": "a park"} for i in range(count)]
    return make_split([*rows, {"id": "x", "tokens": ["y"], "ner_tags": None}], "mner", TAGS, "test")


def write(folder):
    return write_prepared({"test": split(), "train": split(3)}, DatasetInfo("x", "mner", TAGS), folder)


def test_round_trip(tmp_path):
    info = write(tmp_path / "a" / "x")
    splits, read = read_prepared(tmp_path / "a" / "x")
    assert list(splits) == ["train", "test"] and read == info
    assert splits["test"].features == split().features and splits["test"].to_list() == split().to_list()
    assert info.splits["test"] == {"rows": 3, "gold_hash": gold_hash(split())}
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["x"], "no staging folder is left"


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(SettingError, match="not empty"):
        write(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes"]


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    real = Dataset.to_parquet

    def full(self, path):
        if "test" in path.name:
            raise OSError("no space left")
        return real(self, path)

    monkeypatch.setattr(Dataset, "to_parquet", full)
    with pytest.raises(OSError, match="no space"):
        write_prepared({"train": split(), "test": split()}, DatasetInfo("x", "mner", TAGS), tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def change_metadata(folder, **change):
    path = folder / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


def test_folders_that_are_not_whole(tmp_path):
    with pytest.raises(DataError, match=r"no dataset\.json here.*cotpd prepare"):
        read_prepared(tmp_path)
    write(tmp_path / "x")
    change_metadata(tmp_path / "x", label_names=["O"])
    with pytest.raises(DataError, match="Task or labels differ"):
        read_prepared(tmp_path / "x")
    change_metadata(tmp_path / "x", label_names=TAGS, splits={"train": {"rows": 5, "gold_hash": ""}})
    with pytest.raises(DataError, match=r"train\.parquet: The file has 4 rows, dataset\.json says 5"):
        read_prepared(tmp_path / "x")
    change_metadata(tmp_path / "x", splits={"validation": {"rows": 1, "gold_hash": ""}})
    with pytest.raises(DataError, match="names the split 'validation'"):
        read_prepared(tmp_path / "x")
    change_metadata(tmp_path / "x", colour="red")
    with pytest.raises(DataError, match="not what cotpd prepare writes"):
        read_prepared(tmp_path / "x")
    write(tmp_path / "y")
    (tmp_path / "y" / "train.parquet").write_bytes(b"cut off")
    with pytest.raises(DataError, match=r"train\.parquet: The file is not Parquet"):
        read_prepared(tmp_path / "y")


def test_a_prepared_folder_can_be_replaced_and_no_other(tmp_path):
    write(tmp_path / "x")
    write_prepared({"test": split(5)}, DatasetInfo("y", "mner", TAGS), tmp_path / "x", overwrite=True)
    assert read_prepared(tmp_path / "x")[1].name == "y" and not (tmp_path / "x" / "train.parquet").exists()
    (tmp_path / "x" / "notes.txt").write_text("mine")
    with pytest.raises(SettingError, match="not empty"):
        write_prepared({"test": split()}, DatasetInfo("z", "mner", TAGS), tmp_path / "x", overwrite=True)
    assert read_prepared(tmp_path / "x")[1].name == "y"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_what_a_killed_writer_left_is_cleared(tmp_path):
    (tmp_path / ".x.saving").mkdir()
    (tmp_path / ".x.saving" / "train.parquet").write_bytes(b"half")
    write(tmp_path / "x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_secrets_in_addresses_are_not_written(tmp_path):
    made = {
        "captions": {"base_url": "https://me:SECRET@host/v1?key=SECRET"},
        "knowledge": [{"url": "http://SECRET@h"}],
    }
    info = DatasetInfo("x", "mner", TAGS, provenance=made, augmentation={"at": "https://h/?SECRET"})
    written = write_prepared({"train": split()}, info, tmp_path / "x")
    assert "SECRET" not in (tmp_path / "x" / "dataset.json").read_text()
    change_metadata(tmp_path / "x", knowledge="from http://me:SECRET@host")
    assert read_info(tmp_path / "x").knowledge == "from http://REDACTED@host", "a folder of an older version has them"
    change_metadata(tmp_path / "x", knowledge="")
    assert read_info(tmp_path / "x") == written and written.provenance["captions"]["base_url"].startswith(
        "https://RED"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"splits": {"train": {}}},
        {"splits": {"train": 5}},
        {"splits": {"train": {"rows": "3", "gold_hash": ""}}},
        {"splits": {"train": {"rows": True, "gold_hash": ""}}},
        {"splits": None},
        {"splits": ["train"]},
        {"splits": {"../elsewhere": {"rows": 4, "gold_hash": ""}}},
        {"splits": {"train*": {"rows": 4, "gold_hash": ""}}},
        {"splits": {"": {"rows": 4, "gold_hash": ""}}},
        {"task": "ner"},
        {"task": None},
        {"name": 3},
        {"label_names": "O"},
        {"label_names": ["O", "O"]},
        {"label_names": ["O", 3]},
        {"sources": {"a": 1}},
        {"provenance": []},
        {"provenance": {"knowledge": {}}},
        {"captioner": ["blip2"]},
    ],
    ids=json.dumps,
)
def test_odd_descriptions_are_refused_in_one_sentence(tmp_path, change):
    write(tmp_path / "x")
    shutil.copy(tmp_path / "x" / "train.parquet", tmp_path / "elsewhere.parquet")
    change_metadata(tmp_path / "x", **change)
    with pytest.raises(DataError, match=r"dataset\.json: The file is not what cotpd prepare writes"):
        read_prepared(tmp_path / "x")


@pytest.mark.parametrize("content", ["", "[]", "null", "{", '{"a": ' * 5000, "\udc80", "NaN"])
def test_descriptions_that_are_none(tmp_path, content):
    write(tmp_path / "x")
    (tmp_path / "x" / "dataset.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"dataset\.json"):
        read_prepared(tmp_path / "x")


def test_a_split_that_is_a_link_out_of_the_folder(tmp_path):
    write(tmp_path / "x")
    (tmp_path / "x" / "train.parquet").rename(tmp_path / "elsewhere.parquet")
    (tmp_path / "x" / "train.parquet").symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(DataError, match="a link that leads out"):
        read_prepared(tmp_path / "x")


def replace_train(folder, rows, **features):
    """Put other rows or kinds of columns under the description of a folder."""
    kinds = {**split().features, **features}
    Dataset.from_list(rows, Features(kinds)).to_parquet(folder / "train.parquet")
    change_metadata(folder, splits={"train": {"rows": len(rows), "gold_hash": ""}})


@pytest.mark.parametrize(
    "change",
    [
        {"ner_tags": [0, 1]},
        {"ner_tags": [None]},
        {"tokens": [None]},
        {"tokens": None},
        {"caption": None},
        {"id": None},
    ],
    ids=json.dumps,
)
def test_rows_whose_gold_does_not_fit(tmp_path, change):
    write(tmp_path / "x")
    replace_train(tmp_path / "x", [{**split()[0], **change}])
    with pytest.raises(DataError, match=r"train\.parquet, batch 0: The gold of a row does not fit"):
        read_prepared(tmp_path / "x")


@pytest.mark.parametrize("label", [3, 99, -1])
def test_label_ids_out_of_range(tmp_path, label):
    write(tmp_path / "x")
    table = pyarrow.parquet.read_table(tmp_path / "x" / "train.parquet")
    place = table.schema.get_field_index("ner_tags")
    ids = pyarrow.array([[label]] * len(table), table.schema.field("ner_tags").type)
    pyarrow.parquet.write_table(table.set_column(place, table.schema.field(place), ids), tmp_path / "x/train.parquet")
    with pytest.raises(DataError, match=f"A label is {label}, but there are 3 labels"):
        read_prepared(tmp_path / "x")


@pytest.mark.parametrize(
    "features",
    [{"image": Image()}, {"caption": List(Value("string"))}, {"ner_tags": List(Value("int64"))}, {"more": Image()}],
    ids=lambda features: next(iter(features)),
)
def test_kinds_of_columns_that_would_open_files(tmp_path, features):
    """An `Image` column of `datasets` opens whatever file or address a row names."""
    write(tmp_path / "x")
    row = {**split()[0], "image": None, "caption": None, "more": None}
    row = {name: row[name] for name in {**split().features, **features}}
    replace_train(tmp_path / "x", [row], **features)
    with pytest.raises(DataError, match=r"train\.parquet"):
        read_prepared(tmp_path / "x")


def test_relations_whose_span_does_not_fit(tmp_path):
    row = {"id": "1", "tokens": ["Ada", "met"], "head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2}}
    rows = make_split([{**row, "relation": "x"}], "mre", ["x"], "t")
    write_prepared({"train": rows}, DatasetInfo("x", "mre", ["x"]), tmp_path / "x")
    assert len(read_prepared(tmp_path / "x")[0]["train"]) == 1
    Dataset.from_list([{**rows[0], "tail": {"start": 1, "end": 3}}], rows.features).to_parquet(
        tmp_path / "x" / "train.parquet"
    )
    with pytest.raises(DataError, match="does not fit"):
        read_prepared(tmp_path / "x")


def test_a_split_that_unpacks_to_far_more_than_its_size(tmp_path, monkeypatch):
    write(tmp_path / "x")
    replace_train(tmp_path / "x", [{**split()[0], "caption": "w" * 100_000}] * 2000)
    monkeypatch.setattr(parquet, "MAX_UNPACKED_BYTES", 50_000_000)
    with pytest.raises(DataError, match=r"train\.parquet: The file unpacks to more than 50,000,000 bytes"):
        read_prepared(tmp_path / "x")


def test_a_folder_without_glosses_gets_them_from_the_noun_grain(tmp_path):
    """As folders were prepared before the column existed."""
    write(tmp_path / "x")
    rows = [{**split()[0], "cot_noun": "1. Ada (a poet)"}]
    Dataset.from_list(rows, split().features).remove_columns("glosses").to_parquet(tmp_path / "x" / "train.parquet")
    change_metadata(tmp_path / "x", splits={"train": {"rows": 1, "gold_hash": ""}})
    assert read_prepared(tmp_path / "x")[0]["train"]["glosses"] == [[{"mention": "Ada", "gloss": "a poet"}]]


def test_other_widths_of_numbers_and_texts_are_read(tmp_path):
    write(tmp_path / "x")
    replace_train(
        tmp_path / "x",
        [split()[0]],
        caption=Value("large_string"),
        ner_tags=List(ClassLabel(names=TAGS)),
    )
    assert len(read_prepared(tmp_path / "x")[0]["train"]) == 1

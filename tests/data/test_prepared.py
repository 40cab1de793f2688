"""Prepared folders, written whole and read back."""

import json

import pytest
from datasets import Dataset

from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, write_prepared
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

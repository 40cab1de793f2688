"""Which files are read of a folder, and that one from elsewhere leads nowhere but into itself."""

import json

import pytest
from datasets import Dataset, DatasetDict

from modeling_cotpd.data.folders import find_split_file, find_split_files
from modeling_cotpd.errors import DataError

ROW = '{"tokens": ["Ada"], "ner_tags": ["O"]}\n'


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(ROW)
    return folder


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["test.jsonl", "train.jsonl", "dev.txt"], {"train": 1, "validation": 1, "test": 1}),
        (["Train.JSONL"], {"train": 1}),
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "README.md"], {"train": 2}),
        (["train_0.jsonl", "train_1.jsonl", "rel2id.json", "notes.txt"], {"train": 2}),
        (["default/train/0000.parquet", "default/test/0000.parquet"], {"train": 1, "test": 1}),
        (["train/a.jsonl", "train/b.jsonl", "val/a.jsonl"], {"train": 2, "validation": 1}),
    ],
)
def test_usual_layouts(tmp_path, names, found):
    assert {split: len(paths) for split, paths in find_split_files(fill(tmp_path, *names)).items()} == found


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train.jsonl", "train.txt"], "Several files could be the train split"),
        (["val.jsonl", "dev.jsonl"], "Several files could be the validation split"),
        (["train-00000-of-00002.parquet"], "1 of the 2 files of the train split"),
        (["train.jsonl", "trian.jsonl"], r"trian\.jsonl: The name is nearly that"),
        (["train.jsonl", "validate.jsonl"], r"validate\.jsonl: The name is nearly that"),
        (["train.jsonl", "test.csv"], r"test\.csv: Files that end in \.csv are not read\. Name it like train\.jsonl"),
        (["train.jsonl", "test.jsonl.gz"], r"test\.jsonl\.gz: The name is nearly that"),
        (["training.jsonl"], "The name is nearly that"),
        (["posts.jsonl"], "no files of splits"),
        (["posts.zip"], "Archives are not unpacked"),
    ],
)
def test_folders_that_are_refused(tmp_path, names, message):
    with pytest.raises(DataError, match=message):
        find_split_files(fill(tmp_path, *names))


def test_links_out_of_the_folder(tmp_path):
    fill(tmp_path, "outside.jsonl", "folder/dev.jsonl", "more/a.jsonl")
    (tmp_path / "folder" / "train.jsonl").symlink_to(tmp_path / "outside.jsonl")
    with pytest.raises(DataError, match=r"train\.jsonl: The file is a link that leads out"):
        find_split_files(tmp_path / "folder")
    (tmp_path / "folder" / "train.jsonl").unlink()
    (tmp_path / "folder" / "dev.jsonl").rename(tmp_path / "folder" / "real.jsonl")
    (tmp_path / "folder" / "train.jsonl").symlink_to("real.jsonl")
    assert list(find_split_files(tmp_path / "folder")) == ["train"], "a link within the folder is fine"
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "train").symlink_to(tmp_path / "more")
    with pytest.raises(DataError, match="leads out"):
        find_split_files(tmp_path / "linked")


def test_a_snapshot_in_the_cache_of_the_hub_links_to_its_blobs(tmp_path):
    fill(tmp_path, "blobs/123")
    (tmp_path / "snapshots" / "abc").mkdir(parents=True)
    (tmp_path / "snapshots" / "abc" / "train.jsonl").symlink_to("../../blobs/123")
    assert list(find_split_files(tmp_path / "snapshots" / "abc")) == ["train"]


def test_metadata_of_the_hub_is_not_followed(tmp_path):
    """Its `data_files` may name any file or address; only files named after splits are read."""
    fill(tmp_path, "train.jsonl")
    paths = ["/etc/passwd", "../elsewhere.jsonl", "https://example.com/x.jsonl"]
    configs = "".join(f"  - split: {split}\n    path: {path}\n" for split, path in zip("abc", paths, strict=True))
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n- config_name: default\n  data_files:\n{configs}---\n")
    assert find_split_files(tmp_path) == {"train": [tmp_path / "train.jsonl"]}


@pytest.fixture
def saved(tmp_path):
    rows = Dataset.from_list([{"tokens": ["Ada"], "ner_tags": ["O"]}])
    DatasetDict(train=rows, dev=rows).save_to_disk(tmp_path / "saved")
    fill(tmp_path, "elsewhere/data.arrow")
    return tmp_path / "saved"


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("dataset_dict.json", {"splits": ["../elsewhere"]}),
        ("dataset_dict.json", {"splits": "train"}),
        ("dataset_dict.json", ["train"]),
        ("dataset_dict.json", {"splits": ["valid", "dev"]}),
        ("train/state.json", {"_data_files": [{"filename": "../../elsewhere/data.arrow"}]}),
        ("train/state.json", {"_data_files": [{"filename": "absent.arrow"}]}),
        ("train/state.json", {"_data_files": [3]}),
        ("train/state.json", {"_data_files": None}),
        ("train/state.json", None),
    ],
)
def test_descriptions_of_saved_folders_that_are_odd(saved, file, value):
    assert list(find_split_files(saved)) == ["train", "validation"]
    (saved / file).write_text(json.dumps(value))
    with pytest.raises(DataError):
        find_split_files(saved)


def test_two_names_of_one_split_in_a_saved_folder(saved):
    (saved / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "valid", "dev"]}))
    with pytest.raises(DataError, match="Two splits are both validation"):
        find_split_files(saved)


def test_places_that_are_no_folder(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        find_split_files(tmp_path / "absent")
    with pytest.raises(DataError, match="no data set of this name could be fetched"):
        find_split_files("nobody-at-all/not-there")


def test_split_files_are_found_under_every_alias(tmp_path):
    assert find_split_file(tmp_path, "validation", ["{split}.txt"]) is None
    (tmp_path / "dev.txt").write_text("x")
    assert find_split_file(tmp_path, "validation", ["{split}.txt"]) == tmp_path / "dev.txt"
    (tmp_path / "val.txt").write_text("x")
    with pytest.raises(DataError, match=r"Several files could be the validation split: dev\.txt, val\.txt"):
        find_split_file(tmp_path, "validation", ["{split}.txt"])

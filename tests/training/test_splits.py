"""The splits of a run: samples, labels taken away, unlabelled folders, coverage."""

import logging

import pytest

from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import label_names_of, make_split
from modeling_cotpd.errors import DataError
from modeling_cotpd.training.arguments import DataArguments
from modeling_cotpd.training.splits import labelled_rows, load_splits

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
OTHER_TAGS = ["O", "B-BAND", "I-BAND"]
SIZES = {"train": 20, "validation": 6, "test": 5}


def mner_folder(path, tags=TAGS, sizes=SIZES, prefix="p", text="{} sings in the rain", **columns) -> str:
    splits = {}
    for name, size in sizes.items():
        rows = []
        for i in range(size):
            tokens = text.format(f"{prefix}{i}").split()
            ner_tags = [tags[-2]] + ["O"] * (len(tokens) - 1)
            rows.append({"id": f"{prefix}-{name}-{i}", "tokens": tokens, "ner_tags": ner_tags, **columns})
        splits[name] = make_split(rows, "mner", tags, name)
    write_prepared(splits, DatasetInfo("fiction", "mner", list(tags)), path)
    return str(path)


def mre_folder(path) -> str:
    span = {"head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2}}
    rows = [{"id": str(i), "tokens": ["a", "b"], **span, "relation": "knows"} for i in range(4)]
    split = make_split(rows, "mre", ["None", "knows"], "train")
    write_prepared({"train": split}, DatasetInfo("fiction", "mre", ["None", "knows"]), path)
    return str(path)


def load(folder, task="mner", **settings):
    return load_splits(DataArguments(dataset_dir=folder, **settings), task)[0]


def labelled(split) -> list[str]:
    return [row["id"] for row in split if row["ner_tags"] is not None]


def test_everything_by_default(tmp_path):
    splits = load(mner_folder(tmp_path / "a"))
    assert {name: len(split) for name, split in splits.items()} == SIZES
    assert splits["train"]["id"][:] == [f"p-train-{i}" for i in range(20)]


def test_a_training_sample_is_random_and_deterministic(tmp_path):
    folder = mner_folder(tmp_path / "a")
    one, again, other = (load(folder, max_train_samples=8, sample_seed=seed)["train"]["id"][:] for seed in (3, 3, 4))
    assert one == again != other and len(set(one)) == 8
    assert sorted(one) != [f"p-train-{i}" for i in range(8)]


def test_a_smaller_sample_is_part_of_a_larger_one(tmp_path):
    folder = mner_folder(tmp_path / "a")
    assert load(folder, max_train_samples=12)["train"]["id"][:5] == load(folder, max_train_samples=5)["train"]["id"][:]


def test_a_sample_larger_than_the_data_is_all_of_it(tmp_path):
    folder = mner_folder(tmp_path / "a")
    assert sorted(load(folder, max_train_samples=99)["train"]["id"]) == sorted(load(folder)["train"]["id"])


def test_labelled_rows(tmp_path, caplog):
    train = load(mner_folder(tmp_path / "a"), max_labelled_samples=5)["train"]
    caplog.set_level(logging.INFO)
    kept = labelled_rows(train)
    assert kept["id"][:] == labelled(train) and len(kept) == 5 and "15 rows without labels are left out" in caplog.text
    with pytest.raises(DataError, match="No training row has a label"):
        labelled_rows(train.select(range(5, 20)))


@pytest.mark.parametrize("train_samples", [None, 12, 20, 99])
def test_some_rows_keep_their_labels(tmp_path, train_samples):
    """Which rows keep them is random, whether or not the training sample is all of the data."""
    folder = mner_folder(tmp_path / "a")
    train = load(folder, max_train_samples=train_samples, max_labelled_samples=5)["train"]
    assert len(train) == min(20, train_samples or 20) and len(set(train["id"])) == len(train)
    assert len(labelled(train)) == 5 and labelled(train) == train["id"][:5]
    assert sorted(labelled(train)) != [f"p-train-{i}" for i in range(5)]
    assert labelled(train) == load(folder, max_train_samples=5)["train"]["id"][:], "the same five as a sample of five"
    assert all(row["ner_tags"] == [3, 0, 0, 0, 0] for row in train if row["ner_tags"] is not None)
    assert label_names_of(train.features) == TAGS


def test_more_labels_than_rows_takes_none_away(tmp_path):
    train = load(mner_folder(tmp_path / "a"), max_train_samples=6, max_labelled_samples=7)["train"]
    assert len(labelled(train)) == len(train) == 6


def test_labels_of_other_splits_stay(tmp_path):
    splits = load(mner_folder(tmp_path / "a"), max_labelled_samples=1)
    assert len(labelled(splits["validation"])) == 6 and len(labelled(splits["test"])) == 5


def test_unlabelled_folders_with_other_labels_join(tmp_path):
    folder = mner_folder(tmp_path / "a")
    more = mner_folder(tmp_path / "b", OTHER_TAGS, {"train": 7, "test": 3}, prefix="q", caption="a stage")
    third = mner_folder(tmp_path / "c", TAGS, {"train": 2}, prefix="r")
    splits = load(folder, max_train_samples=4, unlabelled_dataset_dir=[more, third])
    train = splits["train"]
    assert [len(splits[name]) for name in ("train", "validation", "test")] == [4 + 7 + 2, 6, 5]
    assert len(labelled(train)) == 4 and all(name.startswith("p") for name in labelled(train))
    assert label_names_of(train.features) == TAGS
    assert train[5]["tokens"][0].startswith("q") and train[5]["caption"] == "a stage"


def test_the_first_rows_of_the_other_splits(tmp_path):
    splits = load(mner_folder(tmp_path / "a"), max_eval_samples=2, max_predict_samples=99)
    assert splits["validation"]["id"][:] == ["p-validation-0", "p-validation-1"] and len(splits["test"]) == 5


def test_the_other_task(tmp_path):
    folder = mre_folder(tmp_path / "a")
    with pytest.raises(DataError, match=r"data set for mre, not for mner\. Use run_mre\.py"):
        load(folder)
    assert len(load(folder, "mre")["train"]) == 4
    with pytest.raises(DataError, match="one task cannot join"):
        load(mner_folder(tmp_path / "b"), unlabelled_dataset_dir=[folder])


def test_relations_lose_their_labels_too(tmp_path):
    train = load(mre_folder(tmp_path / "a"), "mre", max_labelled_samples=1)["train"]
    assert sorted(train["relation"], key=str) == [1, None, None, None]


def test_an_unlabelled_folder_without_a_training_split(tmp_path):
    other = mner_folder(tmp_path / "b", sizes={"test": 3})
    with pytest.raises(DataError, match=r"has no train split\. It has test: .* in unlabelled_splits"):
        load(mner_folder(tmp_path / "a"), unlabelled_dataset_dir=[other])


def test_other_splits_of_an_unlabelled_folder(tmp_path, caplog):
    folder = mner_folder(tmp_path / "a")
    more = mner_folder(tmp_path / "b", sizes={"train": 7, "validation": 4, "test": 3}, prefix="q")
    splits = load(folder, unlabelled_dataset_dir=[more], unlabelled_splits=["train", "test"])
    assert len(splits["train"]) == 20 + 7 + 3 and len(labelled(splits["train"])) == 20
    assert splits["train"]["id"][-1] == "q-test-2" and "transductive" not in caplog.text


def test_evaluation_posts_among_the_unlabelled_are_told(tmp_path, caplog):
    folder = mner_folder(tmp_path / "a")
    more = mner_folder(tmp_path / "b", sizes={"train": 3}, prefix="P")
    load(folder, unlabelled_dataset_dir=[more])
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "test: 3 of its 5 posts join training without their labels: its scores are transductive." in warnings
    assert any(message.startswith("validation: 3 of its 6 posts") for message in warnings)


def test_posts_of_handles_alone_are_not_the_same(tmp_path, caplog):
    folder = mner_folder(tmp_path / "a", text="@{} hello")
    more = mner_folder(tmp_path / "b", sizes={"train": 3}, prefix="q", text="@{} hello")
    load(folder, unlabelled_dataset_dir=[more])
    assert "transductive" not in caplog.text


def test_a_folder_that_is_not_prepared(tmp_path):
    with pytest.raises(DataError, match="cotpd prepare"):
        load(str(tmp_path))


def test_coverage_is_logged(tmp_path, caplog):
    folder = mner_folder(tmp_path / "a", caption="a stage")
    with caplog.at_level(logging.INFO, "modeling_cotpd.training.splits"):
        load(folder, max_labelled_samples=5, knowledge_columns=["caption", "cot_noun"])
    messages = [record.getMessage() for record in caplog.records]
    assert "train: 20 rows, 5 labelled; caption 20, cot_noun 0" in messages
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 3 and all("no row has cot_noun" in message for message in warnings)
    caplog.clear()
    load(mner_folder(tmp_path / "b"), knowledge_columns=["caption", "cot_noun"])  # the run says it in one sentence
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]

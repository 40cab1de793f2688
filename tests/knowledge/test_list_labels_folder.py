import json
import shutil

import pytest
from support.listed_posts import TAGS, make_posts

from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.files import sha256_of
from modeling_cotpd.knowledge.list_labels import label_folder
from modeling_cotpd.metrics.entity_score.entity_score import entity_scores
from modeling_cotpd.training.arguments import DataArguments
from modeling_cotpd.training.splits import load_splits


def write_folder(folder, labelled=None, **splits):
    standard = {"train": make_posts(60, 0, labelled), "validation": make_posts(8, 1, split="v"),
                "test": make_posts(9, 2, split="t")}  # fmt: skip
    write_prepared(standard | splits, DatasetInfo("fiction", "mner", TAGS, provenance={"captions": "x"}), folder)
    return folder


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def all_o(posts):
    return posts.map(lambda row: {"ner_tags": [0] * len(row["tokens"])})


def test_unlabelled_posts_are_labelled_and_gold_labels_stay(tmp_path):
    source, out = write_folder(tmp_path / "data", labelled=40), tmp_path / "out"
    before = {path.name: sha256_of(path) for path in source.iterdir()}
    results = label_folder(source, out)
    assert {path.name: sha256_of(path) for path in source.iterdir()} == before
    assert sorted(path.name for path in out.iterdir()) == [
        "dataset.json", "rejects.jsonl", "test.parquet", "train.parquet", "validation.parquet",
    ]  # fmt: skip
    old, _ = read_prepared(source)
    new, info = read_prepared(out)
    assert new["train"]["ner_tags"][:40] == old["train"]["ner_tags"][:40]
    assert new["train"]["label_source"] == ["gold"] * 40 + ["list"] * 20
    truth = make_posts(60, 0)["ner_tags"]
    assert sum(map(list.__eq__, new["train"]["ner_tags"][40:], truth[40:])) >= 18
    for name in ("validation", "test"):
        assert new[name].to_dict() == old[name].to_dict()
    for column in ("id", "tokens", "glosses"):
        assert new["train"][column] == old["train"][column]
    assert info.provenance == {"captions": "x", "labels": results["labels"]}
    assert results["labels"]["labelled_rows"] == 40 and results["labels"]["labelled_from_lists"] == 20
    assert results["splits"] == {}


def test_scored_entities_are_those_of_the_tags(tmp_path):
    label_folder(write_folder(tmp_path / "data", labelled=40), tmp_path / "out")
    for row in read_prepared(tmp_path / "out")[0]["train"]:
        tagged = {index for index, tag in enumerate(row["ner_tags"]) if tag}
        covered = {word for each in row["list_entities"] for word in range(each["start"], each["end"])}
        assert covered == (tagged if row["label_source"] == "list" else set())
        assert all(0 < each["score"] <= 1 for each in row["list_entities"])


def test_a_post_of_which_no_listed_mention_stands_in_the_text_stays_unlabelled(tmp_path):
    unknown = [{"mention": "Nordhaven", "gloss": "city"}]
    train = make_posts(60, 0, 40).map(
        lambda row, index: {"glosses": {58: unknown, 59: []}.get(index, row["glosses"])}, with_indices=True
    )
    results = label_folder(write_folder(tmp_path / "data", train=train), tmp_path / "out")
    new = read_prepared(tmp_path / "out")[0]["train"]
    assert new["ner_tags"][58:] == [None, None] and new["label_source"][58:] == ["", ""]
    assert results["labels"]["left_unlabelled"] == 2
    about = [(row["id"], row.get("mention"), row["reason"]) for row in lines(tmp_path / "out/rejects.jsonl")]
    assert about[-3:] == [
        ("train58", "Nordhaven", "not in the text"),
        ("train58", None, "no listed mention to decide on: the post stays unlabelled"),
        ("train59", None, "no listed mention to decide on: the post stays unlabelled"),
    ]


def test_every_listed_mention_is_labelled_or_logged(tmp_path):
    results = label_folder(write_folder(tmp_path / "data", labelled=40), tmp_path / "out")
    rejects = lines(tmp_path / "out/rejects.jsonl")
    entities = sum(map(len, read_prepared(tmp_path / "out")[0]["train"]["list_entities"]))
    assert len(rejects) + entities == sum(results["labels"]["listed_mentions"].values()) == 60
    assert {row["reason"] for row in rejects} == {"score below the threshold"}
    threshold = results["labels"]["threshold"]
    assert all(row["score"] < threshold and row["type"] in ("PER", "LOC") for row in rejects)


def test_the_labelled_sample_is_the_one_of_a_training_run(tmp_path):
    source = write_folder(tmp_path / "data")
    label_folder(source, tmp_path / "out", max_labelled_samples=30, sample_seed=7)
    run = load_splits(DataArguments(str(source), max_labelled_samples=30, sample_seed=7), "mner")[0]["train"]
    wanted = {row["id"] for row in run if row["ner_tags"] is not None}
    new = read_prepared(tmp_path / "out")[0]["train"]
    assert {row["id"] for row in new if row["label_source"] == "gold"} == wanted and len(wanted) == 30


def test_ignored_labels_and_those_of_validation_and_test_change_nothing(tmp_path):
    """The same folder, once with all other labels wiped out: same labels, same report, same training file."""
    first = write_folder(tmp_path / "first")
    one = label_folder(first, tmp_path / "one", max_labelled_samples=30)
    labelled = {row["id"] for row in read_prepared(tmp_path / "one")[0]["train"] if row["label_source"] == "gold"}
    train = make_posts(60, 0).map(
        lambda row: {"ner_tags": row["ner_tags"] if row["id"] in labelled else [0] * len(row["tokens"])}
    )
    splits = {"train": train, "validation": all_o(make_posts(8, 1, split="v")), "test": all_o(make_posts(9, 2))}
    second = write_folder(tmp_path / "second", **splits)
    two = label_folder(second, tmp_path / "two", max_labelled_samples=30)
    assert one["labels"] == two["labels"]
    assert (
        read_prepared(tmp_path / "one")[0]["train"].to_dict() == read_prepared(tmp_path / "two")[0]["train"].to_dict()
    )


def test_evaluation_scores_gold_labels(tmp_path):
    source, out = write_folder(tmp_path / "data"), tmp_path / "out"
    results = label_folder(source, out, max_labelled_samples=30, evaluate=True)
    assert results == json.loads((out / "results.json").read_text("utf-8"))
    assert set(results["splits"]) == {"validation", "test", "unlabelled"}
    for scores in results["splits"].values():
        calibration = scores["knowledge"].pop("calibration_error")
        assert scores["knowledge"]["f1"] > 0.8 and 0 < calibration < 0.3
    assert {path.name for path in out.glob("predictions.*")} == {
        "predictions.validation.jsonl",
        "predictions.test.jsonl",
    }
    for name, number in (("validation", 8), ("test", 9)):
        rows = lines(out / f"predictions.{name}.jsonl")
        assert len(rows) == number
        wanted = entity_scores([row["knowledge"] for row in rows], [row["gold"] for row in rows])
        assert results["splits"][name]["knowledge"] == wanted
    gold = [[TAGS[tag] for tag in tags] for tags in read_prepared(source)[0]["test"]["ner_tags"]]
    assert [row["gold"] for row in lines(out / "predictions.test.jsonl")] == gold


def test_rows_without_gold_labels_are_not_scored(tmp_path):
    source = write_folder(tmp_path / "data", labelled=40, test=make_posts(9, 2, labelled=4, split="t"))
    results = label_folder(source, tmp_path / "out", evaluate=True)
    assert set(results["splits"]) == {"validation", "test"}
    assert len(lines(tmp_path / "out/predictions.test.jsonl")) == 4


def test_what_cannot_be_labelled_is_refused(tmp_path):
    source = write_folder(tmp_path / "data")
    with pytest.raises(DataError, match="Every training post is labelled"):
        label_folder(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(SettingError, match="max_labelled_samples: It must be at least 1, got 0"):
        label_folder(source, tmp_path / "out", max_labelled_samples=0)
    with pytest.raises(DataError, match="too few to learn from"):
        label_folder(source, tmp_path / "out", max_labelled_samples=2)
    label_folder(source, tmp_path / "out", max_labelled_samples=30)
    with pytest.raises(SettingError, match="not empty"):
        label_folder(source, tmp_path / "out", max_labelled_samples=30)
    with pytest.raises(DataError, match="labelled from lists before"):
        label_folder(tmp_path / "out", tmp_path / "out2", max_labelled_samples=30)
    relation = {"id": "1", "tokens": ["a", "b"], "head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2}}
    pairs = make_split([{**relation, "relation": "None"}], "mre", ["None", "knows"], "x")
    write_prepared({"train": pairs}, DatasetInfo("p", "mre", ["None", "knows"]), tmp_path / "pairs")
    with pytest.raises(DataError, match="lists label entities"):
        label_folder(tmp_path / "pairs", tmp_path / "out3")
    write_prepared({"test": make_posts(2, 0)}, DatasetInfo("p", "mner", TAGS), tmp_path / "no_train")
    with pytest.raises(DataError, match="no training split"):
        label_folder(tmp_path / "no_train", tmp_path / "out4")


def test_a_training_run_reads_the_folder(tmp_path):
    label_folder(write_folder(tmp_path / "data", labelled=40), tmp_path / "out")
    train = load_splits(DataArguments(str(tmp_path / "out")), "mner")[0]["train"]
    assert len(train) == 60 and None not in train["ner_tags"] and "label_source" not in train.column_names


@pytest.mark.timeout(900)
def test_one_hundred_labelled_posts_of_twitter_2017(real_data, tmp_path):
    from modeling_cotpd.data.prepare import PrepareOptions, prepare

    prepare("twitter2017", str(real_data / "twitter2017"), str(tmp_path / "data"), PrepareOptions())
    results = label_folder(tmp_path / "data", tmp_path / "out", max_labelled_samples=100, evaluate=True)
    assert results["splits"]["validation"]["knowledge"]["f1"] > 0.7
    assert results["splits"]["validation"]["knowledge"]["calibration_error"] < 0.1
    shutil.rmtree(tmp_path / "data")

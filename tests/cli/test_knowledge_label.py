import json

from support.listed_posts import TAGS, make_posts
from typer.testing import CliRunner

from modeling_cotpd.cli.knowledge import app
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared


def call(*arguments):
    return CliRunner().invoke(app, ["label", *map(str, arguments)], catch_exceptions=False)


def test_a_folder_is_labelled_and_scored(tmp_path):
    splits = {"train": make_posts(60, 0), "test": make_posts(9, 2, split="t")}
    write_prepared(splits, DatasetInfo("fiction", "mner", TAGS), tmp_path / "data")
    options = ["--max-labelled-samples", 30, "--sample-seed", 1]
    told = call(tmp_path / "data", "--out", tmp_path / "one", *options)
    assert told.exit_code == 0
    assert "trained on 30 labelled posts, 90 listed mentions" in told.stdout
    assert "30 posts labelled, 0 left unlabelled" in told.stdout and "test: F1" not in told.stdout
    scored = call(tmp_path / "data", "--out", tmp_path / "two", *options, "--evaluate", "--threshold", 0.5, "--json")
    results = json.loads(scored.stdout)
    assert results == json.loads((tmp_path / "two/results.json").read_text("utf-8"))
    assert results["labels"]["threshold"] == 0.5 and results["labels"]["sample_seed"] == 1
    assert results["splits"]["test"]["knowledge"]["f1"] > 0.8
    assert "test: F1" in call(tmp_path / "data", "--out", tmp_path / "three", *options, "--evaluate").stdout

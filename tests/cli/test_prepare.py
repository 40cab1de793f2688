"""`cotpd prepare` from the outside."""

import json

import pytest
import typer
from typer.testing import CliRunner

from modeling_cotpd.cli.data import prepare
from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.errors import SettingError

app = typer.Typer()
app.command()(prepare)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for name in ("train", "valid", "test"):
        (folder / f"{name}.txt").write_text("IMGID:1\nAda\tB-PER\n\nIMGID:2\nFair\tB-OTHER\n")
        captions = [{"id": i, "blip2": "a dog", "owl": "an owl"} for i in ("1", "2")]
        (folder / f"captions.{name}.jsonl").write_text("\n".join(map(json.dumps, captions)))
    return folder


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=True)


def test_every_option_arrives(source, tmp_path):
    out = tmp_path / "out"
    options = ["--captioner", "owl", "--no-knowledge", "--knowledge-from-captions", "cot_noun=blip2"]
    result = run("twitter2015", "--source", source, "--out", out, *options, "--rename-type", "OTHER=MISC")
    assert result.exit_code == 0, result.output
    splits, info = read_prepared(out)
    assert splits["train"][0]["caption"] == "an owl" and splits["train"][0]["cot_noun"] == "a dog"
    assert info.label_names == ["O", "B-MISC", "I-MISC", "B-PER", "I-PER"]
    assert f"train: 2 rows, gold hash {info.splits['train']['gold_hash']}" in result.output
    assert "caption from 'owl' in captions.valid.jsonl: 2/2 ids matched" in result.output


def test_labels_of_own_data(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"tokens": ["Ada"], "ner_tags": [1]}\n')
    result = run(
        "custom", "--task", "mner", "--source", tmp_path, "--labels", "O, B-PER,I-PER", "--out", tmp_path / "out"
    )
    assert result.exit_code == 0, result.output
    assert read_prepared(tmp_path / "out")[1].label_names == ["O", "B-PER", "I-PER"]


@pytest.mark.parametrize("values", [["OTHER"], ["=MISC"], ["A=B", "A=C"]])
def test_pairs_that_are_none(source, tmp_path, values):
    options = [part for value in values for part in ("--rename-type", value)]
    result = run("twitter2015", "--source", source, "--out", tmp_path / "out", *options)
    assert isinstance(result.exception, SettingError) and "--rename-type" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_the_summary_as_json(source, tmp_path):
    result = run("twitter2015", "--source", source, "--out", tmp_path / "out", "--json")
    summary = json.loads(result.stdout)
    assert summary["out"] == str(tmp_path / "out") and summary["splits"]["train"]["rows"] == 2
    assert {"column": "caption", "split": "train"}.items() <= summary["joined"][0].items()


def test_a_folder_is_replaced_with_overwrite(source, tmp_path):
    for options, code in (([], 0), ([], 1), (["--overwrite"], 0)):
        assert run("twitter2015", "--source", source, "--out", tmp_path / "out", *options).exit_code == code


def test_tags_of_another_scheme(tmp_path):
    (tmp_path / "train.txt").write_text("Ada S-PER\n")
    result = run("custom", "--task", "mner", "--source", tmp_path, "--out", tmp_path / "out", "--tag-scheme", "bioes")
    assert result.exit_code == 0, result.output
    assert read_prepared(tmp_path / "out")[1].label_names == ["O", "B-PER", "I-PER"]

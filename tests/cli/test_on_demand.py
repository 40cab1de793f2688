"""Knowledge on demand from the command line, with an endpoint on loopback: predict, threshold and learn."""

import json
from pathlib import Path

import pytest
import typer
from inference_models import saved
from stub_server import StubServer
from typer.testing import CliRunner

from modeling_cotpd.cli.predict import learn, predict, threshold
from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import DataError, Interrupted, SettingError
from modeling_cotpd.inference import run

LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]

app = typer.Typer()
for command in (predict, threshold, learn):
    app.command()(command)


def call(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A model, ten posts in chunks of four, and the command's common part."""
    monkeypatch.setattr(run.chunks, "__defaults__", (4, 10**6))
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    source = tmp_path / "posts.jsonl"
    texts = [f"Mira Holt {'sings at Quarry Lane ' * (number % 4)}{number}" for number in range(10)]
    source.write_text(
        "".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(texts)), "utf-8"
    )
    model = saved(tmp_path / "model")
    output = tmp_path / "out.jsonl"
    common = ["predict", model, "--input", source, "--output", output, "--device", "cpu", "--teacher", "stub"]
    return model, output, [*common, "--store", tmp_path / "answers.sqlite", "--retries", "0"]


def test_a_share_is_asked_about_once_and_marked(asking, tmp_path: Path):
    _, output, common = asking
    with StubServer() as server:
        common += ["--base-url", server.base_url, "--ask-teacher", "0.3"]
        dry = call(*common, "--dry-run")
        assert dry.exit_code == 0 and "posts to ask about: 3 of 10" in dry.output and not output.exists()
        assert not server.asked
        result = call(*common)
        assert result.exit_code == 0, result.output
        asked = sum(server.asked.values())
        found = rows(output)
        ranked = sorted(found, key=lambda row: -row["uncertainty"])
        assert {row["id"] for row in found if row["asked"]} == {row["id"] for row in ranked[:3]}
        for row in found:
            assert row["view"] == ("knowledge" if row["asked"] else "prompt")
            assert "has_knowledge" not in row and ("knowledge" in row) == row["asked"]
        assert call(*common, "--overwrite").exit_code == 0 and sum(server.asked.values()) == asked
        assert rows(output) == found


def test_an_interrupted_second_pass_continues_with_the_same_posts(asking, monkeypatch: pytest.MonkeyPatch):
    _, output, common = asking
    with StubServer() as server:
        common += ["--base-url", server.base_url, "--ask-teacher", "0.5"]
        assert call(*common).exit_code == 0
        whole = rows(output)
        output.unlink()
        from modeling_cotpd.inference import on_demand

        write = on_demand.write_part

        def interrupt(path: Path, part: list[dict]) -> None:
            if path.name == "00000001.jsonl":
                raise KeyboardInterrupt
            write(path, part)

        with monkeypatch.context() as patch:
            patch.setattr(on_demand, "write_part", interrupt)
            with pytest.raises(Interrupted, match="3 chunks of posts are kept"):
                call(*common)
        assert not output.exists()
        assert call(*common).exit_code == 0
        assert rows(output) == whole


def test_an_endpoint_that_fails_leaves_the_text_only_answers(asking):
    _, output, common = asking
    result = call(*common, "--base-url", "http://127.0.0.1:9/v1", "--ask-teacher", "0.3")
    assert result.exit_code == 0 and "without an explanation, so text alone: 3" in result.output
    assert [row["view"] for row in rows(output)] == ["prompt"] * 10
    assert sum("unexplained" in row for row in rows(output)) == 3


def test_a_threshold_needs_a_knowledge_view(tmp_path: Path):
    with pytest.raises(SettingError, match="trained without knowledge"):
        threshold(str(saved(tmp_path / "model", knowledge_columns=[])), tmp_path)


def test_a_threshold_of_validation_and_what_was_explained_as_training_posts(asking, tmp_path: Path):
    model, output, common = asking
    split = [
        {"id": str(n), "tokens": ["Mira", "Holt", "left", str(n)], "ner_tags": ["B-PER", "I-PER", "O", "O"]}
        for n in range(6)
    ]
    explained = [{**row, "cot_noun": "1. Mira Holt (person)"} for row in split]
    splits = {
        name: make_split([{**row, "id": f"{name}{row['id']}"} for row in explained], "mner", LABELS, name)
        for name in ("train", "validation")
    }
    write_prepared(splits, DatasetInfo("mine", "mner", LABELS), tmp_path / "data")
    with pytest.raises(SettingError, match="cotpd threshold"):
        call(*common, "--threshold", "stored")
    result = call("threshold", model, "--dataset-dir", tmp_path / "data")
    assert result.exit_code == 0 and "of the validation posts; F1: text alone" in result.output
    with StubServer() as server:
        common += ["--base-url", server.base_url]
        assert call(*common, "--threshold", "stored").exit_code == 0
        assert call(*common, "--threshold", "-1", "--overwrite").exit_code == 0
    assert all(row["view"] == "knowledge" for row in rows(output))
    added = call("learn", output, "--dataset-dir", tmp_path / "data", "--out", tmp_path / "learned")
    assert "10 unlabelled posts added" in added.output
    train = read_prepared(tmp_path / "learned")[0]["train"]
    assert len(train) == 16 and train["ner_tags"][6:] == [None] * 10 and all(train["cot_noun"])
    assert train["tokens"][6] == ["Mira", "Holt", "0"]
    with pytest.raises(DataError, match="no explained posts"):
        call("learn", output, "--dataset-dir", tmp_path / "learned", "--out", tmp_path / "again")

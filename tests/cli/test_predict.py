"""`cotpd predict`, `triples`, `threshold` and `learn`; knowledge on demand has an endpoint on loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import call
from support.files import read_lines
from support.inference_models import saved
from support.stub_server import StubServer
from support.tiny_models import tiny_encoder_config
from transformers import AutoModel

from modeling_cotpd import CoTPDForRelationExtraction
from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import DataError, Interrupted, SettingError
from modeling_cotpd.inference import on_demand, run

LABELS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def predict(*arguments, **settings):
    return call("predict", *arguments, "--device", "cpu", **settings)


def test_entities_of_a_file(tmp_path: Path):
    source, output = tmp_path / "posts.jsonl", tmp_path / "out.jsonl"
    texts = ["Mira Holt sings at Quarry Lane", "", "Mira 👩‍🎤 \ud83d Tarn " * 40]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    result = predict(saved(tmp_path / "model"), "--input", source, "--output", output)
    assert result.exit_code == 0 and "3 posts" in result.output
    again = predict(tmp_path / "model", "--input", source, "--output", tmp_path / "again.jsonl", "--json")
    summary = {"posts": 3, "problems": 0, "output": str(tmp_path / "again.jsonl")}
    assert summary.items() <= json.loads(again.stdout).items()
    texts = [text.replace("\ud83d", "\ufffd") for text in texts]
    assert [row["text"] for row in read_lines(output)] == texts
    entities = read_lines(output)[2]["entities"]
    assert entities and max(entity["end"] for entity in entities) > 600
    for entity in entities:
        assert entity["text"] == texts[2][entity["start"] : entity["end"]]


def test_relations_of_a_file_and_the_exit_code_of_a_problem(tmp_path: Path):
    source, output = tmp_path / "posts.jsonl", tmp_path / "out.jsonl"
    far = "Mira " + "! " * 80 + "Tarn"
    posts = [
        {
            "id": "a",
            "tokens": ["Mira", "left", "Tarn"],
            "head": {"start": 0, "end": 1},
            "tail": {"start": 2, "end": 3},
        },
        {"id": "b", "text": far, "head": [0, 4], "tail": [len(far) - 4, len(far)]},
    ]
    source.write_text("".join(json.dumps(post) + "\n" for post in posts), "utf-8")
    model = saved(tmp_path / "model", CoTPDForRelationExtraction)
    result = predict(model, "--input", source, "--output", output)
    assert result.exit_code == 4 and "1 rows have a problem" in result.output
    first, second = read_lines(output)
    assert first["head"] == [0, 4] and first["tail"] == [10, 14]
    assert first["relation"] in ("None", "/per/loc", "/per/org") and 0 < first["score"] <= 1
    assert second["relation"] is None and "apart" in second["problem"]


def test_a_plain_encoder_is_refused(tmp_path: Path):
    AutoModel.from_config(tiny_encoder_config("bert")).save_pretrained(tmp_path / "encoder")
    (tmp_path / "posts.txt").write_text("Mira\n", "utf-8")
    for model, message in (
        (tmp_path / "encoder", "not a trained CoTPD model"),
        (tmp_path, "holds no model"),
        (tmp_path / "nowhere", "no such folder"),
    ):
        with pytest.raises((SettingError, OSError), match=message):
            predict(model, "--input", tmp_path / "posts.txt", "--output", tmp_path / "out.jsonl")
    with pytest.raises(SettingError, match=r"no model\.onnx"):
        predict(tmp_path, "--onnx", "--input", tmp_path / "posts.txt", "--output", tmp_path / "out.jsonl")


def test_texts_and_the_standard_input_go_to_the_standard_output(tmp_path: Path):
    model = saved(tmp_path / "model")
    printed = predict(model, "--text", "Mira Holt sings", "--text", "Tarn")
    assert [json.loads(line)["text"] for line in printed.stdout.splitlines()] == ["Mira Holt sings", "Tarn"]
    piped = predict(model, "--input", "-", input="Mira Holt sings\nTarn\n")
    entities = [json.loads(line)["entities"] for line in piped.stdout.splitlines()]
    assert entities == [json.loads(line)["entities"] for line in printed.stdout.splitlines()]
    rows_in = predict(model, "--input", "-", "--format", "jsonl", input='{"id": "a", "text": "Tarn"}\n')
    assert json.loads(rows_in.stdout)["id"] == "a"


def test_improbable_entities_are_left_out_and_another_form_is_written_too(tmp_path: Path):
    model, source, output = saved(tmp_path / "model"), tmp_path / "posts.txt", tmp_path / "out.jsonl"
    source.write_text("Mira Holt sings at Quarry Lane\n" * 3, "utf-8")
    predict(model, "--input", source, "--output", output, "--also", tmp_path / "out.conll")
    scores = [entity["score"] for row in read_lines(output) for entity in row["entities"]]
    assert "B-" in (tmp_path / "out.conll").read_text("utf-8")
    limit = sorted(scores)[len(scores) // 2]
    predict(model, "--input", source, "--output", output, "--min-score", limit, "--overwrite")
    kept = [entity["score"] for row in read_lines(output) for entity in row["entities"]]
    assert kept == [score for score in scores if score >= limit] and len(kept) < len(scores) + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--output", "out.csv"], "end in .jsonl"),
        (["--also", "out.xml"], "means no format"),
        (["--also", "out.nt"], "Add --output"),
        (["--text", "Mira"], "either --input or --text"),
        (["--ask-teacher", "0.2"], "needs a language model"),
        (["--dry-run"], "--ask-teacher"),
    ],
)
def test_wrong_options_are_refused_before_the_model_is_loaded(tmp_path: Path, options: list[str], message: str):
    (tmp_path / "posts.txt").write_text("Mira\n", "utf-8")
    with pytest.raises(SettingError, match=message):
        predict("no-such-model", "--input", tmp_path / "posts.txt", *options)


def test_what_is_incomplete_or_not_there_is_refused_in_a_sentence(tmp_path: Path):
    model = saved(tmp_path / "model")
    for options, message in (
        (["--device", "foo"], "The device 'foo' cannot be used"),
        (["--device", "cuda:77"], "The device 'cuda:77' cannot be used"),
        (["--dtype", "fp16"], "There is no dtype 'fp16'"),
    ):
        with pytest.raises(SettingError, match=message):
            call("predict", model, "--text", "Mira", *options)
    (model / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(OSError, match="git lfs pull"):
        predict(model, "--text", "Mira")
    (model / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises((SettingError, OSError, ValueError)):
        predict(model, "--text", "Mira")


def test_an_interrupted_run_says_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run.chunks, "__defaults__", (2, 10**6))
    model, source, output = saved(tmp_path / "model"), tmp_path / "posts.txt", tmp_path / "out.jsonl"
    source.write_text("Mira\nHolt\nTarn\nLane\n", "utf-8")
    write = run.write_json_lines

    def interrupt(path: Path, rows: list[dict]) -> None:
        if path.name != "00000000.jsonl":
            raise KeyboardInterrupt
        write(path, rows)

    monkeypatch.setattr(run, "write_json_lines", interrupt)
    with pytest.raises(Interrupted, match=r"1 chunks of posts are kept in .*\. The same command continues"):
        predict(model, "--input", source, "--output", output)
    monkeypatch.setattr(run, "write_json_lines", write)
    result = predict(model, "--input", source, "--output", output)
    assert result.exit_code == 0 and "Resuming: 1 chunks" in result.output and len(read_lines(output)) == 4


@pytest.mark.slow
def test_two_processes_write_what_one_writes(tmp_path: Path):
    source = tmp_path / "posts.txt"
    source.write_text("".join(f"Mira Holt {number} sings at Tarn\n" for number in range(60)), "utf-8")
    model = saved(tmp_path / "model")
    script = tmp_path / "predict.py"
    script.write_text(
        "import typer\nfrom modeling_cotpd.cli.predict import predict\nfrom modeling_cotpd.inference import run\n"
        "run.chunks.__defaults__ = (7, 10**6)\ntyper.run(predict)\n",
        "utf-8",
    )
    outputs = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    launchers = [[sys.executable], [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]]
    for launcher, output in zip(launchers, outputs, strict=True):
        arguments = [str(script), str(model), "--input", str(source), "--output", str(output), "--device", "cpu"]
        subprocess.run([*launcher, *arguments], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300)
    assert len(read_lines(outputs[0])) == 60
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


TEXTS = ["Mira Holt sings at Quarry Lane", "", "RT @ mira_holt : new single \ud83d out on Friday", "Tarn"] * 3


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [saved(folder / "entities"), saved(folder / "relations", CoTPDForRelationExtraction)]


def triples(*arguments):
    return call("triples", *arguments, "--device", "cpu")


def posts(folder: Path) -> Path:
    path = folder / "posts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), "utf-8")
    return path


def test_a_file_becomes_triples_in_every_format(tmp_path: Path, models: list[Path]):
    output = tmp_path / "out.jsonl"
    also = [argument for end in ("nt", "conll") for argument in ("--also", tmp_path / f"out.{end}")]
    result = triples(*models, "--input", posts(tmp_path), "--output", output, *also, "--base", "https://example.org/")
    assert result.exit_code == 0 and "12 posts" in result.output
    found = read_lines(output)
    assert [row["text"] for row in found] == [text.replace("\ud83d", "\ufffd") for text in TEXTS] and any(
        row["relations"] for row in found
    )
    for row in found:
        for entity in row["entities"]:
            assert entity["text"] == row["text"][entity["start"] : entity["end"]]
    assert "<https://example.org/relation/" in (tmp_path / "out.nt").read_text("utf-8")
    assert "B-" in (tmp_path / "out.conll").read_text("utf-8")


def test_a_run_that_was_broken_off_continues(tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run.chunks, "__defaults__", (5, 10**6))
    source, whole, output = posts(tmp_path), tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    triples(*models, "--input", source, "--output", whole)
    write = run.write_json_lines

    def break_off(path: Path, part: list[dict]) -> None:
        write(path, part)
        if path.name == "00000001.jsonl":
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(run, "write_json_lines", break_off)
        with pytest.raises(RuntimeError, match="power cut"):
            triples(*models, "--input", source, "--output", output)
    assert not output.exists()
    with pytest.raises(SettingError, match="another min_score"):
        triples(*models, "--input", source, "--output", output, "--min-score", "0.2")
    result = triples(*models, "--input", source, "--output", output)
    assert "2 chunks of posts are done" in result.output and output.read_bytes() == whole.read_bytes()


def test_wrong_names_are_reported_before_anything_is_read(tmp_path: Path, models: list[Path]):
    common = [*models, "--input", posts(tmp_path), "--output", tmp_path / "out.jsonl"]
    with pytest.raises(SettingError, match="means no format"):
        triples(*common, "--also", tmp_path / "out.xml")
    with pytest.raises(SettingError, match="absolute IRI"):
        triples(*common, "--base", "here")
    with pytest.raises(SettingError, match="needed here"):
        triples(models[1], models[0], *common[2:])
    assert not (tmp_path / "out.jsonl.parts").exists()


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
        found = read_lines(output)
        ranked = sorted(found, key=lambda row: -row["uncertainty"])
        assert {row["id"] for row in found if row["asked"]} == {row["id"] for row in ranked[:3]}
        for row in found:
            assert row["view"] == ("knowledge" if row["asked"] else "prompt")
            assert "has_knowledge" not in row and ("knowledge" in row) == row["asked"]
        assert call(*common, "--overwrite").exit_code == 0 and sum(server.asked.values()) == asked
        assert read_lines(output) == found


def test_an_interrupted_second_pass_continues_with_the_same_posts(asking, monkeypatch: pytest.MonkeyPatch):
    _, output, common = asking
    with StubServer() as server:
        common += ["--base-url", server.base_url, "--ask-teacher", "0.5"]
        assert call(*common).exit_code == 0
        whole = read_lines(output)
        output.unlink()
        write = on_demand.write_json_lines

        def interrupt(path: Path, part: list[dict]) -> None:
            if path.name == "00000001.jsonl":
                raise KeyboardInterrupt
            write(path, part)

        with monkeypatch.context() as patch:
            patch.setattr(on_demand, "write_json_lines", interrupt)
            with pytest.raises(Interrupted, match="3 chunks of posts are kept"):
                call(*common)
        assert not output.exists()
        assert call(*common).exit_code == 0
        assert read_lines(output) == whole


def test_an_endpoint_that_fails_leaves_the_text_only_answers(asking):
    _, output, common = asking
    result = call(*common, "--base-url", "http://127.0.0.1:9/v1", "--ask-teacher", "0.3")
    assert result.exit_code == 0 and "without an explanation, so text alone: 3" in result.output
    assert [row["view"] for row in read_lines(output)] == ["prompt"] * 10
    assert sum("unexplained" in row for row in read_lines(output)) == 3


def test_a_threshold_needs_a_knowledge_view(tmp_path: Path):
    with pytest.raises(SettingError, match="trained without knowledge"):
        call("threshold", saved(tmp_path / "model", knowledge_columns=[]), "--dataset-dir", tmp_path)


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
    result = call("threshold", model, "--dataset-dir", tmp_path / "data", "--device", "auto")
    assert result.exit_code == 0 and "of the validation posts; F1: text alone" in result.output
    with StubServer() as server:
        common += ["--base-url", server.base_url]
        assert call(*common, "--threshold", "stored").exit_code == 0
        assert call(*common, "--threshold", "-1", "--overwrite").exit_code == 0
    assert all(row["view"] == "knowledge" for row in read_lines(output))
    added = call("learn", output, "--dataset-dir", tmp_path / "data", "--out", tmp_path / "learned")
    assert "10 unlabelled posts added" in added.output
    train = read_prepared(tmp_path / "learned")[0]["train"]
    assert len(train) == 16 and train["ner_tags"][6:] == [None] * 10 and all(train["cot_noun"])
    assert train["tokens"][6] == ["Mira", "Holt", "0"]
    with pytest.raises(DataError, match="no explained posts"):
        call("learn", output, "--dataset-dir", tmp_path / "learned", "--out", tmp_path / "again")

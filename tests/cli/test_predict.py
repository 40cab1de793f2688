"""`cotpd predict` from the command line, alone and with several processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from inference_models import saved
from typer.testing import CliRunner

from modeling_cotpd import CoTPDForRelationExtraction
from modeling_cotpd.cli.predict import predict
from modeling_cotpd.errors import Interrupted, SettingError
from modeling_cotpd.inference import run

app = typer.Typer()
app.command()(predict)


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def call(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu"], catch_exceptions=False)


def test_entities_of_a_file(tmp_path: Path):
    source, output = tmp_path / "posts.jsonl", tmp_path / "out.jsonl"
    texts = ["Mira Holt sings at Quarry Lane", "", "Mira 👩‍🎤 \ud83d Tarn " * 40]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    result = call(saved(tmp_path / "model"), "--input", source, "--output", output)
    assert result.exit_code == 0 and "3 posts" in result.output
    again = call(tmp_path / "model", "--input", source, "--output", tmp_path / "again.jsonl", "--json")
    summary = {"posts": 3, "problems": 0, "output": str(tmp_path / "again.jsonl")}
    assert summary.items() <= json.loads(again.stdout).items()
    texts = [text.replace("\ud83d", "\ufffd") for text in texts]
    assert [row["text"] for row in rows(output)] == texts
    entities = rows(output)[2]["entities"]
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
    result = call(model, "--input", source, "--output", output)
    assert result.exit_code == 4 and "1 rows have a problem" in result.output
    first, second = rows(output)
    assert first["head"] == [0, 4] and first["tail"] == [10, 14]
    assert first["relation"] in ("None", "/per/loc", "/per/org") and 0 < first["score"] <= 1
    assert second["relation"] is None and "apart" in second["problem"]


def test_a_plain_encoder_is_refused(tmp_path: Path):
    from tiny_models import tiny_encoder_config
    from transformers import AutoModel

    AutoModel.from_config(tiny_encoder_config("bert")).save_pretrained(tmp_path / "encoder")
    (tmp_path / "posts.txt").write_text("Mira\n", "utf-8")
    for model, message in (
        (tmp_path / "encoder", "not a trained CoTPD model"),
        (tmp_path, "holds no model"),
        (tmp_path / "nowhere", "no such folder"),
    ):
        with pytest.raises((SettingError, OSError), match=message):
            call(model, "--input", tmp_path / "posts.txt", "--output", tmp_path / "out.jsonl")
    with pytest.raises(SettingError, match=r"no model\.onnx"):
        call(tmp_path, "--onnx", "--input", tmp_path / "posts.txt", "--output", tmp_path / "out.jsonl")


def test_texts_and_the_standard_input_go_to_the_standard_output(tmp_path: Path):
    model = saved(tmp_path / "model")
    printed = call(model, "--text", "Mira Holt sings", "--text", "Tarn")
    assert [json.loads(line)["text"] for line in printed.stdout.splitlines()] == ["Mira Holt sings", "Tarn"]
    piped = CliRunner().invoke(app, [str(model), "--input", "-", "--device", "cpu"], input="Mira Holt sings\nTarn\n")
    entities = [json.loads(line)["entities"] for line in piped.stdout.splitlines()]
    assert entities == [json.loads(line)["entities"] for line in printed.stdout.splitlines()]
    rows_in = CliRunner().invoke(
        app,
        [str(model), "--input", "-", "--format", "jsonl", "--device", "cpu"],
        input='{"id": "a", "text": "Tarn"}\n',
    )
    assert json.loads(rows_in.stdout)["id"] == "a"


def test_improbable_entities_are_left_out_and_another_form_is_written_too(tmp_path: Path):
    model, source, output = saved(tmp_path / "model"), tmp_path / "posts.txt", tmp_path / "out.jsonl"
    source.write_text("Mira Holt sings at Quarry Lane\n" * 3, "utf-8")
    call(model, "--input", source, "--output", output, "--also", tmp_path / "out.conll")
    scores = [entity["score"] for row in rows(output) for entity in row["entities"]]
    assert "B-" in (tmp_path / "out.conll").read_text("utf-8")
    limit = sorted(scores)[len(scores) // 2]
    call(model, "--input", source, "--output", output, "--min-score", limit, "--overwrite")
    kept = [entity["score"] for row in rows(output) for entity in row["entities"]]
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
        call("no-such-model", "--input", tmp_path / "posts.txt", *options)


def test_what_is_incomplete_or_not_there_is_refused_in_a_sentence(tmp_path: Path):
    model = saved(tmp_path / "model")
    for options, message in (
        (["--device", "foo"], "The device 'foo' cannot be used"),
        (["--device", "cuda:77"], "The device 'cuda:77' cannot be used"),
        (["--dtype", "fp16"], "There is no dtype 'fp16'"),
    ):
        with pytest.raises(SettingError, match=message):
            CliRunner().invoke(app, [str(model), "--text", "Mira", *options], catch_exceptions=False)
    (model / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(OSError, match="git lfs pull"):
        call(model, "--text", "Mira")
    (model / "model.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises((SettingError, OSError, ValueError)):
        call(model, "--text", "Mira")


def test_an_interrupted_run_says_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run.chunks, "__defaults__", (2, 10**6))
    model, source, output = saved(tmp_path / "model"), tmp_path / "posts.txt", tmp_path / "out.jsonl"
    source.write_text("Mira\nHolt\nTarn\nLane\n", "utf-8")
    write = run.write_part

    def interrupt(path: Path, rows: list[dict]) -> None:
        if path.name != "00000000.jsonl":
            raise KeyboardInterrupt
        write(path, rows)

    monkeypatch.setattr(run, "write_part", interrupt)
    with pytest.raises(Interrupted, match=r"1 chunks of posts are kept in .*\. The same command continues"):
        call(model, "--input", source, "--output", output)
    monkeypatch.setattr(run, "write_part", write)
    result = call(model, "--input", source, "--output", output)
    assert result.exit_code == 0 and "Resuming: 1 chunks" in result.output and len(rows(output)) == 4


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
    assert len(rows(outputs[0])) == 60
    assert outputs[0].read_bytes() == outputs[1].read_bytes()

"""`cotpd triples` from the command line."""

import json
from pathlib import Path

import pytest
import typer
from support.inference_models import saved
from typer.testing import CliRunner

from modeling_cotpd import CoTPDForRelationExtraction
from modeling_cotpd.cli.predict import triples
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference import run

app = typer.Typer()
app.command()(triples)
TEXTS = ["Mira Holt sings at Quarry Lane", "", "RT @ mira_holt : new single \ud83d out on Friday", "Tarn"] * 3


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [saved(folder / "entities"), saved(folder / "relations", CoTPDForRelationExtraction)]


def call(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu"], catch_exceptions=False)


def posts(folder: Path) -> Path:
    path = folder / "posts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), "utf-8")
    return path


def test_a_file_becomes_triples_in_every_format(tmp_path: Path, models: list[Path]):
    output = tmp_path / "out.jsonl"
    also = [argument for end in ("nt", "conll") for argument in ("--also", tmp_path / f"out.{end}")]
    result = call(*models, "--input", posts(tmp_path), "--output", output, *also, "--base", "https://example.org/")
    assert result.exit_code == 0 and "12 posts" in result.output
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert [row["text"] for row in rows] == [text.replace("\ud83d", "\ufffd") for text in TEXTS] and any(
        row["relations"] for row in rows
    )
    for row in rows:
        for entity in row["entities"]:
            assert entity["text"] == row["text"][entity["start"] : entity["end"]]
    assert "<https://example.org/relation/" in (tmp_path / "out.nt").read_text("utf-8")
    assert "B-" in (tmp_path / "out.conll").read_text("utf-8")


def test_a_run_that_was_broken_off_continues(tmp_path: Path, models: list[Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run.chunks, "__defaults__", (5, 10**6))
    source, whole, output = posts(tmp_path), tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    call(*models, "--input", source, "--output", whole)
    write = run.write_part

    def break_off(path: Path, rows: list[dict]) -> None:
        write(path, rows)
        if path.name == "00000001.jsonl":
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(run, "write_part", break_off)
        with pytest.raises(RuntimeError, match="power cut"):
            call(*models, "--input", source, "--output", output)
    assert not output.exists()
    with pytest.raises(SettingError, match="another min_score"):
        call(*models, "--input", source, "--output", output, "--min-score", "0.2")
    result = call(*models, "--input", source, "--output", output)
    assert "2 chunks of posts are done" in result.output and output.read_bytes() == whole.read_bytes()


def test_wrong_names_are_reported_before_anything_is_read(tmp_path: Path, models: list[Path]):
    common = [*models, "--input", posts(tmp_path), "--output", tmp_path / "out.jsonl"]
    with pytest.raises(SettingError, match="means no format"):
        call(*common, "--also", tmp_path / "out.xml")
    with pytest.raises(SettingError, match="absolute IRI"):
        call(*common, "--base", "here")
    with pytest.raises(SettingError, match="needed here"):
        call(models[1], models[0], *common[2:])
    assert not (tmp_path / "out.jsonl.parts").exists()

"""The export to ONNX: the graph equals the model, and serves in its place."""

import shutil
from pathlib import Path

import pytest
import torch
from support.command_line import call
from support.files import read_lines
from support.tiny_models import LABELS, tiny_model, wordpiece_tokenizer
from transformers import pipeline

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification, RelationExtractionPipeline
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference import onnx_model
from modeling_cotpd.inference.load import load_predictor
from modeling_cotpd.inference.onnx_model import OnnxStudent, export_onnx
from modeling_cotpd.markers_cotpd import add_entity_markers
from modeling_cotpd.training.pretrained import load_tokenizer

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


def made(kind: type, **changes):
    """A tiny model and tokenizer that fit each other."""
    tokenizer = wordpiece_tokenizer()
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    if kind is CoTPDForRelationExtraction:
        add_entity_markers(tokenizer)
    else:
        changes = {"id2label": dict(enumerate(LABELS)), **changes}
    return tiny_model(kind, "bert", {"vocab_size": len(tokenizer)}, **changes), tokenizer


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A saved tagging model, and its export."""
    folder = tmp_path_factory.mktemp("export")
    model, tokenizer = made(CoTPDForTokenClassification)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    result = call("export", folder / "model", "--out", folder / "onnx", "--int8")
    assert result.exit_code == 0, result.output
    assert "logits differ from the model's by at most" in result.output and "In 8 bits" in result.output
    return folder / "model", folder / "onnx"


def test_the_stock_pipeline_takes_the_export(exported, caplog: pytest.LogCaptureFixture):
    finder = pipeline(
        "token-classification",
        model=OnnxStudent.from_folder(exported[1]),
        tokenizer=load_tokenizer(str(exported[1])),
        aggregation_strategy="simple",
        device=-1,
    )
    texts = ["Mira Holt sings at Quarry Lane tonight", "Tarn"]
    results = finder(texts, batch_size=2)
    assert results[0]
    assert "not supported" not in caplog.text


def test_predict_reads_posts_with_the_export(exported, tmp_path: Path):
    (tmp_path / "posts.txt").write_text("Mira Holt sings at Quarry Lane\n\nTarn Bridge\n", "utf-8")
    arguments = ["--input", tmp_path / "posts.txt", "--output", tmp_path / "out.jsonl"]
    with pytest.raises(SettingError, match="Add --onnx"):
        call("predict", exported[1], *arguments)
    result = call("predict", exported[1], "--onnx", *arguments)
    assert result.exit_code == 0
    rows = read_lines(tmp_path / "out.jsonl")
    assert len(rows) == 3 and rows[0]["entities"] and not rows[1]["entities"]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model.onnx", lambda data: data[:2000], "The graph cannot be read"),
        ("model.onnx", lambda data: b"version https://git-lfs.github.com/spec/v1\n", "The graph cannot be read"),
        ("model.onnx", lambda data: b"", "The graph cannot be read"),
        ("config.json", lambda data: data.replace(b'"4": "I-PER"', b'"5": "I-PER"'), "id2label must name"),
        ("config.json", lambda data: data.replace(b'"4": "I-PER"', b'"4": "I-PER", "5": "X"'), "graph has 5 labels"),
        ("config.json", lambda data: data[:99], "not a valid JSON"),
        ("tokenizer.json", lambda data: data[:99], "The tokenizer cannot be loaded"),
    ],
)  # fmt: skip
def test_an_export_that_is_not_whole(exported, tmp_path: Path, name: str, change, message: str):
    folder = Path(shutil.copytree(exported[1], tmp_path / "onnx"))
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(change(before))
    assert (folder / name).read_bytes() != before
    with pytest.raises((SettingError, OSError), match=message):
        load_predictor(str(folder), onnx=True)


@pytest.mark.slow
def test_relations_are_exported_with_their_prompt_and_equal_the_model(tmp_path: Path):
    model, tokenizer = made(CoTPDForRelationExtraction, prompt_type="prefix")
    report = export_onnx(model, tokenizer, tmp_path / "onnx")
    assert 0 <= report.difference < 1e-4
    inputs = {"text": "Mira Holt left Tarn Bridge", "head": (0, 9), "tail": (15, 26)}
    extractors = [
        RelationExtractionPipeline(model=student, tokenizer=tokenizer, device=-1)
        for student in (model, OnnxStudent.from_folder(tmp_path / "onnx"))
    ]
    expected, got = (extractor(inputs) for extractor in extractors)
    assert got["label"] == expected["label"]
    assert got["score"] == pytest.approx(expected["score"], abs=1e-5)


@pytest.mark.slow
def test_an_export_that_differs_from_the_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model, tokenizer = made(CoTPDForTokenClassification, prompt_type="none")
    exact = onnx_model.compare

    def moved(model, exported, limit):
        with torch.no_grad():
            model.classifier.bias[0] += 1e-2
        return exact(model, exported, limit)

    monkeypatch.setattr(onnx_model, "compare", moved)
    with pytest.raises(SettingError, match=r"differ from the model's by 1\.0e-02; 1e-04 is allowed"):
        export_onnx(model, tokenizer, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_crf_and_a_full_folder_are_refused(tmp_path: Path):
    model, tokenizer = made(CoTPDForTokenClassification, use_crf=True)
    with pytest.raises(SettingError, match="CRF"):
        export_onnx(model, tokenizer, tmp_path / "onnx")
    (tmp_path / "mine").write_text("", "utf-8")
    with pytest.raises(SettingError, match="not empty"):
        export_onnx(model, tokenizer, tmp_path)

"""A model folder in which something is missing, odd or of another model is refused when it is loaded."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.inference_models import made, saved
from support.tiny_models import TOKENIZER_KINDS

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.posts import Post
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.load import load_predictor


def change_json(name: str, **values) -> Callable[[Path], None]:
    """Set keys of a JSON file; `None` removes one."""

    def change(folder: Path) -> None:
        found = {**json.loads((folder / name).read_text("utf-8")), **values}
        found = {key: value for key, value in found.items() if value is not None}
        (folder / name).write_text(json.dumps(found), "utf-8")

    return change


def write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, "utf-8")


def with_tokenizer(kind: str) -> Callable[[Path], None]:
    return lambda folder: TOKENIZER_KINDS[kind]().save_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_json("config.json", prompt_length=0), "configuration cannot be used .*prompt_length must be"),
        (change_json("config.json", prompt_length="2"), "configuration cannot be used .*prompt_length"),
        (change_json("config.json", encoder_config={"model_type": "zzz"}), "configuration cannot be used .*zzz"),
        (change_json("config.json", model_type="zzz", auto_map=None), "configuration cannot be used .*zzz"),
        (change_json("config.json", id2label={"0": "O", "2": "B-PER"}), "id2label must name each label once, in ids"),
        (change_json("config.json", id2label={"a": "O"}), "configuration cannot be used"),
        (change_json("config.json", architectures=["BertModel"]), "not a trained CoTPD model"),
        (change_json("config.json", use_crf=True), "3 of them are missing, such as crf.end"),
        (change_json("config.json", id2label={"0": "O", "1": 7}), "id2label must name"),
        (change_json("config.json", architectures=["CoTPDModel"]), "architectures .*CoTPDModel.*not a trained CoTPD"),
        (write("adapter_config.json", "{"), "The model cannot be loaded"),
        (write("config.json", "[]"), "configuration cannot be used"),
        (write("config.json", ""), "not a valid JSON"),
        (write("run.json", "[1]"), "run.json: The file is not what a run writes"),
        (write("run.json", '{"knowledge_columns": 3}'), "run.json: The file is not what a run writes"),
        (write("run.json", '{"knowledge_columns": ["blip"]}'), "unknown column 'blip'"),
        (with_tokenizer("bpe"), "The tokenizer has .* tokens, the model .*: they are of different models"),
        (lambda folder: [path.unlink() for path in folder.glob("tokenizer*")], "tokenizer"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer"),
        (lambda folder: (folder / "tokenizer_config.json").unlink(), "no token for padding"),
        (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights .*again"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x08" + bytes(7) + b"{}"), "bytes instead of"),
    ],
)  # fmt: skip
def test_refused_in_one_line(tmp_path: Path, change, message: str):
    folder = saved(tmp_path / "model")
    change(folder)
    with pytest.raises((SettingError, OSError), match=message) as error:
        load_predictor(str(folder))
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
def test_a_smaller_or_unsplit_tokenizer_of_another_model(tmp_path: Path, kind: str):
    """Each id of it is one of the model, so nothing but the words that its tokens begin tells."""
    model, tokenizer = made(CoTPDForTokenClassification, "bpe", positions=60)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    assert load_predictor(str(tmp_path))
    TOKENIZER_KINDS[kind]().save_pretrained(tmp_path)
    with pytest.raises(SettingError, match=r"of the tokenizer's tokens are not the model's.*Copy the tokenizer"):
        load_predictor(str(tmp_path))


def test_a_tokenizer_without_the_entity_markers(tmp_path: Path):
    folder = saved(tmp_path / "model", CoTPDForRelationExtraction)
    with_tokenizer("wordpiece")(folder)
    with pytest.raises(SettingError, match="The tokenizer lacks the entity markers: they are of different models"):
        load_predictor(str(folder))


def test_a_tokenizer_that_lost_its_padding_token_reads_as_before(tmp_path: Path):
    folder = saved(tmp_path / "model")
    posts = [Post(str(number), "Mira Holt sings " * number, "here") for number in (1, 4)]
    expected = load_predictor(str(folder))[0](posts)
    change_json("tokenizer_config.json", pad_token=None)(folder)
    found = load_predictor(str(folder))[0](posts)
    assert [[entity["text"] for entity in row["entities"]] for row in found] == [
        [entity["text"] for entity in row["entities"]] for row in expected
    ]

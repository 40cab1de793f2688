"""Frozen teachers: whose distribution the student gets, word by word, and what is refused."""

import math

import pytest
import torch
import transformers
from tiny_models import TOKENIZER_KINDS, tiny_encoder_config

from modeling_cotpd import CoTPDConfig, CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.data.views import ViewSettings, build_features
from modeling_cotpd.errors import SettingError
from modeling_cotpd.markers_cotpd import add_entity_markers
from modeling_cotpd.training.collator import CoTPDCollator
from modeling_cotpd.training.frozen_teachers import TeacherReading, add_targets, log_mean
from modeling_cotpd.training.losses import distillation_kl

TAGS = ["O", "B-PER", "I-PER"]
RELATIONS = ["None", "knows"]
HEADS = {"mner": CoTPDForTokenClassification, "mre": CoTPDForRelationExtraction}
LABELS = {"mner": TAGS, "mre": RELATIONS}
READING = TeacherReading(knowledge_columns=("caption", "cot_noun"), max_length=48, batch_size=2)


def row(index: int, task: str) -> dict:
    tokens = [["Mira", "Holt", "sings"], ["so", "proud", "of", "Dario", "and", "Mira"], ["Otters", "!"]][index % 3]
    made = {"id": f"post-{index}", "tokens": tokens, "caption": "a dog " * (index % 4), "cot_noun": f"Mira {index}"}
    if task == "mner":
        return {**made, "ner_tags": None if index % 3 == 1 else ["B-PER"] + ["O"] * (len(tokens) - 1)}
    spans = {"head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2}}
    return {**made, **spans, "relation": None if index % 3 == 1 else "knows"}


def model_folder(root, task: str, seed: int, kind: str = "wordpiece", labels=None) -> str:
    torch.manual_seed(seed)
    tokenizer = TOKENIZER_KINDS[kind]()
    if task == "mre":
        add_entity_markers(tokenizer)
    names = labels or LABELS[task]
    config = CoTPDConfig(
        encoder_config=tiny_encoder_config("bert", vocab_size=len(tokenizer)),
        prompt_length=3,
        id2label=dict(enumerate(names)),
        label2id={name: index for index, name in enumerate(names)},
    )
    folder = root / f"{task}-{seed}-{kind}-{len(names)}"
    HEADS[task](config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def split_and_features(task: str, kind: str = "wordpiece"):
    split = make_split([row(index, task) for index in range(7)], task, LABELS[task], "train")
    tokenizer = TOKENIZER_KINDS[kind]()
    if task == "mre":
        add_entity_markers(tokenizer)
    return split, build_features(split, tokenizer, ViewSettings((), 48, 61))


def with_targets(task: str, teachers: list[str], reading: TeacherReading = READING, kind: str = "wordpiece"):
    split, features = split_and_features(task, kind)
    return add_targets(features, split, teachers, HEADS[task], reading, {})


def distributions(folder: str, task: str, view: str) -> list[torch.Tensor]:
    """One row after another, without padding: per row `(words, C)` or `(C,)`."""
    model = HEADS[task].from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    split, _ = split_and_features(task)
    rows = build_features(split, tokenizer, ViewSettings(READING.knowledge_columns, 48, 61))
    found = []
    for row in rows:
        inputs = {"input_ids": torch.tensor([row["input_ids"]])}
        if view == "knowledge":
            inputs["knowledge_input_ids"] = torch.tensor([row["knowledge_input_ids"]])
        if task == "mre":
            inputs["marker_positions"] = torch.tensor([row["marker_positions"]])
        with torch.no_grad():
            output = model(**inputs)
        logits = (output.logits if view == "prompt" else output.knowledge_logits)[0].softmax(-1)
        found.append(logits[row["first_pieces"]] if task == "mner" else logits)
    return found


@pytest.mark.parametrize("task", list(HEADS))
@pytest.mark.parametrize("view", ["knowledge", "prompt"])
def test_the_mean_of_two_teachers(tmp_path, task, view):
    teachers = [model_folder(tmp_path, task, seed) for seed in (1, 2)]
    features = with_targets(task, teachers, TeacherReading(view, ("caption", "cot_noun"), 48, 2))
    assert "knowledge_input_ids" not in features.column_names
    expected = [
        torch.stack(pair).mean(0) for pair in zip(*(distributions(t, task, view) for t in teachers), strict=True)
    ]
    for target, mean in zip(features["target_log_probs"], expected, strict=True):
        torch.testing.assert_close(torch.tensor(target).exp(), mean, atol=1e-5, rtol=1e-4)
    single = with_targets(task, teachers[:1], TeacherReading(view, ("caption", "cot_noun"), 48, 2))
    assert not torch.allclose(torch.tensor(single[0]["target_log_probs"]).exp(), expected[0], atol=1e-3)


def test_a_teacher_with_another_tokenizer(tmp_path):
    """The student's pieces are others, the words are the same."""
    teacher = model_folder(tmp_path, "mner", 1)
    features = with_targets("mner", [teacher], kind="bpe")
    expected = distributions(teacher, "mner", "knowledge")
    for target, distribution in zip(features["target_log_probs"], expected, strict=True):
        torch.testing.assert_close(torch.tensor(target).exp(), distribution, atol=1e-5, rtol=1e-4)
    batch = CoTPDCollator(0)(list(features))
    for index, found in enumerate(features):
        for place, distribution in zip(found["first_pieces"], expected[index], strict=True):
            torch.testing.assert_close(
                batch["target_log_probs"][index, place].exp(), distribution, atol=1e-5, rtol=1e-4
            )


def test_targets_are_computed_once(tmp_path, monkeypatch):
    teacher = model_folder(tmp_path, "mner", 1)
    split, features = split_and_features("mner")
    path = tmp_path / "split.parquet"
    split.to_parquet(path)
    split = type(split).from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    first = add_targets(features, split, [teacher], HEADS["mner"], READING, {})
    monkeypatch.setattr("modeling_cotpd.training.frozen_teachers.Teacher.probabilities", None)
    again = add_targets(features, split, [teacher], HEADS["mner"], READING, {})
    assert again["target_log_probs"] == first["target_log_probs"]
    with pytest.raises(TypeError):  # other weights are other targets
        add_targets(features, split, [model_folder(tmp_path, "mner", 2)], HEADS["mner"], READING, {})


def test_a_probability_of_zero_stays_finite():
    certain = torch.tensor(log_mean([torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])]))
    assert certain.isfinite().all()
    assert distillation_kl(torch.zeros(1, 2), certain.unsqueeze(0), torch.ones(1)).item() == pytest.approx(math.log(2))


def test_what_is_no_teacher(tmp_path):
    encoder = transformers.AutoModel.from_config(tiny_encoder_config("bert"))
    encoder.save_pretrained(tmp_path / "encoder")
    with pytest.raises(SettingError, match="plain encoder"):
        with_targets("mner", [str(tmp_path / "encoder")])
    with pytest.raises(SettingError, match="CoTPDForRelationExtraction, not a CoTPDForTokenClassification"):
        with_targets("mner", [model_folder(tmp_path, "mre", 1)])
    with pytest.raises(SettingError, match="the data has"):
        with_targets("mner", [model_folder(tmp_path, "mner", 1, labels=["O", "B-LOC", "I-LOC"])])
    with pytest.raises(SettingError, match="knowledge_columns is empty"):
        TeacherReading("knowledge", ())
    with pytest.raises(SettingError, match="distill_from_view"):
        TeacherReading("both", ("caption",))

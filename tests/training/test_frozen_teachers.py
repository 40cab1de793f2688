"""Frozen teachers: whose distribution the student gets, word by word, and what is refused."""

import math

import pytest
import torch
import transformers
from support.tiny_models import TOKENIZER_KINDS, tiny_encoder_config

from modeling_cotpd import CoTPDConfig, CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.data.views import ViewSettings, build_features
from modeling_cotpd.errors import SettingError
from modeling_cotpd.markers_cotpd import add_entity_markers
from modeling_cotpd.training.arguments import DataArguments, ModelArguments
from modeling_cotpd.training.frozen_teachers import add_targets, align_distributions, log_mean
from modeling_cotpd.training.losses import distillation_kl
from modeling_cotpd.training.run import check_settings
from modeling_cotpd.training.tasks import TASKS
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

TAGS = ["O", "B-PER", "I-PER"]
RELATIONS = ["None", "knows"]
HEADS = {"mner": CoTPDForTokenClassification, "mre": CoTPDForRelationExtraction}
LABELS = {"mner": TAGS, "mre": RELATIONS}
COLUMNS = ["caption", "cot_noun"]


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


def arguments(teachers: list[str], view: str = "knowledge", columns=COLUMNS) -> tuple:
    training = CoTPDTrainingArguments("out", per_device_eval_batch_size=2, use_cpu=True, do_train=True)
    data = DataArguments("data", knowledge_columns=columns, max_length=48)
    return ModelArguments(distill_from=teachers, distill_from_view=view), data, training


def with_targets(task: str, teachers: list[str], view: str = "knowledge", kind: str = "wordpiece"):
    split, features = split_and_features(task, kind)
    return add_targets(features, split, TASKS[task], *arguments(teachers, view))


def distributions(folder: str, task: str, view: str) -> list[torch.Tensor]:
    """One row after another, without padding: per row `(n, C)` or `(C,)`."""
    model = HEADS[task].from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    split, _ = split_and_features(task)
    rows = build_features(split, tokenizer, ViewSettings(tuple(COLUMNS), 48, 61))
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
        found.append(logits)
    return found


@pytest.mark.parametrize("task", list(HEADS))
@pytest.mark.parametrize("view", ["knowledge", "prompt"])
def test_the_mean_of_two_teachers(tmp_path, task, view):
    teachers = [model_folder(tmp_path, task, seed) for seed in (1, 2)]
    features = with_targets(task, teachers, view)
    assert "knowledge_input_ids" not in features.column_names
    expected = [
        torch.stack(pair).mean(0) for pair in zip(*(distributions(t, task, view) for t in teachers), strict=True)
    ]
    for row, mean in zip(features, expected, strict=True):
        assert_targets(row, mean)
    single = with_targets(task, teachers[:1], view)
    first = 1 if task == "mner" else slice(None)
    assert not torch.allclose(torch.tensor(single[0]["target_log_probs"][first]).exp(), expected[0][first], atol=1e-3)


def assert_targets(row: dict, expected: torch.Tensor) -> None:
    """Targets of one row: a distribution per token of a word, or one for the pair."""
    if "distillation_mask" not in row:
        torch.testing.assert_close(torch.tensor(row["target_log_probs"]).exp(), expected, atol=1e-5, rtol=1e-4)
        return
    assert [bool(target) for target in row["target_log_probs"]] == [bool(mask) for mask in row["distillation_mask"]]
    for target, distribution in zip(row["target_log_probs"], expected, strict=True):
        if target:
            torch.testing.assert_close(torch.tensor(target).exp(), distribution, atol=1e-5, rtol=1e-4)


def test_a_teacher_with_another_tokenizer(tmp_path):
    """The student's tokens are others; the first one of a word has the distribution of the teacher's first one."""
    teacher = model_folder(tmp_path, "mner", 1)
    features = with_targets("mner", [teacher], kind="bpe")
    _, teacher_rows = split_and_features("mner")
    expected = distributions(teacher, "mner", "knowledge")
    compared = 0
    for row, teacher_row, distribution in zip(features, teacher_rows, expected, strict=True):
        begins = {start: place for place, (start, end) in enumerate(teacher_row["offsets"]) if start < end}
        for (start, end), target in zip(row["offsets"], row["target_log_probs"], strict=True):
            if target and start in begins:
                compared += 1
                torch.testing.assert_close(
                    torch.tensor(target).exp(), distribution[begins[start]], atol=1e-5, rtol=1e-4
                )
            assert bool(target) == (start < end)
    assert compared > 20


def test_alignment_by_characters():
    """The teacher reads "Mira" in one token and "Holt" in two, the student the other way round."""
    teacher = [(0, 0), (0, 4), (5, 7), (7, 9), (0, 0)]
    student = [(0, 0), (0, 2), (2, 4), (5, 9), (0, 0)]
    rows = torch.tensor([[1.0, 0, 0], [0.1, 0.7, 0.2], [0.2, 0.3, 0.5], [0.4, 0.1, 0.5], [1.0, 0, 0]])
    none, begin, inner, whole, last = align_distributions(student, teacher, rows, [0, 2, 2])
    assert none is None and last is None
    assert begin.tolist() == rows[1].tolist() and whole.tolist() == rows[2].tolist()
    # within the teacher's token B-PER counts for I-PER
    torch.testing.assert_close(inner, torch.tensor([0.1, 0.0, 0.9]))


def test_a_character_that_the_teacher_drops_has_no_target():
    assert align_distributions([(0, 1), (1, 2)], [(1, 2)], torch.tensor([[0.5, 0.5]]), [0, 1])[0] is None


def test_targets_are_computed_once(tmp_path, monkeypatch):
    teacher = model_folder(tmp_path, "mner", 1)
    split, features = split_and_features("mner")
    path = tmp_path / "split.parquet"
    split.to_parquet(path)
    split = type(split).from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    first = add_targets(features, split, TASKS["mner"], *arguments([teacher]))
    monkeypatch.setattr("modeling_cotpd.training.frozen_teachers.FrozenTeacher.probabilities", None)
    again = add_targets(features, split, TASKS["mner"], *arguments([teacher]))
    assert again["target_log_probs"] == first["target_log_probs"]
    with pytest.raises(TypeError):  # other weights are other targets
        add_targets(features, split, TASKS["mner"], *arguments([model_folder(tmp_path, "mner", 2)]))


def test_a_probability_of_zero_stays_finite():
    certain = torch.tensor(log_mean([torch.tensor([1.0, 0.0]), torch.tensor([1.0, 0.0])]))
    assert certain.isfinite().all()
    assert distillation_kl(torch.zeros(1, 2), certain.unsqueeze(0), torch.ones(1)).item() == pytest.approx(math.log(2))


def test_what_is_no_teacher(tmp_path):
    encoder = transformers.AutoModel.from_config(tiny_encoder_config("bert"))
    encoder.save_pretrained(tmp_path / "encoder")
    with pytest.raises(SettingError, match="plain encoder"):
        with_targets("mner", [str(tmp_path / "encoder")])
    with pytest.raises(OSError, match="CoTPDForRelationExtraction, not a CoTPDForTokenClassification"):
        with_targets("mner", [model_folder(tmp_path, "mre", 1)])
    with pytest.raises(SettingError, match="the data has"):
        with_targets("mner", [model_folder(tmp_path, "mner", 1, labels=["O", "B-LOC", "I-LOC"])])
    with pytest.raises(SettingError, match="knowledge_columns is empty"):
        check_settings(*arguments(["teacher"], columns=[]))
    with pytest.raises(SettingError, match="distill_from_view"):
        check_settings(*arguments(["teacher"], "both"))

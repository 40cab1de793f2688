"""The model card, from results alone."""

import pytest
from huggingface_hub import ModelCard

from modeling_cotpd.model_card import write_model_card

SCORES = {"precision": 0.5, "recall": 0.25, "f1": 0.333333}
DATASET = {
    "name": "fiction",
    "captioner": "",
    "knowledge": "",
    "splits": {"train": {"rows": 3, "gold_hash": "abc123"}},
}


def card(folder, **changes) -> ModelCard:
    results = {"task": "mner", "seed": 1, "dataset": DATASET, "knowledge_columns": ["caption"]}
    results |= {"splits": {"test": {"prompt": SCORES, "knowledge": {**SCORES, "f1": 0.5}}}, **changes}
    write_model_card(folder, results, "some/encoder", "conditional, N = 8")
    return ModelCard.load(folder / "README.md")


def metrics(loaded: ModelCard) -> dict:
    return {one.metric_name: (one.dataset_name, one.metric_type, one.metric_value) for one in loaded.data.eval_results}


@pytest.mark.parametrize("task", ["mner", "mre"])
def test_scores_of_every_view(tmp_path, task):
    loaded = card(tmp_path, task=task)
    name = {"mner": "Entity F1", "mre": "Micro F1 without None"}[task]
    assert metrics(loaded) == {
        f"{name}, prompt view": ("fiction", "f1", 0.3333),
        f"{name}, knowledge view": ("fiction", "f1", 0.5),
    }
    assert "| prompt | 0.5000 | 0.2500 | 0.3333 |" in loaded.text and "abc123" in loaded.text
    assert "some/encoder" in loaded.text and "## Scores on the test split" in loaded.text
    assert ("relation-extraction" in loaded.text) == (task == "mre")
    assert loaded.data.pipeline_tag == ("token-classification" if task == "mner" else None)


def test_without_a_test_split_the_heading_says_validation(tmp_path):
    loaded = card(tmp_path, splits={"validation": {"prompt": SCORES}})
    assert "## Scores on the validation split" in loaded.text and len(loaded.data.eval_results) == 1


def test_without_any_scores(tmp_path):
    assert card(tmp_path, splits={}).data.eval_results is None


def test_usage_is_python(tmp_path):
    for task in ("mner", "mre"):
        text = card(tmp_path, task=task).text
        code = text.split("```python\n")[1].split("```")[0]
        compile(code, "card", "exec")
        assert tmp_path.name in code

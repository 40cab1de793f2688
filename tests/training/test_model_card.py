"""The model card, from results alone."""

import pytest
from huggingface_hub import ModelCard

from modeling_cotpd.training.model_card import write_model_card

SCORES = {"precision": 0.5, "recall": 0.25, "f1": 0.333333}
DATASET = {
    "name": "fiction",
    "captioner": "",
    "knowledge": "",
    "splits": {"train": {"rows": 3, "gold_hash": "abc123"}},
}


def card(folder, **changes) -> ModelCard:
    results = {"task": "mner", "seed": 1, "dataset": DATASET, "knowledge_columns": ["caption"]}
    results |= {"encoder": "some/encoder", "settings": {"prompt_type": "conditional", "prompt_length": 8}}
    results |= {"splits": {"test": {"prompt": SCORES, "knowledge": {**SCORES, "f1": 0.5}}}, **changes}
    write_model_card(folder, results, folder.name)
    return ModelCard.load(folder / "README.md")


def metrics(loaded: ModelCard) -> dict:
    return {one.metric_name: (one.dataset_name, one.metric_type, one.metric_value) for one in loaded.data.eval_results}


@pytest.mark.parametrize("task", ["mner", "mre"])
def test_scores_of_every_view(tmp_path, task):
    loaded = card(tmp_path, task=task)
    name = {"mner": "Entity F1", "mre": "Micro F1 without None"}[task]
    found = metrics(loaded)
    assert found[f"{name}, prompt view"] == ("fiction", "f1", 0.3333)
    assert found[f"{name}, knowledge view"] == ("fiction", "f1", 0.5)
    precision = name.replace("F1", "precision")
    assert found[f"{precision}, prompt view"] == ("fiction", "precision", 0.5) and len(found) == 6
    assert "| prompt | 0.5000 | 0.2500 | 0.3333 |" in loaded.text and "abc123" in loaded.text
    assert "| encoder | some/encoder |" in loaded.text and "| prompt | conditional, N = 8 |" in loaded.text
    assert loaded.data.base_model == "some/encoder" and "## Scores on the test split" in loaded.text
    assert ("relation-extraction" in loaded.text) == (task == "mre")
    assert loaded.data.pipeline_tag == ("token-classification" if task == "mner" else None)


def test_without_a_test_split_the_heading_says_validation(tmp_path):
    loaded = card(tmp_path, splits={"validation": {"prompt": SCORES}})
    assert "## Scores on the validation split" in loaded.text and len(loaded.data.eval_results) == 3


def test_without_any_scores(tmp_path):
    assert card(tmp_path, splits={}).data.eval_results is None


def test_usage_is_python(tmp_path):
    for task in ("mner", "mre"):
        text = card(tmp_path, task=task).text
        code = text.split("```python\n")[1].split("```")[0]
        compile(code, "card", "exec")
        assert tmp_path.name in code


MADE = {
    "captions": {"model": "Salesforce/blip2", "prompt": "", "base_url": "http://10.0.0.7/v1"},
    "knowledge": [
        {"teacher": "/models/tiny.gguf", "mode": "dialogue", "shown": "caption", "prompts": {"noun": "noun@1#a1"}}
    ],
}


def test_how_captions_and_explanations_were_made(tmp_path):
    dataset = {**DATASET, "captioner": "blip2", "knowledge": "tiny at http://10.0.0.7/v1, dialogue mode"}
    text = card(tmp_path, dataset={**dataset, "provenance": MADE}).text
    assert "| captions | blip2 (model: Salesforce/blip2) |" in text
    assert "| explanations | tiny, dialogue mode |" in text
    assert "| teacher | tiny.gguf, mode: dialogue, shown: caption |" in text
    assert "| teacher's prompts | `noun@1#a1` |" in text and "10.0.0.7" not in text


def test_what_is_not_known_is_said(tmp_path):
    text = card(tmp_path, dataset={**DATASET, "captioner": "blip2", "knowledge": "knowledge files"}).text
    assert "| captions | blip2 (the captioning model is not recorded) |" in text
    assert "| teacher | not recorded |" in text and "| teacher's prompts | not recorded |" in text
    text = card(tmp_path).text
    assert "| captions | none |" in text and "| teacher | none |" in text
    write_model_card(tmp_path, {"task": "mre"}, tmp_path.name)
    text = ModelCard.load(tmp_path / "README.md").text
    for row in ("encoder", "prompt", "captions", "explanations", "seed", "rows"):
        assert f"| {row} | not recorded |" in text


def test_scores_of_a_part_say_so(tmp_path):
    loaded = card(tmp_path, settings={"max_predict_samples": 7})
    assert "## Scores on the first 7 rows of the test split" in loaded.text
    assert loaded.data.eval_results[0].dataset_args == {"first_rows": 7}

"""LoRA: what is trainable, what is saved, and that every prompt type still works inside peft."""

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import ENCODER_FAMILIES, PROMPT_TYPES, pad_id, padded, tiny_model

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.training.arguments import ModelArguments
from modeling_cotpd.training.lora import add_lora

ROWS = [[2, 31, 47, 53, 60, 3], [2, 9, 3]]
SETTINGS = ModelArguments(lora_r=2, lora_dropout=0.0)


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
@pytest.mark.parametrize("prompt_type", PROMPT_TYPES)
def test_a_fresh_adapter_changes_no_prediction(family, prompt_type):
    model = tiny_model(CoTPDForTokenClassification, family, prompt_type=prompt_type, use_crf=True)
    batch = padded(ROWS, 9, pad_id(model))
    before = model(**batch).logits.detach()
    torch.testing.assert_close(add_lora(model, SETTINGS, False).eval()(**batch).logits, before)


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
@pytest.mark.parametrize("prompt_type", PROMPT_TYPES)
def test_adapter_prompt_and_head_learn_and_the_encoder_does_not(family, prompt_type):
    model = tiny_model(CoTPDForTokenClassification, family, prompt_type=prompt_type, use_crf=True)
    adapted = add_lora(model, SETTINGS, False).train()
    for name, value in adapted.named_parameters():
        new = any(part in name for part in ("lora_", "modules_to_save"))
        assert value.requires_grad == new, name
    before = {name: value.detach().clone() for name, value in adapted.named_parameters()}
    optimizer = torch.optim.SGD([value for value in adapted.parameters() if value.requires_grad], lr=0.1)
    batch = padded(ROWS, 9, pad_id(model)) | {
        "labels": torch.tensor([[-100, 1, 2, 0, 4, *[-100] * 4], [-100, 3, *[-100] * 7]])
    }
    for _ in range(3):
        optimizer.zero_grad()
        adapted(**batch).loss.backward()
        optimizer.step()
    still = [
        name for name, value in adapted.named_parameters() if value.requires_grad and torch.equal(before[name], value)
    ]
    assert still == []
    assert any(".encoder." in name and "lora_" in name for name in before)


@pytest.mark.parametrize(
    ("kind", "new_vocabulary"), [(CoTPDForTokenClassification, False), (CoTPDForRelationExtraction, True)]
)
def test_what_is_saved(tmp_path, kind, new_vocabulary):
    crf = {"use_crf": True} if kind is CoTPDForTokenClassification else {}
    model = tiny_model(kind, **crf)
    add_lora(model, SETTINGS, new_vocabulary).save_pretrained(tmp_path)
    names = set(load_file(tmp_path / "adapter_model.safetensors"))
    for part in ("prompt.queries", "prompt.layers.0.value.weight", "classifier.weight", "classifier.bias"):
        assert [name for name in names if name.endswith(part)], part
    assert bool([name for name in names if "crf.transitions" in name]) == bool(crf)
    assert bool([name for name in names if "word_embeddings" in name]) == new_vocabulary


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
def test_by_default_every_linear_layer_of_the_encoder_gets_lora(family):
    model = tiny_model(CoTPDForTokenClassification, family)
    linear = {name for name, part in model.cotpd.encoder.named_modules() if isinstance(part, torch.nn.Linear)}
    adapted = add_lora(model, SETTINGS, False)
    found = {
        name.split("cotpd.encoder.")[1].split(".lora_A")[0]
        for name, _ in adapted.named_parameters()
        if "lora_A" in name
    }
    assert found == linear


def test_named_targets():
    model = tiny_model(CoTPDForTokenClassification)
    adapted = add_lora(model, ModelArguments(lora_r=2, lora_target_modules=["value"]), False)
    found = [name for name, _ in adapted.named_parameters() if "lora_A" in name]
    assert len(found) == 2 and all(".encoder." in name and "value" in name for name in found)

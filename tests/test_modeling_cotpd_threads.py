"""One model, many threads, and the other ways in which a model's modules are used."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from support.tiny_models import ENCODER_FAMILIES, PROMPT_TYPES, TOKENIZER_KINDS, pad_id, padded, tiny_model

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification, RelationExtractionPipeline
from modeling_cotpd.markers_cotpd import add_entity_markers

TIGHT = {"atol": 1e-5, "rtol": 0}


def inputs_of(model, seed: int) -> dict[str, torch.Tensor]:
    """Two rows of a random length; every second call has a knowledge view, whose text stands within it."""
    random = torch.Generator().manual_seed(seed)
    length = 4 + seed % 7
    ids = torch.randint(5, 100, (2, length), generator=random)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if seed % 2:
        more = torch.randint(5, 100, (2, 5), generator=random)
        inputs["knowledge_input_ids"] = torch.cat([ids[:, :2], more, ids[:, 2:]], 1)
        inputs["knowledge_text_positions"] = torch.tensor([[0, 1, *range(7, length + 5)]] * 2)
    return inputs


@pytest.mark.parametrize(
    ("family", "prompt_type"),
    [(family, kind) for family in ENCODER_FAMILIES for kind in ("conditional", "prefix")]
    + [("bert", kind) for kind in ("unconditional", "none")],
)
def test_concurrent_forwards_are_those_of_one_thread(family, prompt_type):
    model = tiny_model(CoTPDForTokenClassification, family, prompt_type=prompt_type)
    given = [inputs_of(model, seed) for seed in range(16)]

    def run(inputs: dict) -> tuple:
        with torch.no_grad():
            return model(**inputs).to_tuple()

    expected = [run(inputs) for inputs in given]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(3):
            for found, wanted in zip(threads.map(run, given), expected, strict=True):
                torch.testing.assert_close(found, wanted, **TIGHT)


def test_concurrent_calls_of_the_relation_pipeline():
    """Its tokenizer has a setting for special tokens that a call may change, which another call's encoding forbids."""
    tokenizer = TOKENIZER_KINDS["wordpiece"]()
    assert not tokenizer.split_special_tokens
    add_entity_markers(tokenizer)
    tokenizer.model_max_length = 60
    model = tiny_model(CoTPDForRelationExtraction, encoder_changes={"vocab_size": len(tokenizer)})
    extract = RelationExtractionPipeline(model=model, tokenizer=tokenizer, device=torch.device("cpu"))
    posts = [{"text": f"Mira {'[SEP] ' * count}met Dario", "head": "Mira", "tail": "Dario"} for count in range(8)]
    expected = [extract.preprocess(post)["input_ids"].tolist() for post in posts]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            assert [found["input_ids"].tolist() for found in threads.map(extract.preprocess, posts)] == expected


@pytest.mark.parametrize("prompt_type", PROMPT_TYPES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_concurrent_backward_passes(prompt_type, checkpointing):
    """Each thread trains a model of its own: what a call asks of the layers never reaches another thread."""

    def gradients(seed: int) -> list[torch.Tensor]:
        model = models[seed]
        model.zero_grad()
        output = model(**inputs_of(model, seed))
        sum(each.square().sum() for each in output.to_tuple() if each is not None).backward()
        return [value.grad.clone() for value in model.parameters()]

    models = [tiny_model(CoTPDForTokenClassification, prompt_type=prompt_type).train() for _ in range(4)]
    if checkpointing:
        for model in models:
            model.gradient_checkpointing_enable()
    expected = [gradients(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        torch.testing.assert_close(list(threads.map(gradients, range(4))), expected)


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
@pytest.mark.parametrize("prompt_type", PROMPT_TYPES)
@torch.no_grad()
def test_copies_and_pickles(family, prompt_type):
    model = tiny_model(CoTPDForTokenClassification, family, prompt_type=prompt_type)
    inputs = inputs_of(model, 3)
    expected = model(**inputs).to_tuple()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), copy.deepcopy(copy.deepcopy(model))):
        torch.testing.assert_close(other(**inputs).to_tuple(), expected)
        assert set(other.state_dict()) == set(model.state_dict())


@pytest.mark.parametrize("prompt_type", PROMPT_TYPES)
@torch.no_grad()
def test_dynamic_quantization(prompt_type):
    model = tiny_model(CoTPDForTokenClassification, prompt_type=prompt_type)
    inputs = inputs_of(model, 2)
    expected = model(**inputs).logits
    changed = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {torch.nn.Linear}, dtype=torch.qint8)
    found = changed(**inputs).logits
    assert 0 < (found - expected).abs().max() < 1


@pytest.mark.parametrize("kind", [CoTPDForTokenClassification, CoTPDForRelationExtraction])
@pytest.mark.parametrize("prompt_type", PROMPT_TYPES)
@torch.no_grad()
def test_offloading(kind, prompt_type):
    """Weights are on the meta device outside of a module's own forward: using one past it raises."""
    from accelerate import cpu_offload

    model = tiny_model(kind, prompt_type=prompt_type)
    inputs = inputs_of(model, 3)
    if kind is CoTPDForRelationExtraction:
        inputs["marker_positions"] = torch.tensor([[1, 2], [0, 3]])
    expected = model(**inputs).to_tuple()
    cpu_offload(model, execution_device="cpu")
    assert model.classifier.weight.device.type == "meta"
    torch.testing.assert_close(model(**inputs).to_tuple(), expected)


@torch.no_grad()
def test_dispatch(tmp_path):
    from accelerate import dispatch_model

    model = tiny_model(CoTPDForTokenClassification)
    inputs = inputs_of(model, 3)
    expected = model(**inputs).to_tuple()
    places = {"cotpd.encoder": "cpu", "cotpd.prompt": "disk", "dropout": "cpu", "classifier": "disk"}
    places["continues_word"] = "cpu"
    dispatched = dispatch_model(model, places, main_device="cpu", offload_dir=str(tmp_path))
    torch.testing.assert_close(dispatched(**inputs).to_tuple(), expected)


def test_adapters_on_the_prompt_s_projections():
    from peft import LoraConfig, get_peft_model

    model = tiny_model(CoTPDForTokenClassification, prompt_layers=2)
    inputs = padded([[2, 31, 47, 53, 60, 3]], 8, pad_id(model))
    before = model(**inputs).logits.detach()
    targets = [f"cotpd.prompt.layers.{i}.{name}" for i in (0, 1) for name in ("query", "key", "value")]
    adapted = get_peft_model(model, LoraConfig(target_modules=targets, init_lora_weights=False)).eval()
    assert (adapted(**inputs).logits - before).abs().max() > 1e-4
    adapted(**inputs).logits.sum().backward()
    found = {name.split(".lora_")[0] for name, value in adapted.named_parameters() if value.grad is not None}
    assert len(found) == 6


@pytest.mark.slow
@pytest.mark.parametrize("prompt_type", PROMPT_TYPES)
def test_compiled_with_positions_within_the_view(prompt_type):
    model = tiny_model(CoTPDForTokenClassification, prompt_type=prompt_type)
    compiled = torch.compile(model)
    for seed in (1, 3, 2):
        inputs = inputs_of(model, seed)
        torch.testing.assert_close(compiled(**inputs).to_tuple(), model(**inputs).to_tuple(), atol=1e-4, rtol=1e-4)

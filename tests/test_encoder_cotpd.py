import pytest
import torch
from tiny_models import ENCODER_FAMILIES, tiny_encoder_config
from transformers import AutoModel

from modeling_cotpd.encoder_cotpd import (
    BERT_LAYERS,
    encode_and_read,
    encoder_layers,
    max_positions,
    prompt_view_layout,
    without_pooler,
)


def test_layout_puts_the_prompt_behind_the_text_and_padding_last():
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 0]])
    text, prompt, attended = prompt_view_layout(mask, 2)
    assert text.tolist() == [[0, 1, 2, 5], [0, 1, 2, 3], [4, 0, 1, 5]]
    assert prompt.tolist() == [[3, 4], [4, 5], [2, 3]]
    assert attended.tolist() == [[1, 1, 1, 1, 1, 0], [1] * 6, [1, 1, 1, 1, 0, 0]]


def test_layout_is_a_permutation():
    mask = torch.randint(0, 2, (50, 7))
    text, prompt, _ = prompt_view_layout(mask, 3)
    positions = torch.cat([text, prompt], 1).sort(1).values
    assert torch.equal(positions, torch.arange(10).expand(50, -1))


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
def test_layers_are_found_in_every_family(family):
    encoder = AutoModel.from_config(tiny_encoder_config(family))
    layers = encoder_layers(encoder)
    assert len(layers) == encoder.config.num_hidden_layers
    assert all("Layer" in type(layer).__name__ for layer in layers)


def test_an_encoder_without_such_a_list():
    encoder = AutoModel.from_config(tiny_encoder_config("bert"))
    encoder.config.num_hidden_layers = 77
    with pytest.raises(ValueError, match="no list of 77 layers"):
        encoder_layers(encoder)


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
def test_the_longest_text_that_an_encoder_reads(family):
    encoder = AutoModel.from_config(tiny_encoder_config(family)).eval()
    longest = max_positions(encoder)
    if longest is None:
        assert family == "deberta-v2"
        return
    ids = torch.full((1, longest), 9)
    assert encoder(input_ids=ids).last_hidden_state.shape[1] == longest
    if family not in ("modernbert",):  # rotary positions have no table to run out of
        with pytest.raises((IndexError, RuntimeError)):
            encoder(input_ids=torch.full((1, longest + 1), 9))


def test_a_pooler_is_dropped():
    encoder = AutoModel.from_config(tiny_encoder_config("bert"))
    assert any(name.startswith("pooler") for name, _ in encoder.named_parameters())
    assert not any(name.startswith("pooler") for name, _ in without_pooler(encoder).named_parameters())


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
@pytest.mark.parametrize("training", [False, True])
def test_reading_some_positions_gives_what_reading_all_gives(family, training):
    encoder = AutoModel.from_config(tiny_encoder_config(family)).train(training)
    inputs = {"input_ids": torch.randint(5, 100, (3, 9)), "attention_mask": torch.ones(3, 9, dtype=torch.long)}
    inputs["attention_mask"][1, 6:] = 0
    found = {}
    for whole in (False, True):
        states, encoded = encode_and_read(encoder, lambda states: states[:, 1:4], whole=whole, **inputs)
        computed = encoded.last_hidden_state.shape[1]
        assert computed == (3 if family in BERT_LAYERS and not whole else 9)
        encoder.zero_grad()
        states.square().sum().backward()
        gradients = {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}
        found[whole] = {"states": states.detach(), **gradients}
    torch.testing.assert_close(found[False], found[True], rtol=1e-4, atol=1e-5)
    assert not any(module._forward_hooks for module in encoder_layers(encoder)[-1].modules())


def test_gradient_checkpointing_computes_all_positions():
    encoder = AutoModel.from_config(tiny_encoder_config("bert")).train()
    encoder.gradient_checkpointing_enable()
    states, encoded = encode_and_read(encoder, lambda states: states[:, :2], input_ids=torch.randint(5, 100, (2, 6)))
    assert encoded.last_hidden_state.shape[1] == 6
    states.sum().backward()  # recomputes the layers, when no hook is there

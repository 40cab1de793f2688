"""Eq. 1 by hand, and the prompt generators' shapes, masks and errors."""

import numpy as np
import pytest
import torch

from modeling_cotpd.prompt_cotpd import ConditionalPrompt, PrefixPrompt, UnconditionalPrompt, init_prompt_weights


def fresh(module: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(3)
    for part in module.modules():
        init_prompt_weights(part)
    return module


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def by_hand(prompt: ConditionalPrompt, queries: np.ndarray, text: np.ndarray, layer: int = 0):
    """softmax(q W_q (x W_k)^T / sqrt(d)) x W_v, head by head, for one text."""
    attention = prompt.layers[layer]
    query, key, value = (
        side @ matrix.weight.detach().double().numpy().T
        for side, matrix in ((queries, attention.query), (text, attention.key), (text, attention.value))
    )
    size = query.shape[1] // attention.heads
    prompts, weights = [], []
    for head in range(attention.heads):
        part = slice(head * size, (head + 1) * size)
        weights.append(softmax(query[:, part] @ key[:, part].T / np.sqrt(size)))
        prompts.append(weights[-1] @ value[:, part])
    return np.concatenate(prompts, 1), np.mean(weights, 0)


@pytest.mark.parametrize("heads", [1, 2, 4])
@torch.no_grad()
def test_equation_1(heads):
    prompt = fresh(ConditionalPrompt(length=3, width=8, heads=heads))
    text = torch.randn(2, 5, 8)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    vectors, attentions = prompt(text, mask)
    assert vectors.shape == (2, 3, 8) and attentions.shape == (2, 3, 5)
    queries = prompt.queries.double().numpy()
    for row, length in ((0, 5), (1, 3)):
        expected, weights = by_hand(prompt, queries, text[row, :length].double().numpy())
        np.testing.assert_allclose(vectors[row].numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(attentions[row, :, :length].numpy(), weights, atol=1e-6)
    assert (attentions[1, :, 3:] == 0).all()


@torch.no_grad()
def test_a_second_layer_asks_again():
    prompt = fresh(ConditionalPrompt(length=3, width=8, layers=2))
    text = torch.randn(1, 5, 8)
    queries, pieces = prompt.queries.double().numpy(), text[0].double().numpy()
    asked = queries + by_hand(prompt, queries, pieces)[0]
    asked = (asked - asked.mean(1, keepdims=True)) / np.sqrt(asked.var(1, keepdims=True) + 1e-5)
    expected, weights = by_hand(prompt, asked, pieces, layer=1)
    vectors, attentions = prompt(text, torch.ones(1, 5))
    np.testing.assert_allclose(vectors[0].numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(attentions[0].numpy(), weights, atol=1e-6)


@torch.no_grad()
def test_what_padding_holds_does_not_matter():
    prompt = fresh(ConditionalPrompt(length=3, width=8))
    text, mask = torch.randn(1, 5, 8), torch.tensor([[1, 1, 1, 0, 0]])
    expected = prompt(text, mask)
    text[:, 3:] = 1e4
    for given, value in zip(prompt(text, mask), expected, strict=True):
        torch.testing.assert_close(given, value)


@torch.no_grad()
def test_queries_start_apart():
    _, attentions = fresh(ConditionalPrompt(length=6, width=32))(torch.randn(1, 9, 32), torch.ones(1, 9))
    assert torch.pdist(attentions[0]).min() > 0.01


@torch.no_grad()
def test_unconditional_prompt_is_the_same_for_every_text():
    prompt = fresh(UnconditionalPrompt(length=2, width=8))
    vectors, attentions = prompt(torch.randn(3, 4, 8), torch.ones(3, 4))
    assert attentions is None
    torch.testing.assert_close(vectors, prompt.vectors.expand(3, 2, 8))


@torch.no_grad()
def test_a_prefix_has_vectors_for_every_layer():
    prompt = fresh(PrefixPrompt(length=2, width=4, layers=3))
    vectors, attentions = prompt(torch.randn(2, 5, 6), torch.ones(2, 5))
    assert attentions is None and vectors is prompt.layer_vectors and vectors.shape == (3, 2, 4)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="prompt_attention_heads must divide the embedding width 8, got 3"):
        ConditionalPrompt(length=2, width=8, heads=3)

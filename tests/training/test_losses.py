"""The distillation loss on numbers worked out by hand."""

import math

import pytest
import torch

from modeling_cotpd.training.losses import distillation_kl

LN2, LN3 = math.log(2), math.log(3)


def test_by_hand():
    """KL((3/4, 1/4) || (1/2, 1/2)) = 3/4 ln 3/2 + 1/4 ln 1/2; the teacher is the first distribution."""
    prompt, knowledge = torch.tensor([[0.0, 0.0]]), torch.tensor([[LN3, 0.0]])
    forward = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    backward = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    assert distillation_kl(prompt, knowledge, torch.ones(1)).item() == pytest.approx(forward, abs=1e-7)
    assert distillation_kl(knowledge, prompt, torch.ones(1)).item() == pytest.approx(backward, abs=1e-7)
    assert abs(forward - backward) > 0.01


def test_sums_over_the_mask_alone():
    prompt = torch.zeros(2, 3, 2)
    knowledge = torch.tensor([LN3, 0.0]).expand(2, 3, 2).clone()
    knowledge[1] = float("nan")
    one = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    mask = torch.tensor([[1, 0, 1], [0, 0, 0]])
    assert distillation_kl(prompt, knowledge, mask).item() == pytest.approx(2 * one, abs=1e-6)
    assert distillation_kl(prompt, knowledge, mask.bool()).item() == pytest.approx(2 * one, abs=1e-6)


def test_temperature():
    """At T = 2 the logits (2 ln 3, 0) give (3/4, 1/4) again, times T^2 = 4."""
    prompt, knowledge = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * LN3, 0.0]])
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert distillation_kl(prompt, knowledge, torch.ones(1), 2.0).item() == pytest.approx(expected, abs=1e-6)


def test_an_empty_mask_gives_zero_with_a_gradient_path():
    prompt, knowledge = torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 3, 4, requires_grad=True)
    loss = distillation_kl(prompt, knowledge, torch.zeros(2, 3))
    loss.backward()
    assert loss.item() == 0 and loss.dtype == torch.float32
    assert not prompt.grad.any() and not knowledge.grad.any()


def test_gradient_reaches_both_views():
    prompt, knowledge = torch.randn(2, 4, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    distillation_kl(prompt, knowledge, torch.ones(2)).backward()
    torch.testing.assert_close(prompt.grad, (prompt.softmax(-1) - knowledge.softmax(-1)).detach())
    assert knowledge.grad.abs().max() > 1e-3


def test_float32_whatever_comes_in():
    prompt, knowledge = torch.randn(5, 4).bfloat16(), torch.randn(5, 4).bfloat16()
    given = distillation_kl(prompt, knowledge, torch.ones(5))
    assert given.dtype == torch.float32
    torch.testing.assert_close(given, distillation_kl(prompt.float(), knowledge.float(), torch.ones(5)))
    large = torch.tensor([[3e4, -3e4]], dtype=torch.float16)
    assert torch.isfinite(distillation_kl(large, -large, torch.ones(1)))


def test_never_negative_and_zero_for_equals():
    torch.manual_seed(0)
    prompt, knowledge = torch.randn(50, 6) * 4, torch.randn(50, 6) * 4
    each = [distillation_kl(p[None], k[None], torch.ones(1)).item() for p, k in zip(prompt, knowledge, strict=True)]
    assert min(each) > 0
    # adding a constant to all logits changes no distribution
    assert distillation_kl(prompt, prompt + 3, torch.ones(50)).item() == pytest.approx(0, abs=1e-4)

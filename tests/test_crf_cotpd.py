"""The CRF against enumeration of all paths."""

import itertools

import numpy as np
import pytest
import torch

from modeling_cotpd.crf_cotpd import LinearChainCRF

TAGS = 3


def make_crf(seed: int = 0) -> LinearChainCRF:
    torch.manual_seed(seed)
    crf = LinearChainCRF(TAGS)
    for parameter in crf.parameters():
        torch.nn.init.normal_(parameter)
    return crf


def enumerate_paths(crf: LinearChainCRF, emissions: np.ndarray) -> dict[tuple[int, ...], float]:
    """The score of every tag sequence."""
    start, end, transitions = (value.detach().double().numpy() for value in (crf.start, crf.end, crf.transitions))
    scores = {}
    for path in itertools.product(range(TAGS), repeat=len(emissions)):
        score = start[path[0]] + end[path[-1]] + sum(emissions[i, tag] for i, tag in enumerate(path))
        scores[path] = score + sum(transitions[before, after] for before, after in itertools.pairwise(path))
    return scores


def log_sum(scores) -> float:
    return float(np.logaddexp.reduce(list(scores)))


BATCH = [
    # mask, labels; -100 at a real piece is a latent tag
    ([1, 1, 1, 1, 1], [0, 2, 1, 1, 0]),
    ([1, 1, 1, 1, 1], [-100, 2, -100, 0, -100]),
    ([1, 1, 1, 1, 1], [-100] * 5),
    ([1, 1, 1, 0, 0], [1, -100, 2, -100, -100]),
    ([1, 0, 0, 0, 0], [2, -100, -100, -100, -100]),
    ([0, 0, 1, 1, 1], [-100, -100, -100, 1, 0]),
    ([0, 1, 1, 1, 0], [-100, 0, -100, 1, -100]),
]


@pytest.mark.parametrize("seed", range(3))
@torch.no_grad()
def test_nll_and_marginals_equal_enumeration(seed):
    crf = make_crf(seed)
    emissions = torch.randn(len(BATCH), 5, TAGS) * 2
    mask, labels = (torch.tensor(column) for column in zip(*BATCH, strict=True))
    nll, marginals = crf.nll(emissions, labels, mask), crf(emissions, mask)
    assert nll.shape == (len(BATCH),) and marginals.shape == emissions.shape
    for row, (attended, tags) in enumerate(BATCH):
        places = [i for i, value in enumerate(attended) if value]
        scores = enumerate_paths(crf, emissions[row, places].double().numpy())
        total = log_sum(scores.values())
        gold = [tags[i] for i in places]
        agreeing = log_sum(
            score
            for path, score in scores.items()
            if all(given in (-100, tag) for given, tag in zip(gold, path, strict=True))
        )
        np.testing.assert_allclose(nll[row].item(), total - agreeing, atol=2e-5)
        for order, place in enumerate(places):
            for tag in range(TAGS):
                expected = log_sum(score for path, score in scores.items() if path[order] == tag) - total
                np.testing.assert_allclose(marginals[row, place, tag].item(), expected, atol=2e-5)


@torch.no_grad()
def test_padding_content_and_width_do_not_matter():
    crf = make_crf()
    emissions = torch.randn(1, 4, TAGS)
    labels = torch.tensor([[-100, 1, 2, -100]])
    alone, nll = crf(emissions, torch.ones(1, 4)), crf.nll(emissions, labels, torch.ones(1, 4))
    wide = torch.cat([emissions, torch.full((1, 6, TAGS), 50.0)], 1)
    mask = torch.tensor([[1] * 4 + [0] * 6])
    torch.testing.assert_close(crf(wide, mask)[:, :4], alone)
    wide_labels = torch.cat([labels, torch.full((1, 6), -100)], 1)
    torch.testing.assert_close(crf.nll(wide, wide_labels, mask), nll)


def test_gradients_of_padding_and_of_excluded_paths_are_finite():
    crf = make_crf()
    emissions = torch.randn(2, 5, TAGS, requires_grad=True)
    labels = torch.tensor([[0, 1, 2, -100, -100], [1, 1, -100, 0, 2]])
    mask = torch.tensor([[1, 1, 1, 0, 0], [1] * 5])
    crf.nll(emissions, labels, mask).sum().backward()
    assert torch.isfinite(emissions.grad).all() and (emissions.grad[0, 3:] == 0).all()
    assert all(torch.isfinite(value.grad).all() and value.grad.any() for value in crf.parameters())


def test_gradient_of_the_likelihood_is_marginal_minus_gold():
    crf = make_crf()
    emissions = torch.randn(1, 4, TAGS, requires_grad=True)
    labels = torch.tensor([[2, 0, 1, 1]])
    crf.nll(emissions, labels, torch.ones(1, 4)).sum().backward()
    expected = crf(emissions, torch.ones(1, 4)).exp() - torch.nn.functional.one_hot(labels, TAGS)
    torch.testing.assert_close(emissions.grad, expected.detach(), atol=1e-5, rtol=0)


@torch.no_grad()
def test_computes_in_float32_under_bfloat16():
    crf = make_crf()
    emissions = (torch.randn(1, 60, TAGS) * 3).bfloat16()
    mask, labels = torch.ones(1, 60), torch.randint(0, TAGS, (1, 60))
    expected, nll = crf(emissions.float(), mask), crf.nll(emissions.float(), labels, mask)
    with torch.autocast("cpu", torch.bfloat16):
        given, given_nll = crf(emissions, mask), crf.nll(emissions, labels, mask)
    assert given.dtype == given_nll.dtype == torch.float32
    torch.testing.assert_close(given, expected)
    torch.testing.assert_close(given_nll, nll)
    # a model that is loaded in bfloat16 altogether still sums in float32
    crf = crf.bfloat16()
    given, given_nll = crf(emissions, mask), crf.nll(emissions, labels, mask)
    assert given.dtype == given_nll.dtype == torch.float32
    torch.testing.assert_close(given, expected, atol=0.1, rtol=0.1)


@torch.no_grad()
def test_long_texts_stay_accurate():
    crf = make_crf()
    emissions = torch.randn(1, 512, TAGS) * 5
    marginals = crf(emissions, torch.ones(1, 512))
    exact = crf.double()
    forwards = exact._forward_scores(emissions.double(), torch.ones(1, 512))
    backwards = exact._backward_scores(emissions.double(), torch.ones(1, 512))
    torch.testing.assert_close(marginals.double().exp(), (forwards + backwards).softmax(-1), atol=2e-3, rtol=0)

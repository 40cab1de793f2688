"""Attention over word pieces becomes attention over words."""

import numpy as np
import pytest
import torch
from inference_models import made
from tiny_models import TOKENIZER_KINDS

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.posts import Post
from modeling_cotpd.inference.attention import attention_over_words
from modeling_cotpd.inference.predictor import EntityPredictor, RelationPredictor


def test_pieces_add_up_to_words():
    weights = np.array([[0.1, 0.2, 0.3, 0.1], [0.0, 0.0, 0.5, 0.5]])
    # the second piece begins with the space before its word, as byte-level tokenizers count it
    result = attention_over_words("Mira left\n\tTarn", weights, [(0, 4), (4, 6), (6, 9), (11, 15)])
    assert result.spans == [(0, 4), (5, 9), (11, 15)]
    assert result.shares == [[0.1, 0.5, 0.1], [0.0, 0.5, 0.5]]
    assert result.mean == [0.05, 0.5, pytest.approx(0.3)]


def test_a_text_without_words_has_none():
    assert attention_over_words(" \n", np.ones((2, 1)), [(0, 1)]) is None


@pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
def test_shares_are_those_of_the_model(kind: str):
    model, tokenizer = made(CoTPDForTokenClassification, kind)
    text = "Mira  Holt 👩‍🎤 sings at\nQuarry Lane \ud83d"
    predictor = EntityPredictor(model, tokenizer)
    result = predictor.attention(Post("1", text, "here"))
    assert [text[start:end] for start, end in result.spans] == text.split()
    encoded = tokenizer(text.replace("\ud83d", "\ufffd"), return_tensors="pt")
    with torch.no_grad():
        expected = model(**encoded, output_prompt_attentions=True).prompt_attentions[0]
    own = expected[:, len(predictor.prefix) : expected.shape[1] - len(predictor.suffix)].sum(1)
    np.testing.assert_allclose(np.sum(result.shares, 1), own, atol=1e-4)
    assert len(result.shares) == 3


def test_markers_get_no_word_and_a_long_post_is_seen_where_it_is_read():
    model, tokenizer = made(CoTPDForRelationExtraction, "wordpiece", positions=40)
    text = "no idea " * 30 + "Mira left Tarn" + " ! ! !" * 30
    post = Post("1", text, "here", (240, 244), (250, 254))
    predictor = RelationPredictor(model, tokenizer)
    result = predictor.attention(post)
    mean = dict(zip(result.spans, result.mean, strict=True))
    assert mean[(240, 244)] > 0 and mean[(250, 254)] > 0
    assert mean[(0, 2)] == 0 and mean[result.spans[-1]] == 0
    assert all(sum(row) < 1 for row in result.shares)


def test_a_prompt_that_looks_nowhere():
    model, tokenizer = made(CoTPDForTokenClassification, "wordpiece", prompt_type="prefix")
    assert EntityPredictor(model, tokenizer).attention(Post("1", "Mira", "here")) is None

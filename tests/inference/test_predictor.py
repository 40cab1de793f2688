"""Predictions on any text: whole words, the same as from the pipelines."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.inference_models import made
from support.tiny_models import TOKENIZER_KINDS
from transformers import pipeline

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.posts import Post
from modeling_cotpd.data.words import begins_word
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.batches import BatchSettings, text_windows
from modeling_cotpd.inference.predictor import EntityPredictor, RelationPredictor, attention_over_words
from modeling_cotpd.pipeline_cotpd import RelationExtractionPipeline

WORDS = ["Mira", "Holt", "Tarn", "Bridge", "RT", "@", "#otters", "don't", "İstanbul", "ﬁne", "naïve", "𝔐ira", "[SEP]"]
ODD = [
    "👩‍🎤",
    "🇩🇪",
    "שלום",
    "مرحبا",
    "\u200d",
    "\u200b",
    "\u202e",
    "e\u0301",
    "\xa0",
    "\u2028",
    "\ufe0f",
    "\x00",
    "\ud83d",
]

post_texts = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(WORDS + ODD), max_size=25).map(" ".join),
    st.lists(st.sampled_from([*WORDS, *ODD, " ", "  ", ""]), max_size=25).map("".join),
)


@pytest.fixture(scope="module", params=sorted(TOKENIZER_KINDS))
def finder(request):
    """An entity predictor, and the stock pipeline over the same model."""
    model, tokenizer = made(CoTPDForTokenClassification, request.param)
    stock = pipeline(
        "token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="simple", device=-1
    )
    return EntityPredictor(model, tokenizer, BatchSettings(4)), stock


def spans(entities: list[dict], kind: str = "type") -> list[tuple[int, int, str]]:
    return [(entity["start"], entity["end"], entity[kind]) for entity in entities]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(post_texts, min_size=1, max_size=6))
def test_words_come_out_whole_whatever_the_text(finder, texts: list[str]):
    predictor, _ = finder
    results = predictor([Post(str(index), text, "here") for index, text in enumerate(texts)])
    for index, (text, result) in enumerate(zip(texts, results, strict=True)):
        assert (result["id"], result["text"]) == (str(index), text)
        end = 0
        for entity in result["entities"]:
            assert end <= entity["start"] < entity["end"] <= len(text)
            start, end = entity["start"], entity["end"]
            assert entity["text"] == text[start:end] and entity["text"].strip() == entity["text"]
            for place in (start, end):
                around = text[max(0, place - 1) : place + 1]
                assert len(around) < 2 or not (around.isascii() and around.isalnum())
            assert 0 < entity["score"] <= 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(["Mira", "(Holt)", "Quarry/Lane", "naïve", "sings,", "so\nproud", "U2"]), max_size=20))
def test_the_stock_pipeline_reads_the_same(finder, words: list[str]):
    predictor, stock = finder  # which cannot see whether a sign stands between spaces
    text = " ".join(words)
    (result,) = predictor([Post("1", text, "here")])
    expected = stock(text)
    assert spans(result["entities"]) == spans(expected, "entity_group")


@pytest.mark.parametrize("apart", ["( Mira Holt ) sings , so proud", "RT mira ' s Otters !"])
def test_glued_and_separate_punctuation_is_read_alike(finder, apart: str):
    """The words that a data set separates are the words of a post as people write it."""
    predictor, _ = finder
    glued = apart.replace("( ", "(").replace(" )", ")").replace(" ,", ",").replace(" ' ", "'").replace(" !", "!")
    first, second = predictor([Post("1", apart, "here"), Post("2", glued, "here")])
    mentions = [[(e["type"], e["text"].replace(" ", "")) for e in row["entities"]] for row in (first, second)]
    assert mentions[0] == mentions[1] and glued != apart


def test_random_models_do_find_entities(finder):
    predictor, _ = finder
    (result,) = predictor([Post("1", "Mira Holt sings at Quarry Lane tonight with Dario", "here")])
    assert result["entities"]


def test_a_tokenizer_that_a_pipeline_truncates_with_is_shared_with_no_predictor():
    model, tokenizer = made(CoTPDForTokenClassification, "wordpiece", positions=60)
    predictor = EntityPredictor(model, tokenizer)
    tokenizer("Mira Holt sings", truncation=True, max_length=4)
    assert tokenizer.backend_tokenizer.truncation and predictor.tokenizer.backend_tokenizer.truncation is None
    assert predictor.tokenizer("(Mira)")["input_ids"] == tokenizer("(Mira)")["input_ids"]


@pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
def test_a_long_post_is_read_to_its_end(kind: str, monkeypatch: pytest.MonkeyPatch):
    model, tokenizer = made(CoTPDForTokenClassification, kind, positions=40)
    text = "Mira Holt sings at Quarry Lane 🎤 tonight . " * 500
    predictor = EntityPredictor(model, tokenizer, BatchSettings(64))
    seen = {}
    monkeypatch.setattr(predictor, "reader", lambda *arguments: seen.update(enumerate(arguments)) or [])
    predictor([Post("1", text, "here")])
    assert len(seen[3]) == len(seen[1]) > 4000 and (seen[3] > 0).all()  # every token has a score


@pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
def test_a_long_post_is_read_in_windows_that_keep_words_whole(kind: str, monkeypatch: pytest.MonkeyPatch):
    model, tokenizer = made(CoTPDForTokenClassification, kind, positions=200)
    predictor = EntityPredictor(model, tokenizer)
    text = " ".join(["Mira", "Holt-Quarry", "left", "#Otters", "on", "Friday"] * 40)
    (ids,), (offsets,) = predictor.builder.tokenize([text])
    assert len(ids) > 2 * predictor.room
    read = []
    plain = predictor._run
    monkeypatch.setattr(
        predictor, "_run", lambda features, *further: (read.extend(features), plain(features, *further))[1]
    )
    (result,) = predictor([Post("1", text, "here")])
    borders = {0, len(ids)} | {index for index, begins in enumerate(begins_word(text, offsets)) if begins}
    for part in text_windows(0, begins_word(text, offsets), predictor.room):
        assert {part.begin, part.end, part.own_begin, part.own_end} <= borders
        assert [*predictor.prefix, *ids[part.begin : part.end], *predictor.suffix] in [
            row["input_ids"] for row in read
        ]
    for entity in result["entities"]:
        around = text[entity["end"] - 1 : entity["end"] + 1]
        assert len(around) < 2 or not around.isalnum()


def test_progress_is_reported_within_a_long_post():
    model, tokenizer = made(CoTPDForTokenClassification, "wordpiece", positions=40)
    predictor = EntityPredictor(model, tokenizer, BatchSettings(2))
    shares: list[float] = []
    predictor([Post("1", "Mira Holt left . " * 60, "here")], on_progress=shares.append)
    assert len(shares) > 3 and shares == sorted(shares) and shares[-1] <= 1


def test_uncertainty_is_the_expected_number_of_wrong_labels():
    model, tokenizer = made(CoTPDForTokenClassification, "wordpiece")
    predictor = EntityPredictor(model, tokenizer)
    text = "Mira Holt left"
    (row,) = predictor([Post("1", text, "here")], uncertainty=True)
    with torch.no_grad():
        best = model(**tokenizer(text, return_tensors="pt")).logits[0].softmax(-1).max(-1).values[1:-1]
    assert row["uncertainty"] == pytest.approx(float((1 - best).sum()), abs=1e-5)
    assert "uncertainty" not in predictor([Post("1", text, "here")])[0]


def test_nothing_in_nothing_out(finder):
    predictor, _ = finder
    assert predictor([]) == []
    assert predictor([Post("1", "", "here")]) == [{"id": "1", "text": "", "entities": []}]


@pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
def test_relations_are_those_of_the_pipeline(kind: str):
    model, tokenizer = made(CoTPDForRelationExtraction, kind, positions=40)
    extractor = RelationExtractionPipeline(model=model, tokenizer=tokenizer, device=-1)
    texts = [
        ("Mira Holt 🎤 met Dario at Tarn Bridge", (0, 9), (25, 36)),
        ("Dario", (0, 5), (0, 3)),
        ("no idea " * 30 + "Mira left Tarn" + " ! ! !" * 30, (240, 244), (250, 254)),
    ]
    posts = [Post(str(index), text, "here", head, tail) for index, (text, head, tail) in enumerate(texts)]
    for post, result in zip(posts, RelationPredictor(model, tokenizer)(posts), strict=True):
        expected = extractor({"text": post.text, "head": post.head, "tail": post.tail})
        assert (result["relation"], result["id"]) == (expected["label"], post.id)
        assert result["score"] == pytest.approx(expected["score"], abs=1e-5)
        assert (result["head"], result["tail"]) == (post.head, post.tail)


def test_entities_too_far_apart_are_a_problem_of_their_row_alone():
    model, tokenizer = made(CoTPDForRelationExtraction, "wordpiece", positions=30)
    far = "Mira " + "! " * 60 + "Tarn"
    posts = [Post("1", far, "here", (0, 4), (len(far) - 4, len(far))), Post("2", "Mira Tarn", "here", (0, 4), (5, 9))]
    predictor = RelationPredictor(model, tokenizer)
    first, second = predictor(posts)
    assert first["relation"] is None and "subword tokens apart" in first["problem"]
    assert second["relation"] is not None and "problem" not in second
    assert predictor.attention(posts[0]) is None and predictor.attention(posts[1]) is not None


def test_settings_are_checked():
    model, tokenizer = made(CoTPDForTokenClassification, "wordpiece", positions=30)
    with pytest.raises(SettingError, match="reads at most 30"):
        EntityPredictor(model, tokenizer, max_length=31)
    with pytest.raises(SettingError, match="it needs 8"):
        EntityPredictor(model, tokenizer, max_length=9)
    tokenizer.model_max_length = int(1e30)
    assert EntityPredictor(model, tokenizer).max_length == 512


def test_attention_adds_up_to_words():
    weights = np.array([[0.1, 0.2, 0.3, 0.1], [0.0, 0.0, 0.5, 0.5]])
    # the second token begins with the space before its word, as byte-level tokenizers count it
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

"""Both pipelines on arbitrary Unicode: they answer, and every offset counts characters of the text as it was given."""

import os

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tiny_models import LABELS, TOKENIZER_KINDS, tiny_model

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.markers_cotpd import add_entity_markers
from modeling_cotpd.training.pretrained import unspell_special_tokens

EXAMPLES = int(os.environ.get("COTPD_FUZZ_EXAMPLES", "40"))
MANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
NAMES = {"id2label": dict(enumerate(LABELS)), "label2id": {name: i for i, name in enumerate(LABELS)}}
SURROGATES = st.characters(categories=["Cs"])
ODD = [
    "👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇳🇱", "שָׁלוֹם", "مرحبا", "\u202e", "\u2066", "\u200d", "\u200b",
    "\u200c", "\ufeff", "e\u0301\u0328", "İ", "ß", "ﬀ", "㎏", "\xa0", "\u2028", "\x85", "\x00",
    "\u0345", "ᾳ", "[CLS]", "</s>", "<mask>", "[E1]", "▁", "##a", "Ġ", "Mira", " ",
]  # fmt: skip
"""Joined emoji, flags, right-to-left, marks without width, what normalization makes longer or shorter, token names."""
CHARACTERS = st.text(max_size=60) | st.lists(st.sampled_from(ODD), max_size=20).map("".join)
ANY = CHARACTERS | st.lists(st.sampled_from(ODD) | SURROGATES, max_size=20).map("".join)


def made(kind: str, head: type):
    tokenizer = TOKENIZER_KINDS[kind]()
    tokenizer.split_special_tokens = True
    unspell_special_tokens(tokenizer)
    if head is CoTPDForRelationExtraction:
        add_entity_markers(tokenizer)
    tokenizer.model_max_length = 61
    model = tiny_model(head, encoder_changes={"vocab_size": len(tokenizer)}, **NAMES)
    return {"model": model, "tokenizer": tokenizer, "device": -1}


@pytest.fixture(scope="module", params=sorted(TOKENIZER_KINDS))
def tagger(request):
    return transformers.pipeline("token-classification", **made(request.param, CoTPDForTokenClassification))


@pytest.fixture(scope="module", params=sorted(TOKENIZER_KINDS))
def extractor(request):
    return transformers.pipeline("relation-extraction", **made(request.param, CoTPDForRelationExtraction))


def check_entities(text: str, entities: list[dict]) -> None:
    for entity in entities:
        assert 0 <= entity["start"] <= entity["end"] <= len(text)
        assert 0 < entity["score"] <= 1
    starts = [entity["start"] for entity in entities]
    assert starts == sorted(starts)


@pytest.mark.parametrize("strategy", ["none", "simple", "first"])
def test_entities(tagger, strategy):
    @MANY
    @given(CHARACTERS)
    def check(text):
        check_entities(text, tagger(text, aggregation_strategy=strategy))

    check()


@pytest.mark.parametrize(
    "text", ["", " ", "\u200b", "\ufe0f", "\n", "a" * 100_000, "Mira 🎤 " * 15_000, "\u202e" * 100_000]
)
def test_entities_of_extremes(tagger, text):
    check_entities(text, tagger(text, aggregation_strategy="first"))


def test_the_words_of_an_entity_stand_where_it_says(tagger):
    """Behind characters that normalization changes, words are still cut from the text as it was given."""
    text = "İ ﬀ ㎏ e\u0301 👩‍👩‍👧‍👦 שלום Mira Holt"
    pieces = tagger(text, aggregation_strategy="none", ignore_labels=[])
    last = [piece for piece in pieces if piece["end"] > piece["start"]][-1]
    assert text[last["start"] : last["end"]].strip() and last["end"] == len(text)


def test_the_stock_pipeline_refuses_half_a_surrogate_pair(tagger):
    """Which tokenizers cannot take; `cotpd predict` and the pipeline for relations read it as U+FFFD."""
    with pytest.raises((TypeError, UnicodeEncodeError)):
        tagger("Mira \ud83d Holt")


@st.composite
def pairs(draw) -> dict:
    """A text, and two spans that hold more than white space; they may overlap or cut a cluster of characters."""
    text = draw(ANY.filter(lambda text: bool(text.strip())))
    places = [index for index, character in enumerate(text) if character.strip()]
    spans = {}
    for side in ("head", "tail"):
        inside = draw(st.sampled_from(places))
        spans[side] = (draw(st.integers(0, inside)), draw(st.integers(inside + 1, len(text))))
    return {"text": text, **spans}


def test_relations(extractor):
    @MANY
    @given(pairs())
    def check(pair):
        try:
            answer = extractor(pair)
        except ValueError as error:
            assert "subword tokens apart" in str(error)
            return
        assert answer["label"] in LABELS and 0 < answer["score"] <= 1

    check()


@pytest.mark.parametrize(
    "text, head, tail",
    [
        ("a" * 100_000, (0, 3), (50, 60)),
        ("Mira 🎤 " * 15_000, (50_000, 50_006), (50_010, 50_020)),
        ("\ud83d Mira \ud83d left", (2, 6), (9, 13)),
        ("\ud83d\ud83d", (0, 1), (1, 2)),
    ],
    ids=["one word", "many words", "halves", "halves alone"],
)
def test_relations_of_extremes(extractor, text, head, tail):
    try:
        assert extractor({"text": text, "head": head, "tail": tail})["label"] in LABELS
    except ValueError as error:  # a word of 100,000 letters may be a single unknown piece or very many
        assert "subword tokens apart" in str(error) and text.startswith("aaa")


@pytest.mark.parametrize("text", ["", " ", "\u200b "])
def test_no_relation_in_nothing(extractor, text):
    with pytest.raises(ValueError, match="must hold characters"):
        extractor({"text": text, "head": (0, 1), "tail": (1, 2)})


def test_half_a_pair_changes_nothing_else(extractor):
    """Read as U+FFFD, which is as long, so the same pieces are marked."""
    given_ = {"text": "Mira \ud83d left", "head": (0, 4), "tail": (7, 11)}
    replaced = {**given_, "text": "Mira \ufffd left"}
    first, second = extractor.preprocess(given_), extractor.preprocess(replaced)
    assert torch.equal(first["input_ids"], second["input_ids"])
    assert torch.equal(first["marker_positions"], second["marker_positions"])

"""Predictions equal those of the pipelines, whatever the text."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inference_models import made
from tiny_models import TOKENIZER_KINDS
from transformers import pipeline

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.posts import Post
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.batches import BatchSettings
from modeling_cotpd.inference.entities import EntityReader
from modeling_cotpd.inference.predictor import EntityPredictor, RelationPredictor
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
    stock = pipeline("token-classification", model=model, tokenizer=tokenizer, aggregation_strategy="first", device=-1)
    return EntityPredictor(model, tokenizer, BatchSettings(4)), stock


def stripped(text: str, start: int, end: int) -> tuple[int, int]:
    mention = text[start:end]
    if not mention.strip():
        return start, end
    return start + len(mention) - len(mention.lstrip()), end - len(mention) + len(mention.rstrip())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(post_texts, min_size=1, max_size=6))
def test_entities_are_those_of_the_stock_pipeline(finder, texts: list[str]):
    predictor, stock = finder
    results = predictor([Post(str(index), text, "here") for index, text in enumerate(texts)])
    for index, (text, result) in enumerate(zip(texts, results, strict=True)):
        assert (result["id"], result["text"]) == (str(index), text)
        # The tokenizers take no lone surrogates at all; this character is as long
        readable = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = stock(readable)
        spans = [(*stripped(text, entity["start"], entity["end"]), entity["entity_group"]) for entity in expected]
        assert [(entity["start"], entity["end"], entity["type"]) for entity in result["entities"]] == spans
        assert [entity["text"] for entity in result["entities"]] == [text[start:end] for start, end, _ in spans]
        np.testing.assert_allclose(
            [entity["score"] for entity in result["entities"]], [entity["score"] for entity in expected], atol=1e-5
        )


def test_random_models_do_find_entities(finder):
    predictor, _ = finder
    (result,) = predictor([Post("1", "Mira Holt sings at Quarry Lane tonight with Dario", "here")])
    assert result["entities"]


def test_an_odd_tag_set_is_grouped_as_the_stock_pipeline_does(wordpiece):
    model, _ = made(CoTPDForTokenClassification, "wordpiece")
    stock = pipeline("token-classification", model=model, tokenizer=wordpiece, device=-1)
    text = "aa ab b ba bb a aa ab b ba"
    encoded = wordpiece(text, add_special_tokens=False, return_offsets_mapping=True)
    pieces, offsets = encoded["input_ids"], encoded["offset_mapping"]
    generator = np.random.default_rng(0)
    for names in (["O", "PER", "B-PER", "X-PER", "I-LOC"], ["O", "B-a-b", "I-a-b", "I-b", "B-O"]):
        model.config.id2label = dict(enumerate(names))
        reader = EntityReader(wordpiece, names)
        for _ in range(50):
            logits = torch.from_numpy(generator.normal(0, 3, (1, len(pieces), len(names))))
            chunk = {
                "logits": logits,
                "sentence": text,
                "input_ids": torch.tensor([pieces]),
                "offset_mapping": torch.tensor([offsets]),
                "special_tokens_mask": torch.zeros(1, len(pieces)),
            }
            expected = stock.postprocess(
                [chunk], stock._sanitize_parameters(aggregation_strategy="first")[2]["aggregation_strategy"]
            )
            best = logits[0].softmax(-1).max(-1)
            got = reader(text, pieces, offsets, best.indices.numpy(), best.values.numpy())
            assert [(e["start"], e["end"], e["type"]) for e in got] == [
                (e["start"], e["end"], e["entity_group"]) for e in expected
            ]


@pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
def test_a_long_post_is_read_to_its_end(kind: str):
    model, tokenizer = made(CoTPDForTokenClassification, kind, positions=40)
    text = "Mira Holt sings at Quarry Lane 🎤 tonight . " * 2500
    assert len(text) > 100_000
    predictor = EntityPredictor(model, tokenizer, BatchSettings(64))
    (result,) = predictor([Post("1", text, "here")])
    # the same words everywhere, so entities everywhere: no part of the text was left out
    starts = [entity["start"] for entity in result["entities"]]
    assert starts == sorted(starts)
    assert np.diff([0, *starts, len(text)]).max() < 2000
    for entity in result["entities"]:
        assert entity["text"] == text[entity["start"] : entity["end"]]


def test_a_piece_of_a_long_post_is_predicted_from_the_stretch_with_most_context():
    model, tokenizer = made(CoTPDForTokenClassification, "wordpiece", positions=30)
    text = " ".join(["Mira", "Holt", "left", "Tarn", "Bridge", "on", "Friday"] * 8)
    predictor = EntityPredictor(model, tokenizer)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) > 2 * predictor.room
    with torch.no_grad():  # the first stretch, alone
        row = [*predictor.prefix, *ids[: predictor.room], *predictor.suffix]
        alone = model(torch.tensor([row])).logits[0].argmax(-1).tolist()[len(predictor.prefix) :]
    (result,) = predictor([Post("1", text, "here")])
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    middle = predictor.room * 3 // 4
    expected = predictor.reader(
        text[: offsets[middle - 1][1]],
        ids[:middle],
        offsets[:middle],
        np.array(alone[:middle]),
        np.ones(middle, dtype=np.float32),
    )
    seen = [entity for entity in result["entities"] if entity["end"] < offsets[middle - 1][0]]
    assert [(e["start"], e["end"], e["type"]) for e in seen] == [
        (e["start"], e["end"], e["type"]) for e in expected[: len(seen)]
    ]
    assert len(seen) >= len(expected) - 1 > 0


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
    first, second = RelationPredictor(model, tokenizer)(posts)
    assert first["relation"] is None and "pieces apart" in first["problem"]
    assert second["relation"] is not None and "problem" not in second


def test_settings_are_checked():
    model, tokenizer = made(CoTPDForTokenClassification, "wordpiece", positions=30)
    with pytest.raises(SettingError, match="reads at most 30"):
        EntityPredictor(model, tokenizer, max_length=31)
    with pytest.raises(SettingError, match="it needs 8"):
        EntityPredictor(model, tokenizer, max_length=9)
    tokenizer.model_max_length = int(1e30)
    assert EntityPredictor(model, tokenizer).max_length == 512

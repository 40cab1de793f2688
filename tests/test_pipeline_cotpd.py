"""Pipelines on raw text: relations between two spans, and the stock token classification with exact offsets."""

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from support.tiny_models import LABELS, TOKENIZER_KINDS, tiny_model

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification, RelationExtractionPipeline
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.data.views import ViewBuilder, ViewSettings
from modeling_cotpd.markers_cotpd import ENTITY_MARKERS, add_entity_markers
from modeling_cotpd.pipeline_cotpd import window

TEXT = "Mira Holt sings at Quarry Lane"
PAIR = {"text": TEXT, "head": (0, 9), "tail": (19, 30)}
NAMES = {"id2label": dict(enumerate(LABELS)), "label2id": {name: i for i, name in enumerate(LABELS)}}


def extractor(kind: str = "wordpiece", limit: int = 61, **settings) -> RelationExtractionPipeline:
    tokenizer = TOKENIZER_KINDS[kind]()
    add_entity_markers(tokenizer)
    tokenizer.model_max_length = limit
    size = {"vocab_size": len(tokenizer)}
    model = tiny_model(CoTPDForRelationExtraction, encoder_changes=size, **NAMES, **settings)
    return transformers.pipeline("relation-extraction", model=model, tokenizer=tokenizer)


class TestRelations:
    @pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
    def test_reads_what_training_reads(self, kind):
        """A pair of spans gives the very pieces and markers that the views give for the same words."""
        made = extractor(kind)
        row = {"id": "a", "tokens": TEXT.split(), "relation": "knows"}
        for head, tail, spans in (((0, 2), (4, 6), ((0, 9), (19, 30))), ((4, 6), (1, 2), ((19, 30), (5, 9)))):
            row |= {side: {"start": a, "end": b} for side, (a, b) in (("head", head), ("tail", tail))}
            split = make_split([row], "mre", ["None", "knows"], "t")
            features = ViewBuilder(made.tokenizer, "mre", ViewSettings(()))(split[:])
            given_ = made.preprocess({"text": TEXT, "head": spans[0], "tail": spans[1]})
            assert given_["input_ids"].tolist() == features["input_ids"]
            assert given_["marker_positions"].tolist() == features["marker_positions"]

    @torch.no_grad()
    def test_scores_are_the_model_s(self):
        made = extractor()
        inputs = made.preprocess(PAIR)
        probabilities = made.model(**inputs).logits[0].softmax(-1)
        best = made(PAIR)
        assert best["label"] == LABELS[int(probabilities.argmax())]
        assert best["score"] == pytest.approx(probabilities.max().item(), abs=1e-6)
        ranked = made(PAIR, top_k=99)
        assert [entry["score"] for entry in ranked] == pytest.approx(sorted(probabilities.tolist(), reverse=True))
        assert sum(entry["score"] for entry in ranked) == pytest.approx(1)
        assert ranked[0] == best and len(made(PAIR, top_k=2)) == 2

    def test_lists_and_batches_give_the_same(self):
        made = extractor()
        pairs = [
            PAIR,
            {**PAIR, "head": PAIR["tail"], "tail": PAIR["head"]},
            {"text": "a b", "head": (0, 1), "tail": (2, 3)},
        ]
        alone = [made(pair) for pair in pairs]
        for given_ in (made(pairs), made(pairs, batch_size=3), made(pairs, batch_size=2)):
            assert [entry["label"] for entry in given_] == [entry["label"] for entry in alone]
            assert [entry["score"] for entry in given_] == pytest.approx([entry["score"] for entry in alone], abs=1e-6)

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_padding_on_either_side_changes_nothing(self, side):
        made = extractor()
        pairs = [PAIR, {"text": f"so proud of {TEXT}", "head": (12, 21), "tail": (31, 42)}]
        alone = [made(pair, top_k=3) for pair in pairs]
        made.tokenizer.padding_side = side
        for found, expected in zip(made(pairs, batch_size=2, top_k=3), alone, strict=True):
            assert [each["label"] for each in found] == [each["label"] for each in expected]
            assert [each["score"] for each in found] == pytest.approx([each["score"] for each in expected], abs=1e-5)

    @pytest.mark.parametrize(
        ("head", "tail"),
        [
            ([0, 9], [19, 30]),
            ({"start": 0, "end": 9}, {"start": 19, "end": 30}),
            ("Mira Holt", "Quarry Lane"),
            ((0.0, 9.0), "Quarry Lane"),
        ],
        ids=["lists", "records", "mentions", "floats"],
    )
    def test_every_form_of_a_span(self, head, tail):
        made = extractor()
        assert made({"text": TEXT, "head": head, "tail": tail}) == made(PAIR)

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (None, "The head is None, not a span. A span is .start, end."),
            ((0,), "not a span"),
            ((0, 4, 9), "not a span"),
            ((0.5, 4), "not a span"),
            (7, "not a span"),
            ({"from": 0, "to": 4}, "not a span"),
            (("a", "b"), "not a span"),
            ((0, float("nan")), "not a span"),
            ("Nobody", "The head 'Nobody' occurs 0 times in the text, so give its span. A span is"),
            ("i", "occurs 2 times"),
            ("", "occurs 0 times"),
        ],
    )
    def test_what_is_no_span(self, value, message):
        with pytest.raises(ValueError, match=message):
            extractor()({**PAIR, "head": value})

    @pytest.mark.parametrize(
        ("pair", "message"),
        [
            ({**PAIR, "text": 3}, "The text is a int, not a string"),
            ({**PAIR, "head": (0, 0)}, r"The head span \(0, 0\) must hold characters"),
            ({**PAIR, "tail": (25, 31)}, r"The tail span \(25, 31\) must hold characters of the text of length 30"),
            ({**PAIR, "tail": (-3, 2)}, "The tail span"),
            ({**PAIR, "head": (9, 4)}, "The head span"),
            ({**PAIR, "head": (4, 5)}, "The head span"),  # nothing but a space
            ({"text": TEXT, "head": (0, 4)}, "An input needs text, head and tail"),
            (TEXT, "An input needs text, head and tail"),
        ],
    )
    def test_bad_input(self, pair, message):
        with pytest.raises(ValueError, match=message):
            extractor()(pair)

    def test_top_k_is_checked(self):
        with pytest.raises(ValueError, match="top_k must be at least 1, got 0"):
            extractor()(PAIR, top_k=0)

    def test_a_long_text_is_read_around_the_entities(self):
        made = extractor(limit=20)
        filler = "so proud of the dog "
        text = filler * 9 + TEXT + " " + filler * 9
        start = 9 * len(filler)
        inputs = made.preprocess({"text": text, "head": (start, start + 9), "tail": (start + 19, start + 30)})
        assert inputs["input_ids"].shape == (1, 20)
        markers = made.tokenizer.convert_tokens_to_ids(list(ENTITY_MARKERS))
        assert [inputs["input_ids"][0].tolist().count(marker) for marker in markers] == [1] * 4
        found = inputs["input_ids"][0, inputs["marker_positions"][0]].tolist()
        assert found == [markers[0], markers[2]]
        ids = inputs["input_ids"][0].tolist()
        for begin, end, words in ((0, 1, "Mira Holt"), (2, 3, "Quarry Lane")):
            inside = ids[ids.index(markers[begin]) + 1 : ids.index(markers[end])]
            assert inside == made.tokenizer(words, add_special_tokens=False)["input_ids"]
        far = {"text": text, "head": (0, 2), "tail": (start, start + 9)}
        with pytest.raises(ValueError, match=r"lie \d+ subword tokens apart; the model reads at most 14"):
            made.preprocess(far)

    @given(st.data())
    def test_window(self, data):
        length = data.draw(st.integers(1, 60))
        first = data.draw(st.integers(0, length - 1))
        last = data.draw(st.integers(first, length))
        room = data.draw(st.integers(1, 60))
        if last - first > room and length > room:
            with pytest.raises(ValueError):
                window(length, first, last, room)
            return
        begin, end = window(length, first, last, room)
        assert 0 <= begin <= first <= last <= end <= length and end - begin == min(length, room)

    def test_words_that_spell_a_marker_stay_words(self):
        made = extractor()
        text = "[E1] Mira [SEP] Tarn [/E2]"
        ids = made.preprocess({"text": text, "head": (5, 9), "tail": (16, 20)})["input_ids"][0].tolist()
        specials = set(made.tokenizer.all_special_ids) - {made.tokenizer.unk_token_id}
        markers = made.tokenizer.convert_tokens_to_ids(list(ENTITY_MARKERS))
        assert [piece for piece in ids[1:-1] if piece in specials | set(markers)] == markers


class TestTokenClassification:
    POSTS = (
        "Mira Holt sings at Quarry Lane",
        "RT @mira_holt:new single!! #otters \u2764\ufe0f",
        "caf\u00e9 \u6771\u4eac \U0001f469\u200d\U0001f4bb ok",
    )

    @pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
    @pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
    def test_offsets_are_exact(self, kind, strategy):
        tokenizer = TOKENIZER_KINDS[kind]()
        tokenizer.model_max_length = 61
        size = {"vocab_size": len(tokenizer)}
        model = tiny_model(CoTPDForTokenClassification, encoder_changes=size, **NAMES)
        tagger = transformers.pipeline("token-classification", model=model, tokenizer=tokenizer)
        for post in self.POSTS:
            for entity in tagger(post, aggregation_strategy=strategy):
                assert 0 <= entity["start"] <= entity["end"] <= len(post)
                # a byte-level piece may be the space before a word alone, which has no characters of its own
                assert post[entity["start"] : entity["end"]].strip() or entity["word"].strip(" \u0120") == ""

    def test_batches_give_the_same(self):
        model = tiny_model(CoTPDForTokenClassification, **NAMES)
        tagger = transformers.pipeline("token-classification", model=model, tokenizer=TOKENIZER_KINDS["wordpiece"]())
        alone = [tagger(post) for post in self.POSTS]
        for one, other in zip(tagger(list(self.POSTS), batch_size=3), alone, strict=True):
            assert [entity["entity"] for entity in one] == [entity["entity"] for entity in other]
            assert [entity["score"] for entity in one] == pytest.approx(
                [entity["score"] for entity in other], abs=1e-5
            )

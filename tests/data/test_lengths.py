"""Word pieces and what a limit would lose, with a tokenizer whose pieces can be counted by hand."""

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from modeling_cotpd.data.lengths import count_subwords
from modeling_cotpd.data.schema import bio_label_names, make_split


@pytest.fixture(scope="module")
def tokenizer():
    """One piece per run of letters or of punctuation, between [CLS] and [SEP]."""
    words = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3}
    backend = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]"
    )


def test_entities_beyond_the_limit(tokenizer):
    row = {"id": "1", "tokens": ["a-b", "York", "c", "Leeds"], "ner_tags": ["O", "B-LOC", "O", "B-LOC"]}
    other = {"id": "2", "tokens": ["x", "\u00a0"], "ner_tags": None, "caption": "a b c"}
    split = make_split([row, other], "mner", bio_label_names(["LOC"]), "t")
    found = count_subwords(split, tokenizer, max_length=8)
    # a - b York c Leeds are six pieces and two special ones; x and three of a caption make 1 + 2 + 3 + 1.
    assert found["subwords"] == {
        "tokens": [6, 1],
        "caption": [3],
        "cot_noun": [],
        "cot_sentence": [],
        "cot_multimodality": [],
    }
    assert (found["texts_too_long"], found["gold_lost"], found["views_truncated"]) == (0, 0, 0)
    assert found["words_without_subwords"] == 1
    found = count_subwords(split, tokenizer, max_length=7)
    assert (found["texts_too_long"], found["gold_lost"], found["views_truncated"]) == (1, 1, 1)
    assert count_subwords(split, tokenizer, max_length=5)["gold_lost"] == 2
    assert count_subwords(split, tokenizer, max_length=6)["views_truncated"] == 2


def test_pairs_beyond_the_limit(tokenizer):
    spans = {"head": {"start": 0, "end": 1}, "tail": {"start": 2, "end": 3}}
    row = {"id": "1", "tokens": ["Ada", "met", "Bo", "today"], **spans, "relation": "x"}
    split = make_split([row, {**row, "id": "2", "relation": None}], "mre", ["None", "x"], "t")
    # Four pieces, two special ones and four markers.
    assert count_subwords(split, tokenizer, 10)["texts_too_long"] == 0
    found = count_subwords(split, tokenizer, 9)
    assert (found["texts_too_long"], found["gold_lost"]) == (2, 0)
    assert count_subwords(split, tokenizer, 8)["gold_lost"] == 1

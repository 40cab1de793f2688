"""Words of any text, and tokenizers that read glued and separate words alike."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny_models
from support.tiny_models import TOKENIZER_KINDS

from modeling_cotpd.data.words import (
    begins_word,
    continuing_tokens,
    split_at_words,
    splits_at_words,
    token_labels,
    unit_tokens,
    units_of,
    word_hyphens,
    word_prefixes,
    word_spans,
    words_of_tokens,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def words(text: str) -> list[str]:
    found: list[str] = []
    for start, end, joined in units_of(text):
        if joined:
            found[-1] += text[start:end]
        else:
            found.append(text[start:end])
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(Mira Holt) sings!", "( Mira Holt ) sings !"),
        ("@mira's #Otters, RT", "@mira ' s #Otters , RT"),
        ("O'Holt-Ray don't", "O'Holt-Ray don ' t"),
        ("so proud\nMira\tHolt", "so proud Mira Holt"),
        ("proud.Mira U.S. 3.5 10:30 1,000", "proud . Mira U.S. 3.5 10:30 1,000"),
        ("AT&T a_b x/y", "AT&T a_b x / y"),
        ("Holt\U0001f60d\u2764\ufe0f", "Holt \U0001f60d \u2764\ufe0f"),
        ("e\u0301tude \u0928\u092e\u0938\u094d\u0924\u0947", "e\u0301tude \u0928\u092e\u0938\u094d\u0924\u0947"),
        ("\u5317\u4eac\u3067Mira\u3055\u3093", "\u5317 \u4eac \u3067 Mira \u3055 \u3093"),
        ("", ""),
    ],
)
def test_words(text, expected):
    assert words(text) == expected.split(" ") if expected else words(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "\u0645\u06cc\u200c\u062e\u0648 Quar\u00adry \u2060Mi\u2060ra",  # joiners and a soft hyphen
        "\U0001f469\u200d\U0001f680 \U0001f1ec\U0001f1e7 \U0001f44d\U0001f3fd",  # emoji of several code points
        "\u05d1\u200f\u05ea\u05dc \u05e6\u05d4\u05f4\u05dc Paral\u00b7lel \u00b7",
        "Mira \u200b Holt",
    ],
    ids=ascii,
)
def test_what_is_one_word(text):
    assert words(text) == text.split(" ")
    assert words("Mira\u200bHolt Tarn\u00ad") == ["Mira", "\u200b", "Holt", "Tarn", "\u00ad"]


@given(TEXTS)
def test_units_cover_everything_but_white_space_in_order(text):
    units = units_of(text)
    assert all(start < end for start, end, _ in units)
    assert all(before[1] <= after[0] for before, after in pairwise(units))
    covered = {place for start, end, _ in units for place in range(start, end)}
    assert all(text[place].isspace() for place in range(len(text)) if place not in covered)


@pytest.mark.parametrize("kind", TOKENIZER_KINDS)
@pytest.mark.parametrize(
    ("glued", "apart"),
    [
        ("(Mira Holt)", "( Mira Holt )"),
        ("so proud\nMira\tHolt", "so proud Mira Holt"),
        ("@mira's new,single", "@ mira ' s new , single"),
        ("#otters!!!", "# otters ! ! !"),
    ],
)
def test_glued_and_separate_words_have_the_same_tokens(kind, glued, apart):
    tokenizer = split_at_words(TOKENIZER_KINDS[kind]())
    assert tokenizer(glued)["input_ids"] == tokenizer(apart)["input_ids"]


@pytest.mark.parametrize("kind", TOKENIZER_KINDS)
def test_the_change_is_saved_and_made_once(kind, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = TOKENIZER_KINDS[kind]()
    assert not splits_at_words(tokenizer)
    split_at_words(tokenizer).save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert splits_at_words(loaded)
    before = loaded.backend_tokenizer.to_str()
    assert split_at_words(loaded).backend_tokenizer.to_str() == before
    assert loaded("(Mira)\nHolt's")["input_ids"] == tokenizer("( Mira ) Holt ' s")["input_ids"]


def test_a_tokenizer_whose_normalizer_writes_the_blanks():
    """As Llama's and T5's older forms: spaces become a visible character before anything is split."""
    from tokenizers import normalizers

    tokenizer = TOKENIZER_KINDS["unigram"]()
    backend = tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    backend.pre_tokenizer = None
    split_at_words(tokenizer)
    assert tokenizer("(Mira Holt)")["input_ids"] == tokenizer("( Mira Holt )")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(tokenizer("sings", add_special_tokens=False)["input_ids"])[0][0] == "\u2581"


SPLIT = {kind: split_at_words(make()) for kind, make in TOKENIZER_KINDS.items()}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SPLIT)), TEXTS)
def test_no_token_reaches_over_two_words(kind, text):
    offsets = SPLIT[kind](text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    spans = []
    for start, end, joined in units_of(text):
        if joined:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    for start, end in offsets:
        touched = [span for span in spans if span[0] < end and span[1] > start]
        # a normalizer may write one character as several words, move it, or drop it; else a token lies within a word,
        # a run of kana or Thai aside
        assert len(touched) <= 1 or not text[start:end].isascii() or not text[start:end].isprintable()


def test_tokens_of_units():
    text = "Mira-Holt x"
    units = units_of(text)
    assert [unit for unit, _ in unit_tokens(units, [(0, 2), (2, 4), (4, 5), (5, 9), (9, 11)], text)] == [0, 2, 3, 4]
    # a special token has no characters; a token over two units is the first one's
    assert unit_tokens(units, [(0, 0), (0, 9), (10, 11)], text) == [(1, 9), (None, 9), (None, 9), (2, 11)]


def test_labels_of_tokens():
    names = ["O", "B-LOC", "I-LOC", "X"]
    words_ = words_of_tokens([(0, 0), (0, 2), (2, 4), (4, 5), (5, 7), (0, 0)], word_spans(["abcd", "efg"]))
    assert words_ == [-1, 0, 0, -1, 1, -1]
    assert token_labels(words_, [1, 0], names) == [-100, 1, 2, -100, 0, -100]
    assert token_labels([0, 0, 1, 1], [2, 3], names) == [2, 2, 3, 3]


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_a_tokenizer_of_a_model_family_keeps_its_words_when_saved(family, tmp_path):
    """Its class would build its own rules again when it is loaded."""
    from transformers import AutoTokenizer, BertTokenizerFast, RobertaTokenizerFast, XLMRobertaTokenizerFast

    model = {
        kind: json.loads(TOKENIZER_KINDS[kind]().backend_tokenizer.to_str())["model"]
        for kind in ("wordpiece", "bpe", "unigram")
    }
    if family == "bert":
        tokenizer = BertTokenizerFast(vocab=model["wordpiece"]["vocab"])
    elif family == "roberta":
        merges = [tuple(merge) for merge in model["bpe"]["merges"]]
        tokenizer = RobertaTokenizerFast(vocab=model["bpe"]["vocab"], merges=merges)
    else:
        tokenizer = XLMRobertaTokenizerFast(vocab=[tuple(piece) for piece in model["unigram"]["vocab"]])
    split_at_words(tokenizer).save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert splits_at_words(loaded)
    for text in ("(Mira Holt)\nsings", "so proud @mira's #Otters!"):
        assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert loaded("(Mira)\nHolt's")["input_ids"] == loaded("( Mira ) Holt 's")["input_ids"]


@pytest.mark.parametrize("kind", TOKENIZER_KINDS)
def test_the_vocabulary_says_which_tokens_continue_a_word(kind):
    continues = continuing_tokens(SPLIT[kind])
    text = "(Mira Holt-Ray) sings, 🎤 don't @mira #otters"
    encoded = SPLIT[kind](text, add_special_tokens=False, return_offsets_mapping=True)
    begins = begins_word(text, encoded["offset_mapping"])
    found = [not continues[token] for token in encoded["input_ids"]]
    starts = {start for start, end, joined in units_of(text) if not joined}
    assert all(mark for mark, begin in zip(found, begins, strict=True) if begin)
    # of the further beginnings each is a hyphen's part, or the name after # or @
    spare = [place for place, mark in zip(encoded["offset_mapping"], found, strict=True) if mark]
    assert {start for start, _ in spare} >= starts
    assert not any(continuing_tokens(TOKENIZER_KINDS[kind]()))


def test_prefixes_are_one_unit_with_the_run_behind_them():
    text = "#Otters @mira # x a#b ##c"
    assert [text[start:end] for start, end, _ in units_of(text, "#")] == [
        *("#Otters", "@", "mira", "#", "x", "a", "#b", "#", "#c"),
    ]


def test_hyphens_that_look_the_same_within_words_and_between_them(monkeypatch):
    monkeypatch.setattr(tiny_models, "WORD_PIECES", f"{tiny_models.WORD_PIECES} - _ ##-")
    tokenizer = split_at_words(tiny_models.wordpiece_tokenizer())
    assert tokenizer.convert_ids_to_tokens(word_hyphens(tokenizer)) == ["-", "_"]


@pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
def test_no_hyphen_is_marked_where_it_continues_a_word_or_is_unknown(kind):
    tokenizer = split_at_words(TOKENIZER_KINDS[kind]())
    assert tokenizer.convert_ids_to_tokens(word_hyphens(tokenizer)) == (["_"] if kind == "wordpiece" else [])


@pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
def test_prefixes_are_those_that_the_posts_write(kind):
    tokenizer = split_at_words(TOKENIZER_KINDS[kind]())
    rows = [["#Otters", "#win", "#", "@", "mira"], ["@mira", "@", "#1", "#!"]]
    found = word_prefixes(rows, tokenizer)
    assert list(found) == ["#"]
    assert tokenizer("#", add_special_tokens=False)["input_ids"][-1] == found["#"] != tokenizer.unk_token_id
    assert word_prefixes([["#", "Otters"]], tokenizer) == word_prefixes([], tokenizer) == {}

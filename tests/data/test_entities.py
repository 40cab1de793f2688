"""One reading from token labels to entities: whole words, whatever the tokenizer and the labels."""

import unicodedata
from itertools import pairwise

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tiny_models import LABELS, TOKENIZER_KINDS

from modeling_cotpd.data.entities import EntityReader, entity_tags, gold_entities
from modeling_cotpd.data.words import split_at_words, token_labels, word_spans, words_of_tokens

READER = EntityReader(LABELS)
PLAIN = {kind: make() for kind, make in TOKENIZER_KINDS.items()}
SPLIT = {kind: split_at_words(make()) for kind, make in TOKENIZER_KINDS.items()}
EVERY = [(kind, SPLIT[kind]) for kind in SPLIT] + [(f"{kind} as it was", PLAIN[kind]) for kind in PLAIN]


def tokens_of(tokenizer, text: str) -> list[tuple[int, int]]:
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True)
    return encoded["offset_mapping"]


def read(offsets, text: str, labels) -> list[dict]:
    return READER(text, offsets, np.array(labels, dtype=np.int64), np.ones(len(labels)))


def spans(entities: list[dict]) -> list[tuple[str, str]]:
    return [(entity["type"], entity["text"]) for entity in entities]


def test_labels_are_read_as_bio():
    offsets = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    assert spans(read(offsets, "a b c d e", [1, 2, 0, 4, 3])) == [("LOC", "a b"), ("PER", "d"), ("PER", "e")]
    assert spans(read(offsets, "a b c d e", [2, 2, 4, 1, 1])) == [
        ("LOC", "a b"),
        ("PER", "c"),
        ("LOC", "d"),
        ("LOC", "e"),
    ]
    assert read(offsets, "a b c d e", [0] * 5) == [] and read([], "", []) == []


def test_a_score_is_the_mean_over_units():
    found = READER("Mira Holt", [(0, 2), (2, 4), (5, 9)], np.array([3, 4, 4]), np.array([0.5, 0.1, 1.0]))
    assert found == [{"start": 0, "end": 9, "type": "PER", "score": 0.75, "text": "Mira Holt"}]


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        # an entity that begins in a word ends no earlier than the word
        ("Holt-Ray sings", "B..O..O..O", [("PER", "Holt-Ray")]),
        ("O'Holt sings", "BOOO", [("PER", "O'Holt")]),
        ("#Otters win", "BOO", [("PER", "#Otters")]),
        # it may begin within one
        ("@mira: hi", "OBOO", [("PER", "mira")]),
        ("pro-Holt", "OOB", [("PER", "Holt")]),
        # where a second one begins in the word, the sign between them is of neither
        ("Mira-Holt", "BOB", [("PER", "Mira"), ("PER", "Holt")]),
        # words end an entity
        ("Mira/Holt", "BOB", [("PER", "Mira"), ("PER", "Holt")]),
        ("Mira's", "BOO", [("PER", "Mira")]),
        ("(Mira)", "OBO", [("PER", "Mira")]),
        ("U.S. x", "BOOOO", [("PER", "U.S.")]),
        ("Quar\u00adry x", "BOOO", [("PER", "Quar\u00adry")]),
        ("\u0645\u06cc\u200c\u062e\u0648 x", "BOOO", [("PER", "\u0645\u06cc\u200c\u062e\u0648")]),
        ("\U0001f469\u200d\U0001f680 x", "BOOO", [("PER", "\U0001f469\u200d\U0001f680")]),
    ],
)
def test_words_come_out_whole(text, labels, expected):
    units = [match.span() for match in regex.finditer(r"[\p{L}\p{N}]+|\S", text)]
    chosen = [{"O": 0, "B": 3, "I": 4}[label] for label in labels.replace(".", "")]
    assert spans(read(units, text, chosen)) == expected


@pytest.mark.parametrize(("kind", "tokenizer"), EVERY, ids=[kind for kind, _ in EVERY])
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("RT @mira: new single", "mira"),
        ("(Mira Holt) sings", "Mira Holt"),
        ("hi Mira, bye", "Mira"),
        ("#Otters win", "Otters"),
        ("so proud\nMira Holt sings", "Mira Holt"),
        ("Quarry\tMira Holt", "Mira Holt"),
        ("Holt's dog", "Holt"),
        ("\u201cMira\u201d\u2026", "Mira"),
        ("\u0411\u043e\u0440\u0438\u0441, \u043f\u0440\u0438\u0432\u0435\u0442", "\u0411\u043e\u0440\u0438\u0441"),
        ("hi \u5317\u4eac!", "\u5317\u4eac"),
        ("Zo\u00eb\u2764\ufe0f", "Zo\u00eb"),
    ],
)
def test_a_name_beside_other_signs(kind, tokenizer, text, name):
    """Every token that touches the name is labelled right; the tokens are as the tokenizer makes them."""
    start, end = text.index(name), text.index(name) + len(name)
    labels = []
    for first, last in tokens_of(tokenizer, text):
        inside = first < end and last > start and text[first:last].strip() != ""
        labels.append((4 if 3 in labels else 3) if inside else 0)
    assert spans(read(tokens_of(tokenizer, text), text, labels)) == [("PER", name)]


WORDS = st.lists(
    st.text(st.characters(categories=["L", "Mn", "Mc", "Nd"]), min_size=1, max_size=8).filter(
        # a word that begins with a mark joins what stands before it
        lambda word: unicodedata.category(word[0])[0] in "LN"
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SPLIT)), WORDS, st.data())
def test_words_of_any_script_come_out_as_they_were_labelled(kind, words, data):
    tags = data.draw(st.lists(st.integers(0, 4), min_size=len(words), max_size=len(words)))
    text, borders = " ".join(words), word_spans(words)
    offsets = tokens_of(SPLIT[kind], text)
    labels = token_labels(words_of_tokens(offsets, borders), tags, LABELS)
    assert -100 not in labels
    kept = {word for word in words_of_tokens(offsets, borders) if word >= 0}
    expected = entity_tags(read(borders, text, tags), borders)
    found = entity_tags(read(offsets, text, labels), borders)
    # a word of which the tokenizer keeps nothing cannot be labelled
    if len(kept) == len(words):
        assert found == expected


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(EVERY),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.data(),
)
def test_any_text_and_any_labels(kind, text, data):
    offsets = tokens_of(kind[1], text)
    labels = data.draw(st.lists(st.integers(0, 4), min_size=len(offsets), max_size=len(offsets)))
    entities = read(offsets, text, labels)
    assert all(before["end"] <= after["start"] for before, after in pairwise(entities))
    for entity in entities:
        start, end = entity["start"], entity["end"]
        assert entity["text"] == text[start:end] == text[start:end].strip() != ""
        # neither end lies within a run of letters of a script with spaces
        for place in (start, end):
            around = text[max(0, place - 1) : place + 1]
            assert not regex.fullmatch(r"[\p{Latin}\p{Greek}\p{Cyrillic}\p{Arabic}\p{Hebrew}\p{Nd}_]{2}", around)


@pytest.mark.parametrize(
    "text", ["Mi\0ra x", "\u05d1\u200f\u05ea\u05dc x", "Mira\u200bHolt x", "Quar\u00adry x"], ids=ascii
)
@pytest.mark.parametrize("kind", SPLIT)
def test_characters_that_no_reader_sees_cut_no_name(kind, text):
    """WordPiece drops them, so no token begins there."""
    end = text.index(" ")
    offsets = tokens_of(SPLIT[kind], text)
    labels = [(4 if place else 3) if start < end else 0 for place, (start, _) in enumerate(offsets)]
    assert [(entity["start"], entity["end"]) for entity in read(offsets, text, labels)] == [(0, end)]


def test_tags_of_words():
    borders = word_spans(["a", "bb", "c"])
    assert entity_tags([], borders) == ["O", "O", "O"]
    found = [{"start": 3, "end": 6, "type": "PER"}]
    assert entity_tags(found, borders) == ["O", "B-PER", "I-PER"]  # it begins within a word
    two = [{"start": 0, "end": 1, "type": "PER"}, {"start": 2, "end": 4, "type": "PER"}]
    assert entity_tags(two, borders) == ["B-PER", "B-PER", "O"]
    same = [{"start": 2, "end": 3, "type": "PER"}, {"start": 3, "end": 4, "type": "LOC"}]
    assert entity_tags(same, borders) == ["O", "B-PER", "O"]


def test_gold_entities_in_characters():
    tokens, tags = ["Mira", "Holt", "at", "Tarn"], ["I-PER", "I-PER", "O", "B-LOC"]
    assert gold_entities(tokens, tags) == [("PER", 0, 9), ("LOC", 13, 17)]

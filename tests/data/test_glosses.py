"""Glosses: read from answers in list form, and found in posts."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_cotpd.data.glosses import MAX_GLOSSES, find_glosses, parse_noun_list


def pairs(text: str) -> list[tuple[str, str]]:
    return [(item["mention"], item["gloss"]) for item in parse_noun_list(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1. Mira Holt (person/singer) 2. OTR (league)", [("Mira Holt", "person/singer"), ("OTR", "league")]),
        ("1. Mira (person)2. 2031 (year)3) #Otr (event)", [("Mira", "person"), ("2031", "year"), ("#Otr", "event")]),
        ("1. Mira: a singer\n2. Quarry Lane - a street", [("Mira", "a singer"), ("Quarry Lane", "a street")]),
        ("- Mira: singer\n- Holt (town)", [("Mira", "singer"), ("Holt", "town")]),
        ('1. "Tarn" (song (single) of 2031)', [("Tarn", "song (single) of 2031")]),
        ("Mira Holt (singer), Otters (team/club).", [("Mira Holt", "singer"), ("Otters", "team/club")]),
        ("1. Mira 2. Holt (town)", [("Holt", "town")]),
        ("None.", []),
        ("", []),
        ("The post names Mira Holt (a singer) and her dog.", []),
        ("There are 2. things in 1. list", []),
        ("1. None mentioned in the sentence.", []),
    ],
)  # fmt: skip
def test_list_forms(text, expected):
    assert pairs(text) == expected


@given(st.text(max_size=300))
def test_any_text_is_read(text):
    assert all(item["mention"] and item["gloss"] for item in parse_noun_list(text))


def test_a_flood_of_items_is_bounded():
    assert len(parse_noun_list(" ".join(f"{n}. Mira{n} (x)" for n in range(1, 500)))) == MAX_GLOSSES


def found(text: str, *glosses: tuple[str, str]) -> list[tuple[str, str]]:
    spans = find_glosses(text, [{"mention": mention, "gloss": gloss} for mention, gloss in glosses])
    return [(text[start:end], gloss) for start, end, gloss in spans]


@pytest.mark.parametrize(
    ("text", "mention", "expected"),
    [
        ("go #MiraHolt go", "Mira Holt", ["MiraHolt"]),
        ("mira holt and MIRA HOLT", "Mira Holt", ["mira holt", "MIRA HOLT"]),
        ("@mira_holt sings", "Mira Holt", ["mira_holt"]),
        ("an otter, otters, Otter's", "Otter", ["otter", "Otter"]),
        ("panbands play", "BAND", []),
        ("R.E.M. tonight", "REM", ["R.E.M"]),
        ("M\u00fchle M\u00dcHLE", "m\u00fchle", ["M\u00fchle", "M\u00dcHLE"]),
        ("Stra\u00dfe", "STRASSE", ["Stra\u00dfe"]),
        ("\u5317\u4eac\u5927\u5b66", "\u5317\u4eac", ["\u5317\u4eac"]),
        ("Mira", "", []),
        ("Mira", "!?", []),
    ],
)
def test_mentions_are_found(text, mention, expected):
    assert found(text, (mention, "x")) == [(name, "x") for name in expected]


def test_the_longest_mention_wins_and_nothing_overlaps():
    assert found("Mira Holt and Mira", ("Mira", "name"), ("Mira Holt", "singer"), ("Holt and", "?")) == [
        ("Mira Holt", "singer"),
        ("Mira", "name"),
    ]


def test_the_first_of_two_glosses_counts_and_empty_ones_do_not():
    assert found("Mira", ("mira", " "), ("Mira", "singer"), ("MIRA", "dog")) == [("Mira", "singer")]


@given(st.text(max_size=80), st.lists(st.text(min_size=1, max_size=12), max_size=5))
def test_any_text_and_mentions(text, mentions):
    spans = find_glosses(text, [{"mention": mention, "gloss": "x"} for mention in mentions])
    assert spans == sorted(spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    assert all(text[start:end].strip() for start, end, _ in spans)

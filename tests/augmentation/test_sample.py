import pytest
from support.fictional import mner, mner_row, mre

from modeling_cotpd.augmentation.sample import (
    Mention,
    candidate_names,
    fold,
    moved,
    name_key,
    occurrences,
    read_sample,
    replace_spans,
    with_mentions,
)


def test_mentions_of_a_post_are_read_strictly():
    sample = read_sample(mner_row("p", list("abcd"), ["B-PER", "I-PER", "O", "I-LOC"]), "mner")
    assert sample.mentions == (Mention("PER", 0, 2),)
    assert sample.has_orphans
    assert not mner("a b", ("PER", "a")).has_orphans


def test_types_of_head_and_tail_come_from_the_relation():
    assert [m.kind for m in mre("Mira joins Otters", "Mira", "Otters", "/per/org/member_of").mentions] == [
        "PER",
        "ORG",
    ]
    assert [m.kind for m in mre("Mira joins Otters", "Otters", "Mira", "None").mentions] == ["", ""]
    assert [m.kind for m in mre("Mira joins Otters", "Otters", "Mira", None).mentions] == ["", ""]


def test_unlabelled_posts_are_reported():
    assert read_sample(mner_row("p", ["a"], None), "mner").unlabelled
    assert not read_sample(mner_row("p", ["a"], ["O"]), "mner").unlabelled


def test_places_move_with_replaced_spans():
    edits = [(1, 2, ("x", "y", "z")), (4, 6, ())]
    assert replace_spans(list("abcdefg"), edits) == list("axyzcdg")
    assert [moved(place, edits) for place in (0, 2, 3, 6)] == [0, 4, 5, 6]


def test_tags_of_mentions_beside_one_another():
    mentions = [Mention("PER", 0, 2), Mention("PER", 2, 3)]
    row = with_mentions(mner_row("p", ["a"], ["O"]), list("abcd"), mentions)
    assert row["ner_tags"] == ["B-PER", "I-PER", "B-PER", "O"]


def test_a_record_with_other_mentions():
    row = with_mentions(mre("a b", "a", "b", "None").row, ["b", "a"], [Mention("", 1, 2), Mention("", 0, 1)])
    assert (row["tokens"], row["head"], row["tail"]) == (["b", "a"], {"start": 1, "end": 2}, {"start": 0, "end": 1})
    assert with_mentions(mner_row("p", ["a"], None), ["b"], [])["ner_tags"] is None


@pytest.mark.parametrize(
    "one, other",
    [
        ("New Tarn", "#newtarn"),
        ("@ MiraHolt", "MIRA HOLT"),
        ("Zoë Fenn", "zoe fenn"),
        ("J . Fenn-Holt", "J. FennHolt"),
        ("O'Tarn", "O’Tarn"),
        ("U . S", "US"),
    ],
)
def test_the_same_name(one, other):
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize("one, other", [("US", "us"), ("IT", "it"), ("Tarn", "Tarns"), ("", "x")])
def test_another_name(one, other):
    assert name_key(one) != name_key(other)


def test_occurrences_are_whole_tokens_without_overlap_and_longer_names_win():
    tokens = ["New", "Tarn", "Otters", "beat", "#NewTarn", "in", "Tarnished", "New", "Tarn"]
    found = occurrences(tokens, {"newtarn", "newtarnotters"})
    assert found == {"newtarnotters": [(0, 3)], "newtarn": [(4, 5), (7, 9)]}


def test_signs_and_quotes_stay_outside():
    assert occurrences(["“", "#", "Tarn", "”"], {"tarn"}) == {"tarn": [(2, 3)]}


def test_short_names_keep_their_case_except_after_a_sign():
    assert occurrences(["let", "us", "see", "the", "US", "and", "#us"], {"US"}) == {"US": [(4, 5), (6, 7)]}
    assert occurrences(["NFL", "#", "nfl"], {"NFL", "nfl"}) == {"NFL": [(0, 1)], "nfl": [(2, 3)]}


def test_candidate_names_are_all_that_could_be_a_name():
    assert list(candidate_names(["Go", "!", "Tarn"])) == [(0, 1, "Go"), (0, 3, "gotarn"), (2, 3, "tarn")]


def test_fold_of_no_letters_is_empty():
    assert fold("#!🎉") == ""

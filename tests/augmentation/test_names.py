import pytest

from modeling_cotpd.augmentation.names import candidate_names, fold, name_key, occurrences


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

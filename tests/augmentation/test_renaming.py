import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_cotpd.augmentation.renaming import Renaming, rename, with_full_name

HOLT = Renaming(("Mira", "Holt"), ("Dario", "Fenn"))


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Mira Holt sings.", "Dario Fenn sings."),
        ("MIRA HOLT, mira holt and Mira-Holt", "Dario Fenn, Dario Fenn and Dario Fenn"),
        ("@MiraHolt #mira_holt", "@DarioFenn #DarioFenn"),
        ("Holt's fans know Mira.", "Dario Fenn's fans know Dario Fenn."),
        ("1. Mira Holt (singer)2. Tarn", "1. Dario Fenn (singer)2. Tarn"),
        ("Nothing of the kind.", "Nothing of the kind."),
        ("", ""),
    ],
)
def test_every_surface_form_is_replaced(text, expected):
    assert HOLT.apply(text) == expected
    assert not HOLT.names(expected)


@pytest.mark.parametrize(
    "text", ["Mira Holt", "the #HoltFans", "Holts", "miraholtofficial", "TeamMira", "holt in all lower case"]
)
def test_what_names_the_old_entity(text):
    assert HOLT.names(text)


def test_common_nouns_are_no_names():
    lions = Renaming(("Tarn", "Festival", "of", "Lions"), ("Quarry", "Day"))
    assert lions.apply("Many go to the festival of Lions. Of lions there are few.") == (
        "Many go to the festival of Quarry Day. Of lions there are few."
    )
    assert not lions.names("Many go to the festival of their town.")
    assert lions.names("the festival in tarn")


def test_a_part_of_a_title_goes_as_a_whole():
    title = Renaming(("Tarn", "Walk", "With", "Me"), ("Dawn",))
    assert title.apply("Walk With Me, or Tarn: Walk with Me. Walk.") == "Dawn, or Dawn. Dawn."


def test_abbreviations_are_within_names():
    aske = Renaming(("Dr", ".", "Aske"), ("Lena",))
    assert aske.apply("Dr. Aske and Dr Aske. Aske wins.") == "Lena and Lena. Lena wins."


def test_words_of_other_mentions_stay():
    otters = Renaming(("Tarn", "Otters"), ("Quarry", "Lions"), frozenset({"tarn"}))
    assert otters.apply("The Tarn Otters of Tarn. Otters win.") == "The Quarry Lions of Tarn. Quarry Lions win."
    assert not otters.names("A trip to Tarn.")


def test_words_that_the_new_name_has_too_stay():
    renaming = Renaming(("Tarn", "United"), ("Holm", "United"))
    assert renaming.apply("Tarn United, or United for short.") == "Holm United, or United for short."


def test_a_text_that_still_names_the_old_one_is_emptied():
    assert rename("Mira Holt has a #HoltFans club.", [HOLT]) == ""
    assert rename("Mira Holt sings in Tarn.", [HOLT, Renaming(("Tarn",), ("Holm",))]) == "Dario Fenn sings in Holm."


def test_the_full_name_is_taken_from_lists():
    renaming = Renaming(("Holt",), ("Fenn",), frozenset({"tarn"}))
    full = with_full_name(renaming, ["", "1. Tarn (town) 2. Mira Holt (singer)"])
    assert full.apply("Mira Holt sings. Mira is glad.") == "Fenn sings. Fenn is glad."
    assert with_full_name(renaming, ["1. Tarn Holt (club)", "2. the Holt people (group)", "3. Holt (x)"]) is renaming


NAMES = st.sampled_from(["Mira Holt", "MIRA HOLT", "#miraholt", "@MiraHolt", "Holt", "mira holt", "HoltFans", "Mira"])
TEXT = st.lists(st.one_of(NAMES, st.sampled_from(["The", "singer", ".", ",", "(", "of", "Tarn", "'s"])), max_size=8)


@given(TEXT.map(" ".join))
def test_a_renamed_text_never_names_the_old_entity(text):
    renamed = rename(text, [HOLT])
    assert "holt" not in renamed.casefold()
    assert "mira" not in renamed.casefold()

import random

import pytest
from fictional import mner, mre

from modeling_cotpd.augmentation.sample import Mention
from modeling_cotpd.augmentation.source import EntitySource, Name, name_of, training_names, written_as

SOURCE = training_names(
    [
        mner("Mira Holt and # Otters and MIRA HOLT", ("PER", "Mira Holt"), ("ORG", "Otters"), ("PER", "MIRA HOLT")),
        mner("Quarry Lions", ("ORG", "Quarry Lions")),
        mre("Fenn joins .@Lions", "Fenn", ".@Lions", "/per/org/member_of"),
        mre("Tarn or Holm", "Tarn", "Holm", "None"),
    ]
)


def test_names_are_kept_once_by_type_and_sign():
    assert SOURCE.names == {
        ("PER", ""): [Name(("Mira", "Holt")), Name(("Fenn",))],
        ("ORG", "#"): [Name(("Otters",), "#")],
        ("ORG", ""): [Name(("Quarry", "Lions"))],
        ("ORG", "@"): [Name(("Lions",), "@")],
    }


def test_names_with_the_same_sign_come_first():
    rng = random.Random(0)
    assert {name.tokens for name in SOURCE.draws(rng, "ORG", "#", 20)} == {("Otters",)}
    assert {name.tokens for name in SOURCE.draws(rng, "PER", "#", 20)} == {("Mira", "Holt"), ("Fenn",)}
    assert list(SOURCE.draws(rng, "LOC", "", 20)) == []


def test_types_are_known_for_names_of_one_type():
    source = EntitySource()
    for kind, word in (("PER", "Tarn"), ("LOC", "tarn"), ("LOC", "US")):
        source.add(kind, Name((word,)))
    assert source.types() == {"us": "LOC"}


@pytest.mark.parametrize(
    "tokens, span, name",
    [
        (["#", "Otters"], (1, 2), Name(("Otters",), "#")),
        (["#", "Otters"], (0, 2), Name(("Otters",), "#")),
        (["#Otters"], (0, 1), Name(("Otters",), "#")),
        ([".@Otters"], (0, 1), Name(("Otters",), "@")),
        (["Go", "Otters"], (1, 2), Name(("Otters",), "")),
    ],
)
def test_signs_are_taken_off(tokens, span, name):
    assert name_of(tokens, Mention("ORG", *span)) == name


@pytest.mark.parametrize(
    "old, sign, tokens",
    [
        (["Otters"], "", ("Quarry", "Lions")),
        (["Otters"], "#", ("QuarryLions",)),
        (["#", "Otters"], "#", ("#", "QuarryLions")),
        (["@Otters"], "@", ("@QuarryLions",)),
    ],
)
def test_names_are_written_as_the_old_mention_was(old, sign, tokens):
    assert written_as(Name(("Quarry", "Lions")), old, sign) == tokens


def test_names_without_letters_are_not_added():
    assert not EntitySource().add("PER", Name(("🦦",)))

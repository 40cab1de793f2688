"""Names of the training split, and lists that a model writes."""

import random

import pytest
from support.fictional import drive, mner, mre, plan

from modeling_cotpd.augmentation.sample import Mention
from modeling_cotpd.augmentation.sources import (
    EntitySource,
    Name,
    list_jobs,
    name_of,
    read_names,
    teacher_names,
    training_names,
    write_list,
    written_as,
)
from modeling_cotpd.augmentation.tokenization import Tokenization
from modeling_cotpd.knowledge.answer import CUT, FAILED, Answer

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


@pytest.mark.parametrize(
    "answer, names",
    [
        ("1. Mira Holt\n2) Dario Fenn\n- Lena", ["Mira Holt", "Dario Fenn", "Lena"]),
        ("Sure, here are names:\n* **Mira Holt**: singer\n• “Tarn” (town)", ["Mira Holt", "Tarn"]),
        ('["Mira Holt", "Dario Fenn"]', ["Mira Holt", "Dario Fenn"]),
        ('```json\n[{"name": "Mira Holt", "type": "PER"}]\n```', ["Mira Holt"]),
        ("| No | Name |\n|---|---|\n| 1 | Mira Holt |\n| 2 | **Tarn** |", ["Mira Holt", "Tarn"]),
        ("Mira Holt, Dario Fenn, Lena", ["Mira Holt", "Dario Fenn", "Lena"]),
        ("- <b>Mira</b>\n- https://tarn.example\n- Tarn, Lindmere", ["Tarn, Lindmere"]),
        ("These are all the names that I know of at present", []),
        ("", []),
    ],
)
def test_names_are_read_from_lists(answer, names):
    assert read_names(answer) == names


def ask(replies, size, known=frozenset()):
    answers = iter(replies)
    return drive(write_list("PER", size, plan(), known), lambda request: next(answers))


def test_names_are_asked_for_until_there_are_enough():
    written, asked = ask(["Mira\nLena\nMIRA", "Lena\nHolt\nFenn\nAske"], 4, frozenset({"holt"}))
    assert written.names == ["Mira", "Lena", "Fenn", "Aske"]
    assert not written.why_short
    assert "4 different names of people" in asked[0].body["messages"][0]["content"]
    assert "Do not write any of these: Mira, Lena" in asked[1].body["messages"][0]["content"]


def test_a_teacher_that_repeats_itself_ends_the_list():
    written, asked = ask(["Mira", "Mira", "Mira"], 4)
    assert written.names == ["Mira"]
    assert "nothing new" in written.why_short
    assert len(asked) == 3


def test_the_last_line_of_a_cut_list_is_left_out():
    written, _ = ask([Answer(CUT, "Mira Holt\nLena\nDar", response="{}", attempts=1), "", ""], 3)
    assert written.names == ["Mira Holt", "Lena"]


def test_a_missing_answer_is_reported():
    written, _ = ask(["Mira", Answer(FAILED, reason="status 500")], 4)
    assert written.unasked


def test_the_size_is_shared_among_the_types():
    jobs = list(list_jobs({"PER", "ORG", "LOC"}, plan(list_size=10), frozenset()))
    sizes = {job.id: job.start.args[1] for job in jobs}
    assert sizes == {"LOC": 4, "ORG": 3, "PER": 3}


def test_names_are_tokenized_as_the_posts_are():
    source = teacher_names({"PER": ["J. Aske-Brand"]}, Tokenization())
    assert source.names["PER", ""][0].tokens == ("J", ".", "Aske", "-", "Brand")

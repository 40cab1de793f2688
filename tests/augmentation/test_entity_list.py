import pytest
from fictional import drive, plan

from modeling_cotpd.augmentation.entity_list import list_jobs, read_names, teacher_names, write_list
from modeling_cotpd.augmentation.tokenization import Tokenization
from modeling_cotpd.knowledge.answer import CUT, FAILED, Answer


@pytest.mark.parametrize(
    "answer, names",
    [
        ("1. Mira Holt\n2) Dario Fenn\n- Lena", ["Mira Holt", "Dario Fenn", "Lena"]),
        ("Sure, here are names:\n* **Mira Holt**: singer\n• “Tarn” (town)", ["Mira Holt", "Tarn"]),
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


def test_a_missing_answer_is_told():
    written, _ = ask(["Mira", Answer(FAILED, reason="status 500")], 4)
    assert written.unasked


def test_the_size_is_shared_among_the_types():
    jobs = list(list_jobs({"PER", "ORG", "LOC"}, plan(list_size=10), frozenset()))
    sizes = {job.id: job.start.args[1] for job in jobs}
    assert sizes == {"LOC": 4, "ORG": 3, "PER": 3}


def test_names_are_tokenized_as_the_posts_are():
    source = teacher_names({"PER": ["J. Aske-Brand"]}, Tokenization())
    assert source.names["PER", ""][0].tokens == ("J", ".", "Aske", "-", "Brand")

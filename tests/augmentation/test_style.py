import pytest
from fictional import KNOWLEDGE, drive, mner, mner_row, mre, plan, spans_of

from modeling_cotpd.augmentation.candidate import ACCEPTED, REJECTED, UNASKED, Rejected
from modeling_cotpd.augmentation.lexicon import Lexicon
from modeling_cotpd.augmentation.sample import read_sample
from modeling_cotpd.augmentation.style import restyle, rewrite_in
from modeling_cotpd.augmentation.tokenization import Tokenization
from modeling_cotpd.knowledge.answer import CUT, FAILED, REFUSED, Answer

POST = mner("Mira Holt sings for # Otters !", ("PER", "Mira Holt"), ("ORG", "Otters"), **KNOWLEDGE)
RELATION = mre("Mira joins Otters today", "Otters", "Mira", "/per/org/member_of")


def outcomes_of(answers, sample=POST, **settings):
    wanted = plan(kinds=("style",), **settings)
    replies = iter(answers)
    return drive(restyle(sample, wanted, Tokenization(), Lexicon([POST])), lambda request: next(replies))


def test_a_rewrite_is_labelled_and_keeps_picture_and_knowledge():
    outcomes, asked = outcomes_of(["wow, @miraholt is singing for the OTTERS 🎉"])
    assert outcomes[0].status == ACCEPTED
    row = outcomes[0].row
    assert spans_of(row) == [("PER", "miraholt"), ("ORG", "OTTERS")]
    assert {name: row[name] for name in ("image", *KNOWLEDGE)} == {"image": "1.jpg", **KNOWLEDGE}
    assert asked[0].body["messages"] == [
        {
            "role": "user",
            "content": "Text: Mira Holt sings for #Otters!\n\n"
            "Transform the sentence in Twitter style without changing the meaning.",
        }
    ]


def test_further_rewrites_follow_in_the_same_conversation():
    texts = ["Mira Holt for #Otters", "Otters: Mira Holt", "mira holt, for otters", "Mira Holt sings for # Otters !"]
    outcomes, asked = outcomes_of(texts, times=4)
    assert [outcome.status for outcome in outcomes] == [ACCEPTED, ACCEPTED, REJECTED, REJECTED]
    assert outcomes[2].reason == outcomes[3].reason == "not another text"
    messages = asked[3].body["messages"]
    assert [message["content"] for message in messages if message["role"] == "assistant"] == texts[:3]
    assert len({request.key for request in asked}) == 4


@pytest.mark.parametrize(
    "answer, reason",
    [
        ("Mira sings for the Otters", "mention missing"),
        ("Mira Holt, Mira Holt for Otters", "mention repeated"),
        ("Mira Holt for Otters " + "la " * 30, "too long"),
        ("!!!", "no text"),
        (Answer(REFUSED, "I'm sorry, but no", attempts=1), "answer refused"),
        (Answer(CUT, "Mira Holt for Otters and", attempts=1), "answer cut"),
    ],
)
def test_what_is_no_rewrite_is_rejected_with_the_reason(answer, reason):
    outcomes, _ = outcomes_of([answer])
    assert (outcomes[0].status, outcomes[0].reason) == (REJECTED, reason)


def test_cut_answers_are_taken_on_request():
    outcomes, _ = outcomes_of([Answer(CUT, "Mira Holt for Otters and", response="{}", attempts=1)], keep_cut=True)
    assert outcomes[0].status == ACCEPTED


def test_without_an_answer_the_conversation_ends():
    outcomes, asked = outcomes_of(["Mira Holt for Otters", Answer(FAILED, reason="status 500")], times=4)
    assert [outcome.status for outcome in outcomes] == [ACCEPTED, UNASKED, UNASKED, UNASKED]
    assert len(asked) == 2


def test_head_and_tail_are_found_again():
    outcomes, _ = outcomes_of(["Today #Mira becomes one of the otters!"], RELATION)
    row = outcomes[0].row
    assert [row["tokens"][row[side]["start"]] for side in ("head", "tail")] == ["otters", "Mira"]
    assert row["relation"] == "/per/org/member_of"


def test_an_unlabelled_post_stays_unlabelled():
    outcomes, _ = outcomes_of(["other words"], read_sample(mner_row("p", ["some", "words"], None), "mner"))
    assert outcomes[0].row["ner_tags"] is None


@pytest.mark.parametrize(
    "answer, text",
    [
        ("Go Otters!", "Go Otters!"),
        ('"Go Otters!"', "Go Otters!"),
        ("Here you are:\n\n“Go Otters!”", "Go Otters!"),
        ("Tweet: Go Otters!\n#win", "Go Otters! #win"),
        ('"Go" and "win"', '"Go" and "win"'),
        ("Mira: go", "Mira: go"),
        ("Go Otters!\n\nLet me know if you would like another version!", "Go Otters!"),
        ("Go Otters!\n(Note: I kept the hashtags.)", "Go Otters!"),
        ("Go Otters! (Note: the names are kept)", "Go Otters!"),
        ("Go Otters! Hope this helps!", "Go Otters!"),
        ("**Go Otters!**", "Go Otters!"),
        ("**Rewritten tweet:** Go **Otters**!", "Go Otters!"),
        ("```\nGo Otters!\n```", "Go Otters!"),
        ("> Go Otters!", "Go Otters!"),
        ("Sure! Here's the tweet: Go Otters!", "Go Otters!"),
        ("Here is a version in Twitter style:\n---\n\u2018Go Otters!\u2019", "Go Otters!"),
        ("Go Otters!\n#win", "Go Otters! #win"),
        ("#Otters win", "#Otters win"),
        ("Sure thing Otters win", "Sure thing Otters win"),
        ("Great news: Otters win", "Great news: Otters win"),
        ("Here we are: Otters!", "Here we are: Otters!"),
        ("Sure!\n\nGo Otters!", "Go Otters!"),
        ("Sure, here is your rewritten tweet:\nGo Otters!", "Go Otters!"),
    ],
)
def test_what_models_put_around_a_rewrite_is_taken_off(answer, text):
    assert rewrite_in(answer) == text


@pytest.mark.parametrize(
    "answer",
    [
        "Go Otters!\n\nThe Otters shall win.",
        "1. Go Otters!\n2. Win, Otters!",
        "Option 1: Go Otters!\n\nOption 2: Win, Otters!",
        "- Go Otters!\n- Win, Otters!",
    ],
)
def test_an_answer_with_two_texts_is_no_rewrite(answer):
    with pytest.raises(Rejected) as error:
        rewrite_in(answer)
    assert error.value.reason == "more than one text"


def test_what_the_post_has_itself_stays_in_its_rewrite():
    assert rewrite_in("go ** otters **", "** Otters ** go") == "go ** otters **"
    assert rewrite_in("yay otters! let me know how it goes", "Otters! Let me know how it goes") == (
        "yay otters! let me know how it goes"
    )

"""Rewrites, and the gold mentions found again in them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fictional import KNOWLEDGE, drive, mner, mner_row, mre, plan, posts, spans_of

from modeling_cotpd.augmentation.plan import ACCEPTED, REJECTED, UNASKED, Rejected
from modeling_cotpd.augmentation.run import TrainingPosts
from modeling_cotpd.augmentation.sample import name_key, read_sample
from modeling_cotpd.augmentation.style import Lexicon, align, restyle, rewrite_in
from modeling_cotpd.augmentation.tokenization import Tokenization, detokenize, tokenize
from modeling_cotpd.data.prepare import prepare
from modeling_cotpd.knowledge.answer import CUT, FAILED, REFUSED, Answer

APART, GLUED = Tokenization(), Tokenization(frozenset(), hyphens_apart=False)
ALIGNED_POST = mner(
    "Go # NewTarn and @ MiraHolt , says Dario Fenn", ("ORG", "NewTarn"), ("PER", "MiraHolt"), ("PER", "Dario Fenn")
)


def aligned(sample, text, manner=APART, **settings):
    tokens = tokenize(text, manner)
    return [(m.kind, " ".join(tokens[m.start : m.end])) for m in align(sample, tokens, **settings)]


def test_mentions_are_found_whatever_case_sign_and_spacing():
    assert aligned(ALIGNED_POST, "DARIO FENN: I love New Tarn 🎉 #mira_holt") == [
        ("PER", "DARIO FENN"),
        ("ORG", "New Tarn"),
        ("PER", "mira_holt"),
    ]
    assert aligned(ALIGNED_POST, "@DarioFenn says go newtarn, go Mira Holt!", GLUED) == [
        ("PER", "@DarioFenn"),
        ("ORG", "newtarn"),
        ("PER", "Mira Holt"),
    ]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("Go #NewTarn and @MiraHolt", "mention missing"),
        ("Go #NewTarns and @MiraHolt, says Dario Fenn", "mention missing"),
        ("Go New Tarn! #NewTarn @MiraHolt Dario Fenn", "mention repeated"),
    ],
)
def test_what_cannot_be_found_exactly_is_rejected(text, reason):
    with pytest.raises(Rejected, match=reason):
        aligned(ALIGNED_POST, text)


def test_a_name_within_a_longer_one_is_not_taken_for_it():
    post = mner("New Tarn and the New Tarn Otters", ("LOC", "New Tarn"), ("ORG", "New Tarn Otters"))
    assert aligned(post, "The New Tarn Otters play in New Tarn") == [("ORG", "New Tarn Otters"), ("LOC", "New Tarn")]
    with pytest.raises(Rejected, match="missing"):
        aligned(post, "The New Tarn Otters play")


@pytest.mark.parametrize(
    "post",
    [
        mner("Tarn and tarn", ("LOC", "Tarn")),
        mner("Tarn and Tarn", ("LOC", "Tarn"), ("PER", "Tarn")),
    ],
)
def test_a_name_that_is_not_always_the_same_entity_is_rejected(post):
    with pytest.raises(Rejected, match="not unique"):
        aligned(post, "Tarn or Tarn")


def test_ends_without_letters_come_along_where_they_are():
    post = mner("It is # Otters by Fenn Jr .", ("ORG", "# Otters"), ("PER", "Fenn Jr ."))
    assert aligned(post, "Fenn Jr. says #Otters") == [("PER", "Fenn Jr ."), ("ORG", "# Otters")]
    assert aligned(post, "Otters of Fenn Jr") == [("ORG", "Otters"), ("PER", "Fenn Jr")]


def test_a_mention_without_letters_is_rejected():
    with pytest.raises(Rejected, match="without letters"):
        aligned(mner("Go 🦦 go", ("ORG", "🦦")), "Go 🦦")


def test_head_and_tail_keep_their_order_and_place():
    post = mre("Fenn leads Otters ; Fenn sings", "Otters", "Fenn", "None")
    assert aligned(post, "Fenn sings and Fenn leads the #Otters") == [("", "Otters"), ("", "Fenn")]
    assert align(post, tokenize("Fenn sings, Fenn leads Otters", APART))[1].start == 0
    with pytest.raises(Rejected, match="repeated"):
        aligned(post, "Fenn, Fenn, Fenn and the Otters")
    with pytest.raises(Rejected, match="missing"):
        aligned(post, "Fenn leads the Otters")


def test_head_and_tail_of_one_name_cannot_be_told_apart():
    with pytest.raises(Rejected, match="same name"):
        align(mre("Fenn is @fenn", "Fenn", "@fenn", "None"), ["Fenn", "is", "@fenn"])


@given(posts(), st.sampled_from([str, str.upper]))
def test_an_accepted_alignment_has_every_mention_once_with_its_type_and_name(sample, change):
    tokens = tokenize(change(detokenize(sample.tokens)), APART)
    try:
        mentions = align(sample, tokens)
    except Rejected:
        return
    assert len(mentions) == len(sample.mentions)
    taken = [place for mention in mentions for place in range(mention.start, mention.end)]
    assert len(taken) == len(set(taken))
    names = sorted((m.kind, sample.key(m).casefold()) for m in sample.mentions)
    assert sorted((m.kind, name_key("".join(tokens[m.start : m.end])).casefold()) for m in mentions) == names


@pytest.mark.slow
def test_real_posts_align_with_themselves(real_data, tmp_path):
    prepare("twitter2017", real_data / "twitter2017", tmp_path / "data")
    training = TrainingPosts(tmp_path / "data")
    assert training.tokenization == APART
    unsure = 0
    for sample in training.samples:
        tokens = tokenize(detokenize(sample.tokens), training.tokenization)
        try:
            found = align(sample, tokens)
        except Rejected:
            unsure += 1
            continue
        assert ["".join(tokens[m.start : m.end]) for m in found] == [
            "".join(sample.tokens[m.start : m.end]) for m in sample.mentions
        ]
    assert unsure <= 0.005 * len(training.samples)


LEXICON_POST = mner("so proud of Holt", ("PER", "Holt"))
LEXICON = Lexicon(
    [
        LEXICON_POST,
        mner("Go Otters !", ("ORG", "Otters")),
        mner("May is in town , congrats", ("PER", "May")),
        mner("May be in May"),
    ]
)


def check(text):
    tokens = text.split()
    LEXICON.check(LEXICON_POST, tokens, align(LEXICON_POST, tokens))


@pytest.mark.parametrize(
    "text",
    [
        "Congrats Holt !",
        "Holt # winning",
        "SO PROUD OF HOLT TODAY",
        "Holt ! May it last",
        "Proud Holt",
        "Holt ! Amazing # Wow",
    ],
)
def test_harmless_rewrites(text):
    check(text)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("so proud of Mira Holt", "mention may be longer"),
        ("so proud of Holt Brightwater", "mention may be longer"),
        ("so proud of Holt and the # otters", "new mention"),
        ("so proud of Holt @ quarry", "new mention"),
        ("so proud of Holt @quarry", "new mention"),
        ("so proud of Holt and then Brightwater", "new name"),
    ],
)
def test_rewrites_that_seem_to_name_more(text, reason):
    with pytest.raises(Rejected, match=reason):
        check(text)


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
        ("<tweet>\nGo Otters!\n</tweet>", "Go Otters!"),
        ('<rewritten lang="en">"Go Otters!"</rewritten>', "Go Otters!"),
        ("Casual version: Go Otters!", "Go Otters!"),
        ("Paraphrased tweet:\nGo Otters!", "Go Otters!"),
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


@pytest.mark.parametrize("answer", ['{"tweet": "Go Otters!"}', '["Go Otters!"]', '```json\n{"tweet": "Go"}\n```'])
def test_json_is_no_rewrite(answer):
    with pytest.raises(Rejected, match="no plain text"):
        rewrite_in(answer)


def test_what_the_post_has_itself_stays_in_its_rewrite():
    assert rewrite_in("<3 Otters <3", "Otters <3") == "<3 Otters <3"
    assert rewrite_in("go ** otters **", "** Otters ** go") == "go ** otters **"
    assert rewrite_in("yay otters! let me know how it goes", "Otters! Let me know how it goes") == (
        "yay otters! let me know how it goes"
    )

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fictional import KNOWLEDGE, drive, mner, mner_row, mre, plan, posts, spans_of

from modeling_cotpd.augmentation.entity import draw, read_verdict, replace_entities, replaced_row
from modeling_cotpd.augmentation.plan import ACCEPTED, REJECTED, UNASKED, Rejected
from modeling_cotpd.augmentation.sample import fold, read_sample
from modeling_cotpd.augmentation.sources import EntitySource, Name, training_names
from modeling_cotpd.augmentation.tokenization import detokenize
from modeling_cotpd.data.bio import entities, orphans
from modeling_cotpd.knowledge.answer import FAILED, Answer

SOURCE = training_names(
    [
        mner("Dario Fenn plays for Quarry Lions", ("PER", "Dario Fenn"), ("ORG", "Quarry Lions")),
        mner("Lena sees # Kestrels", ("PER", "Lena"), ("ORG", "Kestrels")),
        mner("J . Aske Brand sings", ("PER", "J . Aske Brand")),
    ]
)
POST = mner("Mira Holt sings for # Otters !", ("PER", "Mira Holt"), ("ORG", "Otters"), **KNOWLEDGE)
OFFLINE = plan(settings=None, kinds=("entity",), fact_check=False, times=4)


def no_request(request):
    raise AssertionError("no request may be sent")


def outcomes_of(sample, of=OFFLINE, answers=no_request, source=SOURCE, types=None):
    return drive(replace_entities(sample, of, source, types or {}), answers)


def test_one_name_becomes_another_of_its_type_and_the_rest_stays():
    outcomes, _ = outcomes_of(POST)
    texts = [outcome.text for outcome in outcomes if outcome.status == ACCEPTED]
    assert len(texts) == len(set(texts)) == 4
    for outcome in outcomes:
        before, after = spans_of(POST.row), spans_of(outcome.row)
        assert [kind for kind, _ in before] == [kind for kind, _ in after]
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
        assert outcome.row["image"] is None
        assert set(outcome.row["tokens"]) >= {"sings", "for", "#", "!"}


def test_the_knowledge_names_the_new_entity():
    source = EntitySource()
    source.add("PER", Name(("Dario", "Fenn")))
    outcomes, _ = outcomes_of(POST, plan(settings=None, kinds=("entity",), fact_check=False), source=source)
    row = outcomes[0].row
    assert row["caption"] == "Dario Fenn on a stage"
    assert row["cot_noun"] == "1. Dario Fenn (singer) 2. Tarn (town)"
    assert row["cot_sentence"] == "Dario Fenn sings in Tarn. Dario Fenn's fans post as #DarioFenn."


def test_knowledge_can_be_left_out():
    outcomes, _ = outcomes_of(POST, plan(settings=None, kinds=("entity",), fact_check=False, knowledge="empty"))
    assert {outcomes[0].row[name] for name in KNOWLEDGE if name != "caption"} == {""}


def test_all_names_of_a_post():
    wanted = plan(settings=None, kinds=("entity",), fact_check=False, mentions="all")
    outcomes, _ = outcomes_of(POST, wanted)
    assert outcomes[0].row["tokens"][-2] == "Kestrels"
    assert "Mira" not in outcomes[0].text


def test_fewer_times_are_the_beginning_of_more():
    once, _ = outcomes_of(POST, plan(settings=None, kinds=("entity",), fact_check=False, times=1))
    more, _ = outcomes_of(POST)
    other, _ = outcomes_of(POST, plan(settings=None, kinds=("entity",), fact_check=False, times=4, seed=1))
    assert once[0].text == more[0].text
    assert [o.text for o in more] != [o.text for o in other]


def test_a_name_that_stands_twice_is_replaced_twice():
    post = mner("Lena , oh Lena !", ("PER", "Lena"), ("PER", "Lena"))
    outcomes, _ = outcomes_of(post)
    assert all("Lena" not in outcome.text for outcome in outcomes if outcome.row)
    for row in (outcome.row for outcome in outcomes if outcome.row):
        assert len(row["tokens"]) == len(row["ner_tags"])
        (_, first), (_, second) = spans_of(row)
        assert first == second


@pytest.mark.parametrize(
    "post, reason",
    [
        (mner("no names here"), "no entity"),
        (mner("Mira and mira", ("PER", "Mira")), "name also stands unlabelled"),
        (mner("at Tarn", ("LOC", "Tarn")), "no other name to take"),
        (read_sample(mner_row("p", ["a"], None), "mner"), "not labelled"),
        (read_sample(mner_row("p", ["a", "Mira"], ["I-PER", "B-PER"]), "mner"), "tags that continue nothing"),
        (mre("Mira Holt sings", "Mira Holt", "Holt", "/per/per/peer"), "head and tail overlap"),
        (mre("Mira is @mira", "Mira", "@mira", "/per/per/peer"), "same name"),
        (mre("Mira is Holt", "Mira", "Holt", "/per/per/alternate_names"), "one entity"),
        (mre("Mira is Holt", "Mira", "Holt", "None"), "type not known"),
        (mre("Mira is Holt", "Mira", "Holt", None), "type not known"),
    ],
)
def test_posts_that_give_nothing_are_rejected_with_the_reason(post, reason):
    outcomes, _ = outcomes_of(post)
    assert {outcome.status for outcome in outcomes} == {REJECTED}
    assert reason in outcomes[-1].reason


def test_only_what_is_possible_in_fact_is_kept():
    replies = iter(["Yes.", "No, never.", "Perhaps", Answer(FAILED, reason="status 500")])
    outcomes, asked = outcomes_of(POST, plan(kinds=("entity",), times=4), lambda request: next(replies))
    assert [outcome.status for outcome in outcomes] == [ACCEPTED, REJECTED, REJECTED, UNASKED]
    assert [outcome.reason for outcome in outcomes] == ["", "fact check says no", "fact check unclear", "no answer"]
    question = asked[0].body["messages"][-1]["content"]
    assert outcomes[0].text in question
    assert question.endswith("Whether the sentence is possible in fact, answer yes or no.")


def test_a_new_sample_gets_an_imagined_picture_and_new_knowledge():
    def answers(request):
        return "yes" if request.purpose == "fact_check" else f"A {request.purpose} of a post"

    outcomes, asked = outcomes_of(POST, plan(kinds=("entity", "image"), knowledge="elicit"), answers)
    assert [request.purpose for request in asked] == ["fact_check", "image", "noun", "sentence", "multimodality"]
    row = outcomes[0].row
    assert (row["image"], row["caption"], row["cot_noun"]) == (None, "A image of a post", "A noun of a post")
    assert "Image: A image of a post" in asked[2].body["messages"][0]["content"]


def test_elicited_knowledge_that_names_the_old_entity_is_emptied():
    outcomes, _ = outcomes_of(
        POST,
        plan(kinds=("entity", "image"), fact_check=False, knowledge="elicit", times=3),
        lambda request: "Mira Holt of the Otters" if request.purpose in ("noun", "image") else "fine",
    )
    assert {outcome.row["cot_noun"] + outcome.row["caption"] for outcome in outcomes} == {""}
    notes = ["caption emptied", "cot_noun emptied", "cot_multimodality skipped"]
    assert all(outcome.notes == notes for outcome in outcomes)
    assert all(outcome.row["cot_sentence"] == "fine" for outcome in outcomes)


def test_head_or_tail_is_replaced_and_the_other_moves():
    post = mre("Mira joins Otters ; Mira sings", "Otters", "Mira", "/per/org/member_of")
    post = read_sample({**post.row, "relation": "/org/per/member"}, "mre")
    outcomes, _ = outcomes_of(post, plan(settings=None, kinds=("entity",), fact_check=False, times=6))
    for outcome in outcomes:
        if outcome.status == ACCEPTED:
            row = outcome.row
            head, tail = (row["tokens"][row[side]["start"] : row[side]["end"]] for side in ("head", "tail"))
            assert (head == ["Otters"]) != (tail == ["Mira"])
            assert row["relation"] == "/org/per/member"
            if tail != ["Mira"]:
                assert "Mira" not in row["tokens"]
                assert outcome.text.count(detokenize(tail)) == 2
    assert sum(outcome.status == ACCEPTED for outcome in outcomes) >= 4


def test_types_of_unrelated_entities_are_looked_up():
    post = mre("Lena is with Holt", "Lena", "Holt", "None")
    outcomes, _ = outcomes_of(post, types={"lena": "PER"})
    assert all(outcome.row["relation"] == "None" for outcome in outcomes if outcome.row)
    assert outcomes[0].row["tokens"][-1] == "Holt"


POOL = EntitySource()
for kind, words in (("PER", ["Lena", "Dario Fenn", "J . Aske - Brand"]), ("ORG", ["Kestrels", "FC Quarry of Aske"])):
    for word in words:
        for sign in ("", "#", "@"):
            POOL.add(kind, Name(tuple(word.split()) if not sign else (word.replace(" ", ""),), sign))


@given(posts(), st.integers(0, 99), st.sampled_from(["one", "all"]))
def test_properties_of_replaced_posts(sample, seed, mentions):
    wanted = plan(settings=None, kinds=("entity",), fact_check=False, mentions=mentions)
    try:
        replacements = draw(sample, wanted, POOL, {}, random.Random(seed), {tuple(sample.tokens)})
    except Rejected:
        return
    row = replaced_row(sample, replacements)
    tokens, tags, old_tags = row["tokens"], row["ner_tags"], sample.row["ner_tags"]
    assert len(tokens) == len(tags)
    assert not orphans(tags)
    after = entities(tags)
    # The number of entities and their types in order are kept.
    assert [kind for kind, _, _ in after] == [mention.kind for mention in sample.mentions]
    # What lies outside of the replaced mentions has the same tokens and labels, in the same order.
    changed = {(start, end) for each in replacements for start, end, _ in each.edits}
    kept, kept_after = [], []
    for mention, (_, start, end) in zip(sample.mentions, after, strict=True):
        if (mention.start, mention.end) not in changed:
            assert tokens[start:end] == sample.tokens[mention.start : mention.end]
    inside = {place for start, end in changed for place in range(start, end)}
    kept = [(t, g) for place, (t, g) in enumerate(zip(sample.tokens, old_tags, strict=True)) if place not in inside]
    new_spans = [
        (start, end)
        for mention, (_, start, end) in zip(sample.mentions, after, strict=True)
        if (mention.start, mention.end) in changed
    ]
    inside = {place for start, end in new_spans for place in range(start, end)}
    kept_after = [(t, g) for place, (t, g) in enumerate(zip(tokens, tags, strict=True)) if place not in inside]
    assert kept == kept_after
    # The text has every mention.
    text = fold(detokenize(tokens))
    assert all(fold("".join(tokens[start:end])) in text for _, start, end in after)
    assert all("".join(detokenize(tokens[start:end]).split()) for _, start, end in after)
    # No replaced name is left.
    for each in replacements:
        assert all(fold("".join(tokens[start:end])) != fold("".join(each.renaming.old)) for start, end in new_spans)


@pytest.mark.parametrize("text", ["yes", "Yes.", "**Yes**, it is possible.", "The answer is yes.", "YES\nNo doubt."])
def test_verdicts_of_yes(text):
    assert read_verdict(text) is True


@pytest.mark.parametrize("text", ["no", "No, a river cannot sing.", "- No", "I would say no."])
def test_verdicts_of_no(text):
    assert read_verdict(text) is False


@pytest.mark.parametrize(
    "text", ["", "Maybe", "It may be yes or no.", "Nothing is known", "No one can tell", "Yesterday"]
)
def test_unclear_verdicts(text):
    assert read_verdict(text) is None

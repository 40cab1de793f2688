import json

import pytest

from modeling_cotpd.errors import SettingError
from modeling_cotpd.knowledge.answer import Answer
from modeling_cotpd.knowledge.baseline import Question, choose_examples
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.prompt import load_prompts

SETTINGS = EndpointSettings(model="m", base_url="http://a/v1")
TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
ROW = {
    "id": "1",
    "tokens": ["Varro", "Quill", "leaves", "Kettle", "Bay", "!"],
    "ner_tags": [3, 4, 0, 1, 2, 0],
    "caption": "a pier",
}
RELATIONS = ["None", "/per/loc/place_of_residence", "/per/loc", "/per/org/member_of"]
PAIR = {**ROW, "head": {"start": 0, "end": 2}, "tail": {"start": 3, "end": 5}, "relation": 1}


def mner(**more):
    return Question("mner", SETTINGS, load_prompts()["entities"], TAGS, **more)


def mre(**more):
    return Question("mre", SETTINGS, load_prompts()["relation"], RELATIONS, **more)


def read(text, status="answered"):
    return mner().read(Answer(status, text), ROW)


GOOD = '{"entities": [{"text": "varro quill", "type": "per"}, {"text": "KettleBay", "type": "LOC"}]}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"Sure, here you go:\n```json\n{GOOD}\n```\nAnything else?",
        GOOD[:-2] + ', {"text": "Ba',
        '[{"text": "Varro Quill", "type": "PER"}, {"text": "Kettle Bay", "type": " LOC"}]',
    ],
)
def test_entities_are_read_tolerantly(text):
    prediction = read(text)
    assert prediction.parsed and not prediction.problems
    assert prediction.label == ["B-PER", "I-PER", "O", "B-LOC", "I-LOC", "O"]


@pytest.mark.parametrize("text", ["", "There are none.", "{'entities': 0}", '{"names": []}', '{"entities": "none"}'])
def test_what_cannot_be_read_predicts_nothing_and_says_so(text):
    prediction = read(text)
    assert not prediction.parsed and prediction.label == ["O"] * 6


def test_parts_that_do_not_fit_are_counted():
    text = json.dumps(
        {
            "entities": [
                {"text": "Varro Quill", "type": "PER"},
                {"text": "Lindmere", "type": "LOC"},
                {"text": "Bay", "type": "BIRD"},
                {"text": "Varro", "type": "PER"},
                "Bay",
            ]
        }
    )
    prediction = read(text)
    assert prediction.label == ["B-PER", "I-PER", "O", "O", "O", "O"]
    assert prediction.problems == {"mention not in the text": 2, "unknown type": 2}


def test_failed_requests_predict_nothing():
    assert not read(GOOD, "failed").parsed
    assert read('{"entities": []}').parsed


@pytest.mark.parametrize(
    ("text", "label", "parsed"),
    [
        ('{"relation": "/per/loc"}', "/per/loc", True),
        ('The answer: {"relation": " /PER/org/member_of "}', "/per/org/member_of", True),
        ("It is /per/loc/place_of_residence.", "/per/loc/place_of_residence", True),
        ("none", "None", True),
        ("Either /per/loc or None", "None", False),
        ('{"relation": "/per/eats"}', "None", False),
        ("I do not know", "None", False),
    ],
)
def test_relations_are_read_tolerantly(text, label, parsed):
    prediction = mre().read(Answer("answered", text), PAIR)
    assert (prediction.label, prediction.parsed) == (label, parsed)


def test_questions_show_what_is_to_be_known():
    asked = mner().ask(ROW)
    assert "entity types are LOC, PER" in asked and "Text: Varro Quill leaves Kettle Bay !\nImage: a pier" in asked
    asked = mre().ask({**PAIR, "caption": ""})
    assert asked.endswith("Kettle Bay !\nFirst entity: Varro Quill\nSecond entity: Kettle Bay")
    assert "None, /per/loc/place_of_residence" in asked


def test_examples_are_turns_of_the_conversation_and_read_back_as_gold():
    for question, row in ((mner(examples=(ROW,), structured=True), ROW), (mre(examples=(PAIR,)), PAIR)):
        messages = question.request(row).body["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant", "user"]
        gold = question.read(Answer("answered", messages[1]["content"]), row)
        expected = RELATIONS[1] if question.task == "mre" else [TAGS[tag] for tag in ROW["ner_tags"]]
        assert gold.label == expected and gold.parsed
    schema = mner(structured=True).request(ROW).body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["entities"]["items"]["properties"]["type"]["enum"] == ["LOC", "PER"]
    assert "response_format" not in mner().request(ROW).body


def test_examples_are_drawn_with_a_seed_and_show_something():
    rows = [{**ROW, "id": str(number), "ner_tags": [0] * 6} for number in range(50)]
    rows += [{**ROW, "id": "none", "ner_tags": None}, {**ROW, "id": "full"}, {**ROW, "id": "full2"}]
    chosen = choose_examples(rows, "mner", TAGS, 4, 1)
    assert len({row["id"] for row in chosen}) == 4
    assert sum(row["id"].startswith("full") for row in chosen) >= 2 and "none" not in {row["id"] for row in chosen}
    assert chosen == choose_examples(rows, "mner", TAGS, 4, 1) != choose_examples(rows, "mner", TAGS, 4, 2)
    with pytest.raises(SettingError, match="too few for 3 shots"):
        choose_examples(rows[50:], "mner", TAGS, 3, 1)

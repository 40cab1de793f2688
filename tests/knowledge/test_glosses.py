"""Mentions and glosses as language models write them."""

import json

import pytest

from modeling_cotpd.knowledge.glosses import find_json, list_of, read_glosses

GLOSSES = [{"mention": "Varro Quill", "gloss": "goalkeeper"}, {"mention": "Lindmere", "gloss": "town, by a lake"}]
TEXT = json.dumps(GLOSSES)


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        f"Sure, here is the list:\n```json\n{TEXT}\n```\nAnything else?",
        json.dumps(GLOSSES, indent=2),
        json.dumps({"entities": GLOSSES}),
        TEXT[:-1] + ', {"mention": "Otters", "gl',
        TEXT[:-1] + ",]",
        TEXT.replace('"', "'"),
        "\n".join(json.dumps(item) for item in GLOSSES),
        json.dumps({item["mention"]: item["gloss"] for item in GLOSSES}),
        json.dumps([{item["mention"]: item["gloss"]} for item in GLOSSES]),
        json.dumps([[item["mention"], item["gloss"]] for item in GLOSSES]),
        json.dumps([f"{item['mention']}: {item['gloss']}" for item in GLOSSES]),
        json.dumps([f"{item['mention']} ({item['gloss']})" for item in GLOSSES]),
        json.dumps([{"Name": item["mention"], "Explanation": item["gloss"]} for item in GLOSSES]),
        json.dumps([{"entity": item["mention"], "description": item["gloss"], "type": "X"} for item in GLOSSES]),
        json.dumps([*GLOSSES, GLOSSES[0], {"mention": "  ", "gloss": "nothing"}, 3]),
    ],
)
def test_every_form_gives_the_same_glosses(text):
    assert read_glosses(text) == GLOSSES


@pytest.mark.parametrize("text", ["", "There are none.", "[1, 2]", '{"a": 1}', "[" * 5000, "null", '"Varro"', "[[["])
def test_what_is_no_list_is_unparsable(text):
    assert read_glosses(text) is None


def test_an_empty_list_and_missing_glosses_are_answers():
    assert read_glosses("[]") == []
    assert read_glosses('["Lindmere", {"mention": "Otters", "gloss": null}]') == [
        {"mention": "Lindmere", "gloss": ""},
        {"mention": "Otters", "gloss": ""},
    ]


def test_half_an_emoji_can_be_written():
    (gloss,) = read_glosses('[{"mention": "so \\ud83d", "gloss": "\\ud83d\\ude00"}]')
    assert gloss == {"mention": "so \ufffd", "gloss": "\U0001f600"}


def test_glosses_as_a_numbered_list():
    assert list_of(GLOSSES) == "1. Varro Quill (goalkeeper) 2. Lindmere (town, by a lake)"
    assert list_of([]) == ""


def test_json_is_found_anywhere():
    assert find_json('a {b} {"c": [1]}') == {"c": [1]}
    assert find_json("no {json} here [") is None
    assert find_json('{"entities": [{"text": "a"}, {"te') == {"entities": [{"text": "a"}]}

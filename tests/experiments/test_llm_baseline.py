"""The language model as recognizer: its answers read, and the command from end to end against a stub server."""

import json
from pathlib import Path

import pytest
from support.files import read_lines
from support.stub_server import StubServer
from typer.testing import CliRunner

from experiments.llm_baseline import Question, app, choose_examples, find_mention, question_prompt
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import SettingError
from modeling_cotpd.knowledge.answer import Answer
from modeling_cotpd.knowledge.endpoint import EndpointSettings

SETTINGS = EndpointSettings(model="m", base_url="http://a/v1")
TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
ROW = {
    "id": "1",
    "tokens": ["Varro", "Quill", "leaves", "Kettle", "Bay", "!"],
    "gold": ["B-PER", "I-PER", "O", "B-LOC", "I-LOC", "O"],
    "caption": "a pier",
}
RELATIONS = ["None", "/per/loc/place_of_residence", "/per/loc", "/per/org/member_of"]
PAIR = {**ROW, "head": {"start": 0, "end": 2}, "tail": {"start": 3, "end": 5}, "gold": RELATIONS[1]}


def mner(**more):
    return Question("mner", SETTINGS, question_prompt("mner"), TAGS, **more)


def mre(**more):
    return Question("mre", SETTINGS, question_prompt("mre"), RELATIONS, **more)


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
    for question, row in ((mner(examples=(ROW,)), ROW), (mre(examples=(PAIR,)), PAIR)):
        messages = question.request(row).body["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant", "user"]
        gold = question.read(Answer("answered", messages[1]["content"]), row)
        assert gold.label == row["gold"] and gold.parsed


def test_examples_are_drawn_with_a_seed_and_show_something():
    rows = [{**ROW, "id": str(number), "gold": ["O"] * 6} for number in range(50)]
    rows += [{**ROW, "id": "none", "gold": None}, {**ROW, "id": "full"}, {**ROW, "id": "full2"}]
    chosen = choose_examples(rows, 4, 1)
    assert len({row["id"] for row in chosen}) == 4
    assert sum(row["id"].startswith("full") for row in chosen) >= 2 and "none" not in {row["id"] for row in chosen}
    assert chosen == choose_examples(rows, 4, 1) != choose_examples(rows, 4, 2)
    with pytest.raises(SettingError, match="too few for 3 shots"):
        choose_examples(rows[50:], 3, 1)


TOKENS = ["#", "Herons", "beat", "New", "Lind", "mere", ",", "herons", "OK", "'s", "New"]


@pytest.mark.parametrize(
    ("mention", "span"),
    [
        ("#Herons", (0, 2)),
        ("# Herons", (0, 2)),
        ("Herons", (1, 2)),
        ("herons", (7, 8)),
        ("HERONS", (1, 2)),
        ("New Lindmere", (3, 6)),
        ("OK's", (8, 10)),
        ("Heron", None),
        ("Lind", (4, 5)),
        ("mere , herons", (5, 8)),
        ("", None),
        ("  ", None),
        ("Kettle Bay", None),
    ],
)
def test_mentions_are_found_as_whole_tokens(mention, span):
    assert find_mention(TOKENS, mention, [False] * len(TOKENS)) == span


def test_a_taken_span_gives_way_to_the_next():
    taken = [False] * len(TOKENS)
    taken[3] = True
    assert find_mention(TOKENS, "New", taken) == (10, 11)
    assert find_mention(TOKENS, "New Lindmere", taken) is None


def test_a_users_prompt_replaces_the_packaged_one(tmp_path):
    (tmp_path / "entities.txt").write_text("---\nversion: mine\n---\nWho is named in {text}? {types}")
    assert question_prompt("mner", tmp_path).version == "mine"
    assert question_prompt("mre", tmp_path) == question_prompt("mre")
    assert question_prompt("mner").fields == {"types", "text", "caption"}


def prepare(folder, task):
    rows = []
    for number in range(8):
        tokens = ["Varro", "Quill", "leaves", "Lindmere", str(number)]
        gold = {"ner_tags": ["B-PER", "I-PER", "O", "B-LOC", "O"]}
        if task == "mre":
            spans = {"head": {"start": 0, "end": 2}, "tail": {"start": 3, "end": 4}}
            gold = {**spans, "relation": "None" if number % 2 else "/per/loc/left"}
        if number == 7:
            gold["ner_tags" if task == "mner" else "relation"] = None
        rows.append({"id": str(number), "tokens": tokens, **gold})
    names = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"] if task == "mner" else ["None", "/per/loc/left"]
    splits = {name: make_split(rows, task, names, "test") for name in ("train", "test")}
    write_prepared(splits, DatasetInfo("tiny", task, names), folder)
    return folder


def answer(body):
    """Right about even posts, wrong about 1 and 3, unreadable about 5."""
    question = body["messages"][-1]["content"]
    number = int(question.split("Lindmere ")[1].split("\n")[0])
    relation = "relation" in question.split(".")[0] or "relations" in question
    if number == 5:
        return "I think so."
    if relation:
        return json.dumps({"relation": "/per/loc/left"})
    found = [{"text": "Varro Quill", "type": "PER"}]
    found.append({"text": "Lindmere", "type": "LOC"} if number % 2 == 0 else {"text": "Kettle Bay", "type": "LOC"})
    return json.dumps({"entities": found})


def call(server, source, out, *more):
    arguments = [source, "--out", out, "--model", "stub", "--base-url", server.base_url]
    arguments = [*map(str, arguments), "--store", str(Path(out).parent / "s.sqlite"), *map(str, more)]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_entities_are_scored_with_the_projects_metric(tmp_path):
    with StubServer(answer=answer) as server:
        result = call(server, prepare(tmp_path / "data", "mner"), tmp_path / "out")
    assert result.exit_code == 0
    summary = json.loads((tmp_path / "out/results.json").read_text())
    # Gold: 14 entities in 7 labelled rows. Posts 0, 2, 4, 6 give two right ones, 1 and 3 one, 5 none.
    assert (summary["scores"]["gold_entities"], summary["scores"]["predicted_entities"]) == (14, 10)
    assert summary["scores"]["f1"] == pytest.approx(20 / 24)
    assert (summary["unparsable"], summary["rows"], summary["statuses"]) == (1, 8, {"answered": 8})
    assert summary["left_out"] == {"mention not in the text": 3}
    assert "could not be read: 1 of 8" in result.stdout and "f1 0.8333" in result.stdout
    rows = read_lines(tmp_path / "out/predictions.jsonl")
    assert rows[5]["parsed"] is False and rows[5]["prediction"] == ["O"] * 5 and rows[5]["answer"] == "I think so."
    assert rows[7]["gold"] is None


def test_relations_are_scored_without_none_and_few_shot_asks_with_examples(tmp_path):
    seen = []
    with StubServer(answer=lambda body: seen.append(body) or answer(body)) as server:
        source = prepare(tmp_path / "data", "mre")
        result = call(server, source, tmp_path / "out", "--shots", 2)
        summary = json.loads((tmp_path / "out/results.json").read_text())
        assert result.exit_code == 0 and summary["shots"] == 2
        # Predicted: 0, 2, 4, 6 right, 1 and 3 wrong, 5 nothing; gold 4.
        assert summary["scores"]["f1"] == pytest.approx(2 * 4 / (6 + 4))
        assert all(len(body["messages"]) == 5 for body in seen)
        asked = server.asked.total()
        assert "answered before: 8" in call(server, source, tmp_path / "out", "--shots", 2).stderr
        assert server.asked.total() == asked
        assert "requests to send: 8 (8 relation)" in call(server, source, tmp_path / "out", "--dry-run").stderr


def test_failures_show_in_the_exit_code(tmp_path):
    with StubServer(fault=lambda body, number: ("status", 400)) as server:
        assert call(server, prepare(tmp_path / "data", "mner"), tmp_path / "out").exit_code == 3
    assert json.loads((tmp_path / "out/results.json").read_text())["statuses"] == {"failed": 8}


def test_wrong_splits_are_reported(tmp_path):
    source = prepare(tmp_path / "data", "mner")
    with StubServer() as server:
        with pytest.raises(SettingError, match="no split 'dev'"):
            call(server, source, tmp_path / "out", "--split", "dev")
        with pytest.raises(SettingError, match="come from the split that is predicted"):
            call(server, source, tmp_path / "out", "--split", "train", "--shots", 1)

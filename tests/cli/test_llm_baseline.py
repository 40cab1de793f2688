"""`cotpd llm-baseline` from end to end, against a stub server."""

import json
from pathlib import Path

import pytest
import typer
from stub_server import StubServer
from typer.testing import CliRunner

from modeling_cotpd.cli.llm_baseline import llm_baseline
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import SettingError

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(llm_baseline)


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
    result = CliRunner().invoke(
        app, [*map(str, arguments), "--store", str(Path(out).parent / "s.sqlite"), *map(str, more)]
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


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
    rows = [json.loads(line) for line in (tmp_path / "out/predictions.jsonl").read_text().splitlines()]
    assert rows[5]["parsed"] is False and rows[5]["prediction"] == ["O"] * 5 and rows[5]["answer"] == "I think so."
    assert rows[7]["gold"] is None


def test_relations_are_scored_without_none_and_few_shot_asks_with_examples(tmp_path):
    seen = []
    with StubServer(answer=lambda body: seen.append(body) or answer(body)) as server:
        source = prepare(tmp_path / "data", "mre")
        result = call(server, source, tmp_path / "out", "--shots", 2, "--structured")
        summary = json.loads((tmp_path / "out/results.json").read_text())
        assert result.exit_code == 0 and summary["shots"] == 2 and summary["structured"]
        # Predicted: 0, 2, 4, 6 right, 1 and 3 wrong, 5 nothing; gold 4.
        assert summary["scores"]["f1"] == pytest.approx(2 * 4 / (6 + 4))
        assert all(len(body["messages"]) == 5 for body in seen)
        assert seen[0]["response_format"]["json_schema"]["schema"]["properties"]["relation"]["enum"] == [
            "None",
            "/per/loc/left",
        ]
        asked = server.asked.total()
        assert "answered before: 8" in call(server, source, tmp_path / "out", "--shots", 2, "--structured").stderr
        assert server.asked.total() == asked
        assert "requests to send: 8 (8 relation)" in call(server, source, tmp_path / "out", "--dry-run").stderr


def test_failures_show_in_the_exit_code(tmp_path):
    with StubServer(fault=lambda body, number: ("status", 400)) as server:
        assert call(server, prepare(tmp_path / "data", "mner"), tmp_path / "out").exit_code == 3
    assert json.loads((tmp_path / "out/results.json").read_text())["statuses"] == {"failed": 8}


def test_wrong_splits_are_told(tmp_path):
    source = prepare(tmp_path / "data", "mner")
    with StubServer() as server:
        with pytest.raises(SettingError, match="no split 'dev'"):
            call(server, source, tmp_path / "out", "--split", "dev")
        with pytest.raises(SettingError, match="come from the split that is predicted"):
            call(server, source, tmp_path / "out", "--split", "train", "--shots", 1)

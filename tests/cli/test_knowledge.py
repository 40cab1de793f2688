"""`cotpd knowledge ...` from end to end."""

import json

import pytest
from support.stub_server import StubServer, completion, default_answer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from modeling_cotpd.cli.knowledge import app, read_budgets
from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import KnowledgeError, SettingError

KEY = "sk-abc-SECRETKEY0123456789"


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def posts(tmp_path):
    path = tmp_path / "posts.jsonl"
    path.write_text("".join(json.dumps({"id": str(n), "text": f"Post {n}", "caption": "x"}) + "\n" for n in range(3)))
    return path


def test_batches_are_written_read_and_moved_to_another_store(posts, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    store, out = tmp_path / "s.sqlite", tmp_path / "batches"
    options = ["--model", "m", "--store", store, "--mode", "independent"]
    written = call("batch-write", posts, "--out", out, *options)
    assert written.exit_code == 0 and '"written": 9' in written.stderr
    (path,) = out.iterdir()
    assert str(path) in written.stdout
    outputs = tmp_path / "output.jsonl"
    with outputs.open("w") as file:
        for line in reversed(path.read_text().splitlines()):
            row = json.loads(line)
            response = {"status_code": 200, "body": completion(f"{default_answer(row['body'])} {KEY}")}
            file.write(json.dumps({"custom_id": row["custom_id"], "response": response}) + "\n")
    assert call("batch-read", outputs, "--store", store).stdout == 'answers: "answered": 9\n'
    status = json.loads(call("status", "--store", store).stdout)
    assert [(row["purpose"], row["status"], row["answers"]) for row in status] == [
        (grain, "answered", 3) for grain in ("multimodality", "noun", "sentence")
    ]
    assert "9 rows" in call("export", tmp_path / "all.jsonl", "--store", store, "--status", "answered").stdout
    assert "[redacted]" in (exported := (tmp_path / "all.jsonl").read_text()) and KEY not in exported
    assert call("import", tmp_path / "all.jsonl", "--store", tmp_path / "t.sqlite").stdout == "9 of 9 rows were new\n"
    assert call("import", tmp_path / "all.jsonl", "--store", tmp_path / "t.sqlite").stdout == "0 of 9 rows were new\n"
    outputs.write_text("{}\n")
    assert call("batch-read", outputs, "--store", store).exit_code == 3


def test_missing_files_are_reported(tmp_path):
    for arguments in (
        ("status", "--store", tmp_path / "s"),
        ("export", tmp_path / "o", "--store", tmp_path / "s"),
        ("import", tmp_path / "i"),
        ("batch-read", tmp_path / "i", "--store", tmp_path / "s"),
    ):
        with pytest.raises(KnowledgeError, match="There is no such"):
            call(*arguments)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def tokenizer(tmp_path):
    words = Tokenizer(WordLevel({"[UNK]": 0}, "[UNK]"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def test_only_what_is_over_the_budget_is_summarized_and_marked(tokenizer, tmp_path):
    long = " ".join(f"word{number}" for number in range(40))
    rows = [
        {"cot_noun": long, "cot_sentence": "short"},
        {"cot_noun": f"{long} A", "cot_sentence": long},
        {"cot_noun": f"{long} B"},
        {"cot_noun": f"{long} C"},
        {"cot_noun": "short", "cot_multimodality": long},
    ]
    rows = [{"id": str(n), "tokens": ["Hi"], "ner_tags": ["O"], **row} for n, row in enumerate(rows)]
    split = make_split(rows, "mner", ["O"], "test")
    write_prepared({"train": split}, DatasetInfo("tiny", "mner", ["O"], knowledge="older"), tmp_path / "data")

    def answer(body):
        question = body["messages"][0]["content"]
        assert "at most 12 words" in question
        return " ".join(["brief"] * (30 if "A" in question.split() else 50 if "B" in question.split() else 15))

    def fault(body, number):
        return ("empty",) if "C" in body["messages"][0]["content"].split() else None

    with StubServer(answer=answer, fault=fault) as server:
        options = ["--model", "stub", "--tokenizer", tokenizer, "--store", tmp_path / "s.sqlite"]
        options += ["--base-url", server.base_url, "--budget", "noun=20,sentence=20"]
        dry = call("summarize", tmp_path / "data", "--out", tmp_path / "out", *options, "--dry-run")
        assert "requests to send: 4 (4 summarize)" in dry.stderr and not server.asked
        result = call("summarize", tmp_path / "data", "--out", tmp_path / "out", *options)
        assert result.exit_code == 4 and server.asked.total() == 4  # one text occurs twice
    splits, info = read_prepared(tmp_path / "out")
    brief = " ".join(["brief"] * 15)
    assert splits["train"]["cot_noun"][:] == [brief, " ".join(["brief"] * 30), f"{long} B", f"{long} C", "short"]
    assert splits["train"]["cot_sentence"][:2] == ["short", brief]
    assert splits["train"]["cot_multimodality"][4] == long
    marks = [json.loads(line) for line in (tmp_path / "out/summarized.jsonl").read_text().splitlines()]
    assert [
        (mark["id"], mark["grain"], mark["outcome"], mark["pieces_before"], mark["pieces_after"]) for mark in marks
    ] == [
        ("0", "noun", "summarized", 40, 15),
        ("1", "noun", "still too long", 41, 30),
        ("1", "sentence", "summarized", 40, 15),
        ("2", "noun", "not shorter", 41, 41),
        ("3", "noun", "empty", 41, 41),
    ]
    assert info.knowledge.startswith("older; over budget") and "summarize@1#" in info.knowledge


def test_budgets():
    assert read_budgets("64") == {"noun": 64, "sentence": 64, "multimodality": 64}
    assert read_budgets("noun=1, sentence=2") == {"noun": 1, "sentence": 2}
    for wrong in ("many", "noun=x", "noun", "noun=1=2"):
        with pytest.raises(SettingError, match="--budget"):
            read_budgets(wrong)

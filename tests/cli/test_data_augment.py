"""`cotpd augment` from end to end, against a stub server."""

import json

import pytest
from support.command_line import call
from support.stub_server import StubServer

from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import DataError, SettingError

LABELS = ["O", "B-PER", "I-PER"]


def answer(body):
    question = body["messages"][-1]["content"]
    return "Yes" if "yes or no" in question else question.split("\n")[0].removeprefix("Text: ") + " wow 🎉"


@pytest.fixture
def folder(tmp_path):
    rows = [
        {"id": f"p{number}", "tokens": [name, "sings", f"song{number}"], "ner_tags": ["B-PER", "O", "O"]}
        for number, name in enumerate(["Mira", "Lena", "Otto", "Ines"])
    ]
    splits = {name: make_split(rows, "mner", LABELS, "test") for name in ("train", "test")}
    write_prepared(splits, DatasetInfo("own", "mner", LABELS), tmp_path / "data")
    return tmp_path / "data"


def augment(*arguments):
    return call("augment", *arguments)


def test_augmentation_with_a_teacher(folder, tmp_path):
    with StubServer(answer=answer) as server:
        common = [folder, "--out", tmp_path / "out", "--store", tmp_path / "s.sqlite", "--model", "stub"]
        dry = augment(*common, "--base-url", server.base_url, "--dry-run", "--price-in", 1, "--price-out", 1)
        assert "requests to send: 16 (4 style, 8 image, 4 fact_check)" in dry.stderr
        assert "$" in dry.stderr
        assert not server.asked
        assert not (tmp_path / "s.sqlite").exists()
        result = augment(*common, "--base-url", server.base_url)
    assert result.exit_code == 0
    assert "style: 4 wanted, 4 accepted" in result.stderr
    assert "entity: 4 wanted, 4 accepted" in result.stderr
    assert len(read_prepared(tmp_path / "out")[0]["train"]) == 12


def test_requests_without_an_answer_give_exit_code_3(folder, tmp_path):
    with StubServer(answer=answer, fault=lambda body, number: ("status", 500)) as server:
        result = augment(
            folder, "--out", tmp_path / "out", "--store", tmp_path / "s.sqlite", "--model", "stub",
            "--base-url", server.base_url, "--retries", 0, "--kinds", "style",
        )  # fmt: skip
    assert result.exit_code == 3
    assert not (tmp_path / "out").exists()
    line = (tmp_path / "out.rejects.jsonl").read_text("utf-8").splitlines()[0]
    assert json.loads(line)["status"] == "unasked"


def test_no_teacher_is_needed_for_names_of_the_training_split(folder, tmp_path):
    result = augment(
        folder, "--out", tmp_path / "out", "--kinds", "entity", "--no-fact-check", "--times", 2, "--limit", 2
    )
    assert result.exit_code == 0
    assert read_prepared(tmp_path / "out")[0]["train"]["kind"] == [*[""] * 4, *["entity"] * 4]


def test_wrong_settings_are_reported(folder, tmp_path):
    with pytest.raises(SettingError, match="needs a model to ask"):
        augment(folder, "--out", tmp_path / "out")
    with pytest.raises(DataError, match=r"dataset\.json"):
        augment(tmp_path, "--out", tmp_path / "out", "--kinds", "entity", "--no-fact-check")


def test_the_summary_as_json(folder, tmp_path):
    result = augment(folder, "--out", tmp_path / "out", "--kinds", "entity", "--no-fact-check", "--json")
    summary = json.loads(result.stdout)
    assert summary["kinds"]["entity"]["accepted"] == 4 and summary["written"]
    assert summary["asked"] == {}

"""`cotpd elicit` and `cotpd knowledge ...`, against a stub server."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from support.command_line import call
from support.files import read_lines
from support.listed_posts import TAGS, make_posts
from support.stub_server import StubServer, completion, default_answer
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

from modeling_cotpd.cli.knowledge import read_budgets
from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import DataError, KnowledgeError, SettingError

KEY = "sk-abc-SECRETKEY0123456789"


def answer(body):
    question = body["messages"][-1]["content"]
    grain = "noun" if "special words" in question else "sentence" if "background" in question else "relation"
    return f" The {grain} of {body['messages'][0]['content'].split(chr(10))[0]} "


@pytest.fixture
def server():
    with StubServer(answer=answer) as running:
        yield running


def elicit(server, source, out, *more):
    common = [source, "--out", out, "--model", "stub", "--base-url", server.base_url]
    return call("elicit", *common, "--store", Path(out).parent / "s.sqlite", *more)


def prepare(folder, task="mner", count=6):
    rows = []
    for number in range(count):
        text = {"id": f"p{number}", "tokens": ["Post", str(number // 2 if task == "mre" else number), "!"]}
        gold = {"ner_tags": ["B-X", "O", "O"]}
        if task == "mre":
            gold = {
                "head": {"start": 0, "end": 1},
                "tail": {"start": 1 + number % 2, "end": 2 + number % 2},
                "relation": "None",
            }
        rows.append({**text, **gold, "caption": "a pier", "cot_noun": "old noun", "cot_sentence": "old sentence"})
    names = ["O", "B-X", "I-X"] if task == "mner" else ["None", "r"]
    splits = {name: make_split(rows, task, names, "test") for name in ("train", "test")}
    write_prepared(splits, DatasetInfo("tiny", task, names, knowledge="older"), folder)
    return folder


def write_posts(path, count=4):
    rows = [{"id": str(number), "text": f"Post {number}", "caption": "a pier"} for number in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_a_prepared_folder_gets_its_columns_and_their_origin(server, tmp_path):
    source = prepare(tmp_path / "data")
    result = elicit(server, source, tmp_path / "out")
    assert result.exit_code == 0 and str(tmp_path / "out") in result.stdout
    splits, info = read_prepared(tmp_path / "out")
    before, _ = read_prepared(source)
    assert splits["train"].features == before["train"].features
    assert splits["test"]["cot_noun"][:2] == ["The noun of Text: Post 0 !", "The noun of Text: Post 1 !"]
    assert splits["train"][5]["cot_multimodality"] == "The relation of Text: Post 5 !"
    assert splits["train"]["ner_tags"][:] == before["train"]["ner_tags"][:]
    assert info.knowledge.startswith("stub at http://127.0.0.1") and "noun@1#" in info.knowledge
    (made,) = info.provenance["knowledge"]
    assert made["teacher"] == "stub" and made["mode"] == "dialogue" and "noun@1#" in made["prompts"]["noun"]
    assert "127.0.0.1" not in json.dumps(info.provenance)
    assert server.asked.total() == 18  # both splits hold the same posts
    assert (tmp_path / "out.problems.jsonl").read_text() == ""


def test_rows_with_the_same_sentence_and_caption_are_asked_once(server, tmp_path):
    elicit(server, prepare(tmp_path / "data", "mre"), tmp_path / "out", "--split", "test")
    assert server.asked.total() == 9
    splits, info = read_prepared(tmp_path / "out")
    assert splits["test"][0]["cot_noun"] == splits["test"][1]["cot_noun"] == "The noun of Text: Post 0 !"
    assert splits["train"][0]["cot_noun"] == "old noun"
    assert info.knowledge.startswith("test: stub at") and info.knowledge.endswith("; the rest: older")
    assert info.provenance["knowledge"][0]["splits"] == ["test"]


def test_single_grains_and_limits_leave_the_rest_as_it_was(server, tmp_path):
    elicit(server, prepare(tmp_path / "data"), tmp_path / "out", "--grains", "noun", "--limit", 2)
    rows = read_prepared(tmp_path / "out")[0]["train"]
    assert rows["cot_noun"][:] == ["The noun of Text: Post 0 !", "The noun of Text: Post 1 !", *["old noun"] * 4]
    assert set(rows["cot_sentence"]) == {"old sentence"} and server.asked.total() == 2


def test_json_lines_and_shards_become_json_lines(server, tmp_path):
    folder = tmp_path / "posts"
    folder.mkdir()
    write_posts(folder / "a.jsonl")
    parquet.write_table(pa.Table.from_pylist([{"id": "9", "text": "Post 9"}]), folder / "b.parquet")
    assert elicit(server, folder, tmp_path / "out").exit_code == 0
    assert read_lines(tmp_path / "out/knowledge.b.jsonl") == [
        {
            "id": "9",
            "noun": "The noun of Text: Post 9",
            "sentence": "The sentence of Text: Post 9",
            "multimodality": "",
        }
    ]
    assert [row["id"] for row in read_lines(tmp_path / "out/knowledge.a.jsonl")] == ["0", "1", "2", "3"]
    elicit(server, prepare(tmp_path / "data"), tmp_path / "lines", "--json-lines")
    written = {path.name for path in (tmp_path / "lines").iterdir()}
    assert written == {"knowledge.train.jsonl", "knowledge.test.jsonl", "knowledge.provenance.json"}
    assert json.loads((tmp_path / "lines/knowledge.provenance.json").read_text("utf-8"))["teacher"] == "stub"


def test_a_dry_run_sends_nothing_and_makes_nothing(server, tmp_path):
    source = prepare(tmp_path / "data")
    result = elicit(server, source, tmp_path / "out", "--dry-run", "--price-in", 1, "--price-out", 2)
    assert result.exit_code == 0
    assert "requests to send: 18 (6 noun, 6 sentence, 6 multimodality); answered already: 0" in result.stderr
    assert "cost, estimated: $0.00, at most about $0.03" in result.stderr
    assert server.asked.total() == 0 and not (tmp_path / "s.sqlite").exists() and not (tmp_path / "out").exists()


def test_a_changed_prompt_asks_that_grain_again(server, tmp_path):
    source, prompts = write_posts(tmp_path / "posts.jsonl"), tmp_path / "prompts"
    prompts.mkdir()
    elicit(server, source, tmp_path / "out", "--mode", "independent")
    (prompts / "sentence.txt").write_text("---\nversion: 2\n---\nGive me background.")
    more = ("--mode", "independent", "--prompts", prompts)
    assert (
        "requests to send: 4 (4 sentence); answered already: 8"
        in elicit(server, source, tmp_path / "out", *more, "--dry-run").stderr
    )
    elicit(server, source, tmp_path / "out", *more)
    assert server.asked.total() == 16


def test_failures_are_listed_and_the_exit_code_says_so(tmp_path):
    def fault(body, number):
        text = body["messages"][0]["content"]
        return ("status", 400, {}, "no such luck") if "Post 1" in text and broken else None

    broken = [True]
    with StubServer(answer=answer, fault=fault) as server:
        source = prepare(tmp_path / "data")
        result = elicit(server, source, tmp_path / "out", "--split", "test")
        assert result.exit_code == 3 and not (tmp_path / "out").exists()
        problems = read_lines(tmp_path / "out.problems.jsonl")
        assert [(row["id"], row["grain"], row["status"]) for row in problems] == [
            ("p1", grain, "failed") for grain in ("noun", "sentence", "multimodality")
        ]
        assert problems[0]["reason"] == "status 400: no such luck" and problems[0]["split"] == "test"
        assert elicit(server, source, tmp_path / "part", "--split", "test", "--partial").exit_code == 3
        assert read_prepared(tmp_path / "part")[0]["test"]["cot_noun"][:2] == ["The noun of Text: Post 0 !", ""]
        broken.clear()
        before = server.asked.total()
        assert elicit(server, source, tmp_path / "out", "--split", "test").exit_code == 0
        assert server.asked.total() == before + 3


def test_answers_that_are_none_are_distinguished(tmp_path):
    kinds = {"Post 1": ("empty",), "Post 2": ("refusal",), "Post 3": ("length",)}

    def fault(body, number):
        return next((kind for text, kind in kinds.items() if text in body["messages"][0]["content"]), None)

    source = write_posts(tmp_path / "posts.jsonl")
    with StubServer(answer=answer, fault=fault) as server:
        result = elicit(server, source, tmp_path / "out", "--grains", "noun")
        assert result.exit_code == 4
        assert [(row["id"], row["status"]) for row in read_lines(tmp_path / "out.problems.jsonl")] == [
            ("1", "empty"),
            ("2", "refused"),
            ("3", "cut"),
        ]
        assert [row["noun"] for row in read_lines(tmp_path / "out/knowledge.posts.jsonl")][1:] == ["", "", ""]
        elicit(server, source, tmp_path / "out", "--grains", "noun", "--keep-cut")
        kept = read_lines(tmp_path / "out/knowledge.posts.jsonl")[3]
        assert (kept["noun"], kept["cut"]) == ("This goes on and", ["noun"])
        assert server.asked.total() == 4
        elicit(server, source, tmp_path / "out", "--grains", "noun", "--again", "empty,cut")
        assert server.asked.total() == 6


def test_offline_writes_what_is_there(server, tmp_path):
    source = write_posts(tmp_path / "posts.jsonl")
    elicit(server, source, tmp_path / "out", "--limit", 2)
    asked = server.asked.total()
    result = elicit(server, source, tmp_path / "out", "--offline")
    assert result.exit_code == 3 and server.asked.total() == asked
    assert [bool(row["noun"]) for row in read_lines(tmp_path / "out/knowledge.posts.jsonl")] == [
        True,
        True,
        False,
        False,
    ]
    assert {row["status"] for row in read_lines(tmp_path / "out.problems.jsonl")} == {"missing"}


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        (("--sampling", "{"), SettingError, "--sampling: This is not JSON"),
        (("--sampling", "[]"), SettingError, "--sampling: This is not a JSON object"),
        (("--again", "failed"), SettingError, "'failed' cannot be asked again"),
        (("--grains", "noun,verb"), SettingError, "'verb' is unknown"),
        (("--mode", "chat"), SettingError, "'chat' is unknown"),
        (("--nouns", "json"), SettingError, "'json' is unknown"),
        (("--split", "dev"), DataError, "no split 'dev'"),
        (("--prompts", "nowhere"), KnowledgeError, "no such folder of prompts"),
        (("--images", "nowhere"), DataError, "no such image folder"),
        (("--price-in", "1"), SettingError, "both prices"),
    ],
)
def test_wrong_settings_are_reported(server, tmp_path, more, error, message):
    with pytest.raises(error, match=message):
        elicit(server, write_posts(tmp_path / "posts.jsonl"), tmp_path / "out", *more)
    assert server.asked.total() == 0


def test_an_output_folder_that_holds_something_is_left_alone(server, tmp_path):
    source = prepare(tmp_path / "data")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(SettingError, match="not empty"):
        elicit(server, source, tmp_path / "out")
    assert server.asked.total() == 0


def test_the_summary_as_json(server, tmp_path):
    source = write_posts(tmp_path / "posts.jsonl", count=2)
    result = elicit(server, source, tmp_path / "out", "--json", "--price-in", 1, "--price-out", 1)
    summary = json.loads(result.stdout)
    assert result.exit_code == 0 and summary["written"] == [str(tmp_path / "out/knowledge.posts.jsonl")]
    assert summary["grains"]["noun"] == {"answered": 2} and summary["asked"] == {"answered": 6}
    assert summary["dollars"] == pytest.approx((summary["prompt_tokens"] + summary["completion_tokens"]) / 1e6)
    again = json.loads(elicit(server, source, tmp_path / "out", "--json").stdout)
    assert again["asked"] == {} and again["answered_before"] == 6


def test_nouns_as_a_list_give_glosses_and_count_what_cannot_be_parsed(tmp_path):
    def listed(body):
        if "JSON list" not in body["messages"][-1]["content"]:
            return answer(body)
        odd = "Post 2" in body["messages"][0]["content"]
        return "Only Post." if odd else '[{"mention": "Post", "gloss": "a letter"}]'

    source = write_posts(tmp_path / "posts.jsonl")
    with StubServer(answer=listed) as server:
        result = elicit(server, source, tmp_path / "out", "--nouns", "list", "--grains", "noun")
    assert result.exit_code == 4 and 'noun: "answered": 3, "unparsable": 1' in result.stderr
    rows = read_lines(tmp_path / "out/knowledge.posts.jsonl")
    assert rows[0]["glosses"] == [{"mention": "Post", "gloss": "a letter"}] and rows[0]["noun"] == "1. Post (a letter)"
    assert (rows[2]["noun"], rows[2]["glosses"]) == ("", [])
    (problem,) = read_lines(tmp_path / "out.problems.jsonl")
    assert (problem["id"], problem["status"]) == ("2", "unparsable") and "Only Post." in problem["reason"]


def test_posts_that_the_endpoint_filters_are_listed_and_asked_once(tmp_path):
    def fault(body, number):
        odd = "Post 1" in body["messages"][0]["content"]
        return ("status", 400, {}, "blocked by our content filter") if odd else None

    source = prepare(tmp_path / "data")
    with StubServer(answer=answer, fault=fault) as server:
        result = elicit(server, source, tmp_path / "out", "--split", "test")
        assert result.exit_code == 4 and read_prepared(tmp_path / "out")[0]["test"]["cot_noun"][1] == ""
        asked = server.asked.total()
        assert {row["status"] for row in read_lines(tmp_path / "out.problems.jsonl")} == {"refused"}
        assert elicit(server, source, tmp_path / "again", "--split", "test").exit_code == 4
        assert server.asked.total() == asked


def test_kept_cut_answers_without_text_are_problems(tmp_path):
    body = {"choices": [{"message": {"content": ""}, "finish_reason": "length"}]}
    source = write_posts(tmp_path / "posts.jsonl", 2)
    with StubServer(fault=lambda *_: ("body", body)) as server:
        result = elicit(server, source, tmp_path / "out", "--grains", "noun", "--keep-cut")
    assert result.exit_code == 4 and len(read_lines(tmp_path / "out.problems.jsonl")) == 2


def test_two_posts_with_one_id_are_refused_before_anything_is_asked(server, tmp_path):
    (tmp_path / "posts.jsonl").write_text('{"id": "1", "text": "one"}\n{"id": "1", "text": "two"}\n')
    with pytest.raises(DataError, match="line 2"):
        elicit(server, tmp_path / "posts.jsonl", tmp_path / "out")
    assert server.asked.total() == 0


def test_control_characters_do_not_reach_the_terminal(tmp_path):
    (tmp_path / "posts.jsonl").write_text('{"id": "1", "text": "one"}\n')
    message = "no \x1b]0;gone\x07 model"
    with (
        StubServer(fault=lambda *_: ("status", 404, {}, message)) as server,
        pytest.raises(KnowledgeError, match="declines") as error,
    ):
        elicit(server, tmp_path / "posts.jsonl", tmp_path / "out")
    assert "\x1b" not in str(error.value)


@pytest.fixture
def posts(tmp_path):
    path = tmp_path / "posts.jsonl"
    path.write_text("".join(json.dumps({"id": str(n), "text": f"Post {n}", "caption": "x"}) + "\n" for n in range(3)))
    return path


def test_batches_are_written_read_and_moved_to_another_store(posts, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    store, out = tmp_path / "s.sqlite", tmp_path / "batches"
    options = ["--model", "m", "--store", store, "--mode", "independent"]
    written = call("knowledge", "batch-write", posts, "--out", out, *options)
    assert written.exit_code == 0 and '"written": 9' in written.stderr
    (path,) = out.iterdir()
    assert str(path) in written.stdout
    outputs = tmp_path / "output.jsonl"
    with outputs.open("w") as file:
        for line in reversed(path.read_text().splitlines()):
            row = json.loads(line)
            response = {"status_code": 200, "body": completion(f"{default_answer(row['body'])} {KEY}")}
            file.write(json.dumps({"custom_id": row["custom_id"], "response": response}) + "\n")
    assert call("knowledge", "batch-read", outputs, "--store", store).stdout == 'answers: "answered": 9\n'
    status = json.loads(call("knowledge", "status", "--store", store).stdout)
    assert [(row["purpose"], row["status"], row["answers"]) for row in status] == [
        (grain, "answered", 3) for grain in ("multimodality", "noun", "sentence")
    ]
    assert (
        "9 rows"
        in call("knowledge", "export", tmp_path / "all.jsonl", "--store", store, "--status", "answered").stdout
    )
    assert "[redacted]" in (exported := (tmp_path / "all.jsonl").read_text()) and KEY not in exported
    assert (
        call("knowledge", "import", tmp_path / "all.jsonl", "--store", tmp_path / "t.sqlite").stdout
        == "9 of 9 rows were new\n"
    )
    assert (
        call("knowledge", "import", tmp_path / "all.jsonl", "--store", tmp_path / "t.sqlite").stdout
        == "0 of 9 rows were new\n"
    )
    outputs.write_text("{}\n")
    assert call("knowledge", "batch-read", outputs, "--store", store).exit_code == 3


def test_missing_files_are_reported(tmp_path):
    for arguments in (
        ("status", "--store", tmp_path / "s"),
        ("export", tmp_path / "o", "--store", tmp_path / "s"),
        ("import", tmp_path / "i"),
        ("batch-read", tmp_path / "i", "--store", tmp_path / "s"),
    ):
        with pytest.raises(KnowledgeError, match="There is no such"):
            call("knowledge", *arguments)
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
        dry = call("knowledge", "summarize", tmp_path / "data", "--out", tmp_path / "out", *options, "--dry-run")
        assert "requests to send: 4 (4 summarize)" in dry.stderr and not server.asked
        result = call("knowledge", "summarize", tmp_path / "data", "--out", tmp_path / "out", *options)
        assert result.exit_code == 4 and server.asked.total() == 4  # one text occurs twice
    splits, info = read_prepared(tmp_path / "out")
    brief = " ".join(["brief"] * 15)
    assert splits["train"]["cot_noun"][:] == [brief, " ".join(["brief"] * 30), f"{long} B", f"{long} C", "short"]
    assert splits["train"]["cot_sentence"][:2] == ["short", brief]
    assert splits["train"]["cot_multimodality"][4] == long
    marks = read_lines(tmp_path / "out/summarized.jsonl")
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


def test_a_folder_is_labelled_and_scored(tmp_path):
    splits = {"train": make_posts(60, 0), "test": make_posts(9, 2, split="t")}
    write_prepared(splits, DatasetInfo("fiction", "mner", TAGS), tmp_path / "data")
    options = ["--max-labelled-samples", 30, "--sample-seed", 1]
    unscored = call("knowledge", "label", tmp_path / "data", "--out", tmp_path / "one", *options)
    assert unscored.exit_code == 0
    assert "trained on 30 labelled posts, 90 listed mentions" in unscored.stdout
    assert "30 posts labelled, 0 left unlabelled" in unscored.stdout and "test: F1" not in unscored.stdout
    scored = call(
        "knowledge",
        "label",
        tmp_path / "data",
        "--out",
        tmp_path / "two",
        *options,
        "--evaluate",
        "--threshold",
        0.5,
        "--json",
    )
    results = json.loads(scored.stdout)
    assert results == json.loads((tmp_path / "two/results.json").read_text("utf-8"))
    assert results["labels"]["threshold"] == 0.5 and results["labels"]["sample_seed"] == 1
    assert results["splits"]["test"]["knowledge"]["f1"] > 0.8
    assert (
        "test: F1"
        in call("knowledge", "label", tmp_path / "data", "--out", tmp_path / "three", *options, "--evaluate").stdout
    )

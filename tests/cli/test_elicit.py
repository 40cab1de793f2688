"""`cotpd elicit` from end to end, against a stub server."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import typer
from support.stub_server import StubServer
from typer.testing import CliRunner

from modeling_cotpd.cli.knowledge import elicit
from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import DataError, KnowledgeError, SettingError

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(elicit)


def answer(body):
    question = body["messages"][-1]["content"]
    grain = "noun" if "special words" in question else "sentence" if "background" in question else "relation"
    return f" The {grain} of {body['messages'][0]['content'].split(chr(10))[0]} "


@pytest.fixture
def server():
    with StubServer(answer=answer) as running:
        yield running


def call(server, source, out, *more):
    arguments = [source, "--out", out, "--model", "stub", "--base-url", server.base_url]
    arguments = [*map(str, arguments), "--store", str(Path(out).parent / "s.sqlite"), *map(str, more)]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


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


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_prepared_folder_gets_its_columns_and_their_origin(server, tmp_path):
    source = prepare(tmp_path / "data")
    result = call(server, source, tmp_path / "out")
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
    call(server, prepare(tmp_path / "data", "mre"), tmp_path / "out", "--split", "test")
    assert server.asked.total() == 9
    splits, info = read_prepared(tmp_path / "out")
    assert splits["test"][0]["cot_noun"] == splits["test"][1]["cot_noun"] == "The noun of Text: Post 0 !"
    assert splits["train"][0]["cot_noun"] == "old noun"
    assert info.knowledge.startswith("test: stub at") and info.knowledge.endswith("; the rest: older")
    assert info.provenance["knowledge"][0]["splits"] == ["test"]


def test_single_grains_and_limits_leave_the_rest_as_it_was(server, tmp_path):
    call(server, prepare(tmp_path / "data"), tmp_path / "out", "--grains", "noun", "--limit", 2)
    rows = read_prepared(tmp_path / "out")[0]["train"]
    assert rows["cot_noun"][:] == ["The noun of Text: Post 0 !", "The noun of Text: Post 1 !", *["old noun"] * 4]
    assert set(rows["cot_sentence"]) == {"old sentence"} and server.asked.total() == 2


def test_json_lines_and_shards_become_json_lines(server, tmp_path):
    folder = tmp_path / "posts"
    folder.mkdir()
    write_posts(folder / "a.jsonl")
    parquet.write_table(pa.Table.from_pylist([{"id": "9", "text": "Post 9"}]), folder / "b.parquet")
    assert call(server, folder, tmp_path / "out").exit_code == 0
    assert lines(tmp_path / "out/knowledge.b.jsonl") == [
        {
            "id": "9",
            "noun": "The noun of Text: Post 9",
            "sentence": "The sentence of Text: Post 9",
            "multimodality": "",
        }
    ]
    assert [row["id"] for row in lines(tmp_path / "out/knowledge.a.jsonl")] == ["0", "1", "2", "3"]
    call(server, prepare(tmp_path / "data"), tmp_path / "lines", "--json-lines")
    written = {path.name for path in (tmp_path / "lines").iterdir()}
    assert written == {"knowledge.train.jsonl", "knowledge.test.jsonl", "knowledge.provenance.json"}
    assert json.loads((tmp_path / "lines/knowledge.provenance.json").read_text("utf-8"))["teacher"] == "stub"


def test_a_dry_run_sends_nothing_and_makes_nothing(server, tmp_path):
    source = prepare(tmp_path / "data")
    result = call(server, source, tmp_path / "out", "--dry-run", "--price-in", 1, "--price-out", 2)
    assert result.exit_code == 0
    assert "requests to send: 18 (6 noun, 6 sentence, 6 multimodality); answered already: 0" in result.stderr
    assert "cost, estimated: $0.00, at most about $0.03" in result.stderr
    assert server.asked.total() == 0 and not (tmp_path / "s.sqlite").exists() and not (tmp_path / "out").exists()


def test_a_changed_prompt_asks_that_grain_again(server, tmp_path):
    source, prompts = write_posts(tmp_path / "posts.jsonl"), tmp_path / "prompts"
    prompts.mkdir()
    call(server, source, tmp_path / "out", "--mode", "independent")
    (prompts / "sentence.txt").write_text("---\nversion: 2\n---\nGive me background.")
    more = ("--mode", "independent", "--prompts", prompts)
    assert (
        "requests to send: 4 (4 sentence); answered already: 8"
        in call(server, source, tmp_path / "out", *more, "--dry-run").stderr
    )
    call(server, source, tmp_path / "out", *more)
    assert server.asked.total() == 16


def test_failures_are_listed_and_the_exit_code_says_so(tmp_path):
    def fault(body, number):
        text = body["messages"][0]["content"]
        return ("status", 400, {}, "no such luck") if "Post 1" in text and broken else None

    broken = [True]
    with StubServer(answer=answer, fault=fault) as server:
        source = prepare(tmp_path / "data")
        result = call(server, source, tmp_path / "out", "--split", "test")
        assert result.exit_code == 3 and not (tmp_path / "out").exists()
        problems = lines(tmp_path / "out.problems.jsonl")
        assert [(row["id"], row["grain"], row["status"]) for row in problems] == [
            ("p1", grain, "failed") for grain in ("noun", "sentence", "multimodality")
        ]
        assert problems[0]["reason"] == "status 400: no such luck" and problems[0]["split"] == "test"
        assert call(server, source, tmp_path / "part", "--split", "test", "--partial").exit_code == 3
        assert read_prepared(tmp_path / "part")[0]["test"]["cot_noun"][:2] == ["The noun of Text: Post 0 !", ""]
        broken.clear()
        before = server.asked.total()
        assert call(server, source, tmp_path / "out", "--split", "test").exit_code == 0
        assert server.asked.total() == before + 3


def test_answers_that_are_none_are_distinguished(tmp_path):
    kinds = {"Post 1": ("empty",), "Post 2": ("refusal",), "Post 3": ("length",)}

    def fault(body, number):
        return next((kind for text, kind in kinds.items() if text in body["messages"][0]["content"]), None)

    source = write_posts(tmp_path / "posts.jsonl")
    with StubServer(answer=answer, fault=fault) as server:
        result = call(server, source, tmp_path / "out", "--grains", "noun")
        assert result.exit_code == 4
        assert [(row["id"], row["status"]) for row in lines(tmp_path / "out.problems.jsonl")] == [
            ("1", "empty"),
            ("2", "refused"),
            ("3", "cut"),
        ]
        assert [row["noun"] for row in lines(tmp_path / "out/knowledge.posts.jsonl")][1:] == ["", "", ""]
        call(server, source, tmp_path / "out", "--grains", "noun", "--keep-cut")
        kept = lines(tmp_path / "out/knowledge.posts.jsonl")[3]
        assert (kept["noun"], kept["cut"]) == ("This goes on and", ["noun"])
        assert server.asked.total() == 4
        call(server, source, tmp_path / "out", "--grains", "noun", "--again", "empty,cut")
        assert server.asked.total() == 6


def test_offline_writes_what_is_there(server, tmp_path):
    source = write_posts(tmp_path / "posts.jsonl")
    call(server, source, tmp_path / "out", "--limit", 2)
    asked = server.asked.total()
    result = call(server, source, tmp_path / "out", "--offline")
    assert result.exit_code == 3 and server.asked.total() == asked
    assert [bool(row["noun"]) for row in lines(tmp_path / "out/knowledge.posts.jsonl")] == [True, True, False, False]
    assert {row["status"] for row in lines(tmp_path / "out.problems.jsonl")} == {"missing"}


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        (("--sampling", "{"), SettingError, "--sampling: This is not JSON"),
        (("--sampling", "[]"), SettingError, "--sampling: This is not a JSON object"),
        (("--again", "failed"), SettingError, "'failed' cannot be asked again"),
        (("--grains", "noun,verb"), SettingError, "'verb' is not a grain"),
        (("--mode", "chat"), SettingError, "'chat' is not a mode"),
        (("--nouns", "json"), SettingError, "'json' is not a form of nouns"),
        (("--split", "dev"), DataError, "no split 'dev'"),
        (("--prompts", "nowhere"), KnowledgeError, "no such folder of prompts"),
        (("--images", "nowhere"), DataError, "no such image folder"),
        (("--price-in", "1"), SettingError, "both prices"),
    ],
)
def test_wrong_settings_are_reported(server, tmp_path, more, error, message):
    with pytest.raises(error, match=message):
        call(server, write_posts(tmp_path / "posts.jsonl"), tmp_path / "out", *more)
    assert server.asked.total() == 0


def test_an_output_folder_that_holds_something_is_left_alone(server, tmp_path):
    source = prepare(tmp_path / "data")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(SettingError, match="not empty"):
        call(server, source, tmp_path / "out")
    assert server.asked.total() == 0


def test_the_summary_as_json(server, tmp_path):
    source = write_posts(tmp_path / "posts.jsonl", count=2)
    result = call(server, source, tmp_path / "out", "--json", "--price-in", 1, "--price-out", 1)
    summary = json.loads(result.stdout)
    assert result.exit_code == 0 and summary["written"] == [str(tmp_path / "out/knowledge.posts.jsonl")]
    assert summary["grains"]["noun"] == {"answered": 2} and summary["asked"] == {"answered": 6}
    assert summary["dollars"] == pytest.approx((summary["prompt_tokens"] + summary["completion_tokens"]) / 1e6)
    again = json.loads(call(server, source, tmp_path / "out", "--json").stdout)
    assert again["asked"] == {} and again["answered_before"] == 6


def test_nouns_as_a_list_give_glosses_and_count_what_cannot_be_parsed(tmp_path):
    def listed(body):
        if "JSON list" not in body["messages"][-1]["content"]:
            return answer(body)
        odd = "Post 2" in body["messages"][0]["content"]
        return "Only Post." if odd else '[{"mention": "Post", "gloss": "a letter"}]'

    source = write_posts(tmp_path / "posts.jsonl")
    with StubServer(answer=listed) as server:
        result = call(server, source, tmp_path / "out", "--nouns", "list", "--grains", "noun")
    assert result.exit_code == 4 and 'noun: "answered": 3, "unparsable": 1' in result.stderr
    rows = lines(tmp_path / "out/knowledge.posts.jsonl")
    assert rows[0]["glosses"] == [{"mention": "Post", "gloss": "a letter"}] and rows[0]["noun"] == "1. Post (a letter)"
    assert (rows[2]["noun"], rows[2]["glosses"]) == ("", [])
    (problem,) = lines(tmp_path / "out.problems.jsonl")
    assert (problem["id"], problem["status"]) == ("2", "unparsable") and "Only Post." in problem["reason"]


def test_posts_that_the_endpoint_filters_are_listed_and_asked_once(tmp_path):
    def fault(body, number):
        odd = "Post 1" in body["messages"][0]["content"]
        return ("status", 400, {}, "blocked by our content filter") if odd else None

    source = prepare(tmp_path / "data")
    with StubServer(answer=answer, fault=fault) as server:
        result = call(server, source, tmp_path / "out", "--split", "test")
        assert result.exit_code == 4 and read_prepared(tmp_path / "out")[0]["test"]["cot_noun"][1] == ""
        asked = server.asked.total()
        assert {row["status"] for row in lines(tmp_path / "out.problems.jsonl")} == {"refused"}
        assert call(server, source, tmp_path / "again", "--split", "test").exit_code == 4
        assert server.asked.total() == asked


def test_kept_cut_answers_without_text_are_problems(tmp_path):
    body = {"choices": [{"message": {"content": ""}, "finish_reason": "length"}]}
    source = write_posts(tmp_path / "posts.jsonl", 2)
    with StubServer(fault=lambda *_: ("body", body)) as server:
        result = call(server, source, tmp_path / "out", "--grains", "noun", "--keep-cut")
    assert result.exit_code == 4 and len(lines(tmp_path / "out.problems.jsonl")) == 2


def test_two_posts_with_one_id_are_refused_before_anything_is_asked(server, tmp_path):
    (tmp_path / "posts.jsonl").write_text('{"id": "1", "text": "one"}\n{"id": "1", "text": "two"}\n')
    with pytest.raises(DataError, match="line 2"):
        call(server, tmp_path / "posts.jsonl", tmp_path / "out")
    assert server.asked.total() == 0


def test_control_characters_do_not_reach_the_terminal(tmp_path):
    (tmp_path / "posts.jsonl").write_text('{"id": "1", "text": "one"}\n')
    message = "no \x1b]0;gone\x07 model"
    with (
        StubServer(fault=lambda *_: ("status", 404, {}, message)) as server,
        pytest.raises(KnowledgeError, match="declines") as error,
    ):
        call(server, tmp_path / "posts.jsonl", tmp_path / "out")
    assert "\x1b" not in str(error.value)

import json
import random

import pytest
from PIL import Image
from support.stub_server import completion, default_answer

from modeling_cotpd import files
from modeling_cotpd.data.posts import Post
from modeling_cotpd.errors import KnowledgeError
from modeling_cotpd.knowledge.batch import BatchWriter, read_batch
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.explanation import ElicitationPlan, elicitation_jobs
from modeling_cotpd.knowledge.images import image_folder
from modeling_cotpd.knowledge.prompt import load_prompts
from modeling_cotpd.knowledge.request import replay_all
from modeling_cotpd.knowledge.store import ResponseStore

SETTINGS = EndpointSettings(model="m", base_url="http://a/v1")
POSTS = [Post(str(number), f"Post {number}", columns={"caption": "a pier"}) for number in range(10)]


def jobs(mode="independent", posts=POSTS, **plan):
    return elicitation_jobs(posts, ElicitationPlan(SETTINGS, load_prompts(), mode=mode, **plan))


@pytest.fixture
def store(tmp_path):
    with ResponseStore(tmp_path / "s.sqlite") as opened:
        yield opened


def write(store, out, mode="independent", **how):
    writer = BatchWriter(store, out, **how)
    writer.write(jobs(mode))
    return writer


def lines_of(writer):
    return [json.loads(line) for path in writer.files for line in path.read_text("utf-8").splitlines()]


def output(line, **change):
    body = completion(default_answer(line["body"]))
    return {
        "id": "b",
        "custom_id": line["custom_id"],
        "response": {"status_code": 200, "body": body},
        "error": None,
        **change,
    }


def write_output(path, rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def statuses(store, mode="independent"):
    found = replay_all(jobs(mode), lambda request: store.get(request.key))
    return [answer.status for _, result in found for answer in result.answers.values()]


def test_one_round_is_enough_when_the_grains_are_independent(store, tmp_path):
    writer = write(store, tmp_path / "b")
    lines = lines_of(writer)
    assert len(lines) == 30 and writer.counts == {"written": 30}
    assert all(line["method"] == "POST" and line["url"] == "/v1/chat/completions" for line in lines)
    assert lines[0]["body"] == {
        "model": "m",
        "messages": [
            {
                "role": "user",
                "content": f"Text: Post 0\nImage: a pier\n\n{load_prompts()['noun'].text}",
            }
        ],
        "temperature": 0,
        "max_tokens": 512,
    }
    rows = [output(line) for line in lines]
    random.Random(0).shuffle(rows)
    halves = [write_output(tmp_path / f"{name}.jsonl", rows[name::2]) for name in (0, 1)]
    assert read_batch(halves, store) == ({"answered": 30}, [])
    assert set(statuses(store)) == {"answered"}
    assert write(store, tmp_path / "b").files == []
    assert read_batch(halves, store) == ({"known": 30}, [])


def test_a_dialogue_takes_one_round_for_each_grain(store, tmp_path):
    for number in range(3):
        writer = write(store, tmp_path / f"b{number}", "dialogue")
        lines = lines_of(writer)
        assert len(lines) == 10 and all(len(line["body"]["messages"]) == 2 * number + 1 for line in lines)
        again = write(store, tmp_path / "none", "dialogue")
        assert again.files == [] and again.counts["waiting"] == 10
        read_batch([write_output(tmp_path / "o.jsonl", [output(line) for line in lines])], store)
    assert set(statuses(store, "dialogue")) == {"answered"}
    assert write(store, tmp_path / "b3", "dialogue").files == []


def test_files_keep_to_the_limits(store, tmp_path):
    writer = write(store, tmp_path / "b", most_requests=7)
    assert [len(path.read_text().splitlines()) for path in writer.files] == [7, 7, 7, 7, 2]
    assert len({line["custom_id"] for line in lines_of(writer)}) == 30
    again = write(store, tmp_path / "c", most_bytes=1000, again=("waiting",))
    sizes = [path.stat().st_size for path in again.files]
    assert max(sizes) <= 1000 and len(lines_of(again)) == 30
    with pytest.raises(KnowledgeError, match="One request has"):
        write(store, tmp_path / "d", most_bytes=100, again=("waiting",))


def test_failures_and_refusals_in_outputs_are_distinguished_and_asked_again(store, tmp_path):
    lines = lines_of(write(store, tmp_path / "b"))
    rows = [output(line) for line in lines[6:]]
    rows.append(output(lines[0], response={"status_code": 200, "body": completion("", "content_filter")}))
    rows.append(output(lines[1], response={"status_code": 200, "body": completion("")}))
    rows.append(output(lines[2], response={"status_code": 200, "body": completion("and", "length")}))
    rows.append(output(lines[3], response={"status_code": 200, "body": {"error": "x"}}))
    rows.append(output(lines[4], response={"status_code": 429, "body": {"error": {"message": "slow down"}}}))
    rows.append(output(lines[5], response=None, error={"code": "batch_expired", "message": "too late"}))
    counts, problems = read_batch([write_output(tmp_path / "o.jsonl", rows)], store)
    assert counts == {"answered": 24, "refused": 1, "empty": 1, "cut": 1, "failed": 3} and not problems
    reasons = {row["reason"] for row in store.rows(status="failed")}
    assert any("too late" in reason for reason in reasons) and any("slow down" in reason for reason in reasons)
    assert {line["custom_id"] for line in lines_of(write(store, tmp_path / "c"))} == {
        line["custom_id"] for line in lines[3:6]
    }


def test_lines_that_cannot_be_used_are_named(store, tmp_path):
    lines = lines_of(write(store, tmp_path / "b"))
    path = write_output(
        tmp_path / "o.jsonl", [output(lines[0]), "{", "[1]", "", output(lines[1], custom_id="unknown"), "null"]
    )
    counts, problems = read_batch([path], store)
    assert counts == {"answered": 1}
    assert [problem.split(": ")[0].split(", ")[1] for problem in problems] == ["line 2", "line 3", "line 5", "line 6"]


def test_a_writer_that_dies_marks_nothing_that_has_no_file(store, tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "replace", lambda *paths: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        write(store, tmp_path / "b", most_requests=7)
    monkeypatch.undo()
    assert set(statuses(store)) == {"missing"} and not list((tmp_path / "b").iterdir())
    first = write(store, tmp_path / "b", most_requests=7).files
    with ResponseStore(tmp_path / "other.sqlite") as other:
        assert [path.name for path in write(other, tmp_path / "c", most_requests=7).files] == [
            path.name for path in first
        ]


def test_pictures_are_written_out(store, tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes(b"no picture")
    writer = BatchWriter(store, tmp_path / "b")
    posts = [Post(number, "Hello", columns={"image": f"{number}.png"}) for number in "12"]
    writer.write(jobs(posts=posts, image_folder=image_folder(tmp_path)))
    lines = lines_of(writer)
    assert len(lines) == 3  # nothing is asked about a picture that cannot be read
    assert lines[0]["body"]["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    counts, _ = read_batch([write_output(tmp_path / "o.jsonl", [output(line) for line in lines])], store)
    assert counts == {"answered": 3}


def test_what_is_asked_again_is_replaced_when_it_is_read(store, tmp_path):
    def outputs(name, lines, text, finish_reason="stop"):
        response = {"status_code": 200, "body": completion(text, finish_reason)}
        return write_output(tmp_path / name, [output(line, response=response) for line in lines])

    lines = lines_of(write(store, tmp_path / "a"))
    old = outputs("old.jsonl", lines, "half an ans", "length")
    read_batch([old], store)
    again = write(store, tmp_path / "b", again=("cut",))
    assert len(lines_of(again)) == 30 and set(statuses(store)) == {"cut"}  # the paid answer stays until then
    assert write(store, tmp_path / "none", again=("cut",)).files == []  # they wait
    new = outputs("new.jsonl", lines, "a whole answer")
    assert read_batch([old, new], store)[0] == {"cut": 30, "answered": 30}  # read in any order
    assert set(statuses(store)) == {"answered"}
    assert read_batch([old, new], store) == ({"known": 60}, [])


def test_what_was_asked_again_and_failed_keeps_its_answer_and_can_be_asked_again(store, tmp_path):
    lines = lines_of(write(store, tmp_path / "a"))
    cut = {"status_code": 200, "body": completion("and", "length")}
    read_batch([write_output(tmp_path / "o.jsonl", [output(line, response=cut) for line in lines])], store)
    write(store, tmp_path / "b", again=("cut",))
    failed = [output(line, response=None, error={"code": "batch_expired"}) for line in lines]
    assert read_batch([write_output(tmp_path / "f.jsonl", failed)], store)[0] == {"failed": 30}
    assert set(statuses(store)) == {"cut"} and len(lines_of(write(store, tmp_path / "c", again=("cut",)))) == 30


def test_an_odd_line_costs_no_other(store, tmp_path):
    lines = lines_of(write(store, tmp_path / "b"))
    rows = [json.dumps(output(line)) for line in lines]
    body = json.dumps(completion("CUT")).replace("CUT", "so cool \\ud83d\\u0000")
    rows[3] = json.dumps(output(lines[3], response={"status_code": 200, "body": 0})).replace(
        '"body": 0', f'"body": {body}'
    )
    rows[4] = json.dumps(
        output(lines[4], response={"status_code": 400, "body": {"error": {"code": "content_filter"}}})
    )
    rows[5] = json.dumps(output(lines[5])).replace("200", "200.0")  # as pandas writes it
    rows[0] = f"\ufeff{rows[0]}"
    counts, problems = read_batch([write_output(tmp_path / "o.jsonl", rows)], store)
    assert (counts, problems) == ({"answered": 29, "refused": 1}, [])
    assert sum(row["text"] == "so cool \ufffd" for row in store.rows()) == 1


def test_a_key_that_an_endpoint_repeats_is_redacted(store, tmp_path):
    key = "sk-abc/def-SECRETKEY0123456789"
    answered, escaped, failed, body = lines_of(write(store, tmp_path / "b"))[:4]
    rows = [
        output(answered, response={"status_code": 200, "body": completion(f"your key is {key}")}),
        json.dumps(output(escaped, response={"status_code": 200, "body": completion(f"{key}, {key[:20]}")})).replace(
            "SECRET", "\\u0053ECRET"
        ),
        output(failed, response={"status_code": 401, "body": {"message": "x" * 280 + key}}),
        output(body, response={"status_code": 200, "body": f"no JSON {key}"}),
        {"custom_id": f"{key}", "response": {}},
    ]
    counts, problems = read_batch([write_output(tmp_path / "o.jsonl", rows)], store, [key])
    assert counts == {"answered": 2, "failed": 2} and len(problems) == 1
    assert "SECRET" not in json.dumps(list(store.rows())) + " ".join(problems)
    assert store.get(answered["custom_id"]).text == "your key is [redacted]"

import json
import threading

import pytest
from support.stub_server import StubServer

from modeling_cotpd.data.posts import find_post_files
from modeling_cotpd.errors import DataError
from modeling_cotpd.knowledge import elicit
from modeling_cotpd.knowledge.elicit import check_ids, first_posts
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.explanation import ElicitationPlan
from modeling_cotpd.knowledge.prompt import load_prompts
from modeling_cotpd.knowledge.store import ResponseStore


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_shards_come_in_order_with_the_first_posts_of_each(tmp_path):
    for name in ("b", "a"):
        write_lines(tmp_path / f"{name}.jsonl", [{"id": 7, "text": name, "caption": "a pier"}] * 2)
    posts = list(first_posts(find_post_files(tmp_path), 1))
    assert [(post.id, post.text, post.columns) for post in posts] == [
        ("7", text, {"caption": "a pier"}) for text in ("a", "b")
    ]
    assert len(list(first_posts(find_post_files(tmp_path)))) == 4


def test_an_id_of_two_posts_is_refused_and_of_one_post_twice_is_not(tmp_path):
    rows = [{"id": "1", "text": "one"}, {"id": "1", "text": "one"}, {"id": "1", "text": "two"}]
    files = find_post_files(write_lines(tmp_path / "a.jsonl", rows))
    check_ids(files, limit=2)
    with pytest.raises(DataError, match=r"line 3: The id '1' is used for two posts"):
        check_ids(files)
    with pytest.raises(DataError, match="empty"):
        check_ids(find_post_files(write_lines(tmp_path / "b.jsonl", [])))


def test_answers_under_way_are_stored_when_a_file_cannot_be_written(tmp_path, monkeypatch):
    def full(path, rows):
        next(iter(rows))
        raise OSError("no space left")

    write_lines(tmp_path / "posts.jsonl", [{"id": str(number), "text": f"Post {number}"} for number in range(200)])
    monkeypatch.setattr(elicit, "write_json_lines", full)
    with StubServer(delay=0.05) as server:
        plan = ElicitationPlan(EndpointSettings("m", server.base_url), load_prompts(), ("noun",))
        with pytest.raises(OSError, match="no space"):
            elicit.elicit(tmp_path / "posts.jsonl", tmp_path / "out", tmp_path / "s.sqlite", plan)
        assert not [each for each in threading.enumerate() if each.name in ("requests", "response-store")]
        with ResponseStore(tmp_path / "s.sqlite") as store:
            assert 0 < sum(1 for _ in store.rows(status="answered")) == server.answered.total() < 200


def test_an_output_that_is_a_file_is_refused_before_anything_is_asked(tmp_path):
    write_lines(tmp_path / "posts.jsonl", [{"id": "1", "text": "Post"}])
    with StubServer() as server, pytest.raises(FileExistsError):
        plan = ElicitationPlan(EndpointSettings("m", server.base_url), load_prompts())
        elicit.elicit(tmp_path / "posts.jsonl", tmp_path / "posts.jsonl", tmp_path / "s.sqlite", plan)
    assert not server.asked

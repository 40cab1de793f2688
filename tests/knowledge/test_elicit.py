import json

import pytest

from modeling_cotpd.data.posts import find_post_files
from modeling_cotpd.errors import DataError
from modeling_cotpd.knowledge.elicit import check_ids, first_posts


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

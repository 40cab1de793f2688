import json

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from modeling_cotpd.data.posts import find_post_files
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import DataError
from modeling_cotpd.knowledge.post import Post, all_posts, check_ids, count_posts, is_prepared, posts_of


def write_lines(path, rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def test_json_lines_parquet_and_prepared_folders_give_the_same_posts(tmp_path):
    rows = [
        {
            **{"id": "1", "tokens": ["Rain", "in", "Lindmere"], "caption": "an umbrella", "image": None},
            "cot_noun": "Lindmere (city)",
        },
        {"id": "2", "tokens": ["Hi"], "image": "2.jpg"},
    ]
    expected = [
        Post(
            "1",
            "Rain in Lindmere",
            "an umbrella",
            "",
            {"noun": "Lindmere (city)", "sentence": "", "multimodality": ""},
        ),
        Post("2", "Hi", "", "2.jpg", {"noun": "", "sentence": "", "multimodality": ""}),
    ]
    lines = write_lines(tmp_path / "a.jsonl", rows)
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    split = make_split([{**row, "ner_tags": None} for row in rows], "mner", ["O"], "test")
    write_prepared({"train": split}, DatasetInfo("x", "mner", ["O"]), tmp_path / "c")
    for source, name in ((lines, "a"), (tmp_path / "b.parquet", "b"), (tmp_path / "c", "train")):
        (file,) = files = find_post_files(source)
        assert (file.name, count_posts(files), list(posts_of(file))) == (name, 2, expected)
        assert list(posts_of(file, 1)) == expected[:1] and count_posts(files, 1) == 1
    assert is_prepared(tmp_path / "c") and not is_prepared(tmp_path)


def test_shards_come_in_order_and_can_be_chosen(tmp_path):
    for name in ("b", "a"):
        write_lines(tmp_path / f"{name}.jsonl", [{"id": 7, "text": name}] * 2)
    files = find_post_files(tmp_path)
    assert [post.text for post in all_posts(files, 1)] == ["a", "b"] and count_posts(files) == 4
    (file,) = find_post_files(tmp_path, splits=["b"])
    assert next(posts_of(file)).id == "7"


def test_blank_texts_floats_missing_values_and_half_emoji_are_read(tmp_path):
    lines = ['{"id": 17.0, "text": "\\u00a0", "caption": NaN}', '{"id": "a", "text": "so cool \\ud83d"}']
    (file,) = find_post_files(write_lines(tmp_path / "a.jsonl", lines))
    assert [(post.id, post.text) for post in posts_of(file)] == [("17", "\u00a0"), ("a", "so cool \ufffd")]


def test_faulty_lines_are_named(tmp_path):
    for line in ({"id": "1"}, {"id": "1", "text": "x", "caption": 3}, "[1]", "{"):
        (file,) = find_post_files(write_lines(tmp_path / "a.jsonl", [{"id": "0", "text": "fine"}, line]))
        with pytest.raises(DataError, match=r"a\.jsonl, line 2"):
            list(posts_of(file))


def test_an_id_of_two_posts_is_refused_and_of_one_post_twice_is_not(tmp_path):
    rows = [{"id": "1", "text": "one"}, {"id": "1", "text": "one"}, {"id": "1", "text": "two"}]
    files = find_post_files(write_lines(tmp_path / "a.jsonl", rows))
    check_ids(files, limit=2)
    with pytest.raises(DataError, match=r"line 3: The id '1' is used for two posts"):
        check_ids(files)
    with pytest.raises(DataError, match="empty"):
        check_ids(find_post_files(write_lines(tmp_path / "b.jsonl", [])))

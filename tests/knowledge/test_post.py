import json

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import DataError
from modeling_cotpd.knowledge.post import Post, check_ids, find_post_files, is_prepared


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
        (file,) = find_post_files(source)
        assert (file.name, len(file), list(file.posts())) == (name, 2, expected)
        assert list(file.posts(1)) == expected[:1]
    assert is_prepared(tmp_path / "c") and not is_prepared(tmp_path)


def test_shards_come_in_order_and_can_be_chosen(tmp_path):
    for name in ("b", "a"):
        write_lines(tmp_path / f"{name}.jsonl", [{"id": 7, "text": name}])
    assert [file.name for file in find_post_files(tmp_path)] == ["a", "b"]
    (file,) = find_post_files(tmp_path, ["b"])
    assert next(file.posts()).id == "7"
    with pytest.raises(DataError, match=r"no split 'c'.*There are a, b"):
        find_post_files(tmp_path, ["c"])
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="Two files are called 'a'"):
        find_post_files(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"text": "x"}, "line 2: The post has no id"),
        ({"id": 1.5, "text": "x"}, "line 2: The post has no id"),
        ({"id": "\ud83d", "text": "x"}, "line 2: The post has no id"),
        ({"id": "1"}, "line 2: The post has no text"),
        ({"id": "1", "tokens": ["a", 2]}, "line 2: The post has no text"),
        ({"id": "1", "text": "x", "caption": 3}, "line 2: The column 'caption' is not a text"),
        ("[1]", "line 2: The line holds a list, not an object"),
        ("{", "line 2: The line is not JSON"),
    ],
)
def test_faulty_lines_are_named(tmp_path, line, message):
    (file,) = find_post_files(write_lines(tmp_path / "a.jsonl", [{"id": "0", "text": "fine"}, line]))
    with pytest.raises(DataError, match=message):
        list(file.posts())


def test_bytes_that_are_no_utf8_are_named(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b'{"id": "1", "text": "caf\xe9"}\n')
    with pytest.raises(DataError, match="line 1: Byte 24 is not UTF-8"):
        list(find_post_files(tmp_path / "a.jsonl")[0].posts())


def test_places_without_posts_are_named(tmp_path):
    for source in (tmp_path, tmp_path / "missing", write_lines(tmp_path / "a.csv", ["id,text"])):
        with pytest.raises(DataError, match="There are no posts here"):
            find_post_files(source)


def test_blank_texts_floats_and_half_emoji_are_read(tmp_path):
    rows = [{"id": 17.0, "text": "\u00a0"}, {"id": "a", "text": "so cool \ud83d", "caption": "c\ud83d"}]
    (file,) = find_post_files(write_lines(tmp_path / "a.jsonl", rows))
    assert [(post.id, post.text) for post in file.posts()] == [("17", "\u00a0"), ("a", "so cool \ufffd")]
    (tmp_path / "b.jsonl").write_text('{"id": "1", "text": "x", "caption": NaN}\n')
    assert next(find_post_files(tmp_path / "b.jsonl")[0].posts()).caption == ""


def test_an_id_of_two_posts_is_refused_and_of_one_post_twice_is_not(tmp_path):
    rows = [{"id": "1", "text": "one"}, {"id": "1", "text": "one"}, {"id": "1", "text": "two"}]
    files = find_post_files(write_lines(tmp_path / "a.jsonl", rows))
    check_ids(files, limit=2)
    with pytest.raises(DataError, match=r"line 3: The id '1' is used for two posts"):
        check_ids(files)
    with pytest.raises(DataError, match="no posts"):
        check_ids(find_post_files(write_lines(tmp_path / "b.jsonl", [])))

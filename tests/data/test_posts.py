"""Reading posts to predict on, one after another."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.data.posts import count_posts, find_post_files, read_posts


def posts_of(path: Path, task: str = "mner", **settings) -> list:
    return [post for file in find_post_files(path) for post in read_posts(file, task, **settings)]


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


def test_json_lines_hold_a_text_or_tokens_and_an_optional_id(tmp_path: Path):
    rows = [{"text": "Mira sings"}, {"id": 7, "tokens": ["Mira", "sings"]}, {"id": "x", "text": ""}]
    path = write(tmp_path / "posts.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n")
    posts = posts_of(path)
    assert [(post.id, post.text) for post in posts] == [("posts-0", "Mira sings"), ("7", "Mira sings"), ("x", "")]
    assert posts[1].place == f"{path}, line 2"


def test_every_line_of_a_text_file_is_a_post_also_an_empty_one_and_lines_end_at_line_feeds_only(tmp_path: Path):
    path = write(tmp_path / "posts.txt", "\ufeffone\u2028still one\r\n\nthree\x85three")
    assert [post.text for post in posts_of(path)] == ["one\u2028still one", "", "three\x85three"]


def test_conll_with_and_without_ids(tmp_path: Path):
    path = write(tmp_path / "a.txt", "IMGID:5\nMira\tB-PER\n\xa0\tO\n\nIMGID:6\nTarn\tO\n<EOS>\tX\nignored\tX\n\n")
    assert [(post.id, post.text) for post in posts_of(path)] == [("5", "Mira \xa0"), ("6", "Tarn")]
    path = write(tmp_path / "b.conll", "-DOCSTART- -X-\n\nMira B-PER\nsings O\n\n\n# id = q\nTarn")
    posts = posts_of(path)
    assert [(post.id, post.text) for post in posts] == [("b-0", "Mira sings"), ("q", "Tarn")]
    assert posts[0].place == f"{path}, line 3"


def test_parquet_and_a_folder_of_shards_in_the_order_of_their_names(tmp_path: Path):
    for name in ("b", "a"):
        table = pyarrow.table({"id": [f"{name}1", f"{name}2"], "tweet": ["Mira", "Tarn"], "other": [1, 2]})
        pyarrow.parquet.write_table(table, tmp_path / f"{name}.parquet")
    write(tmp_path / "readme.md", "not a shard")
    posts = posts_of(tmp_path, text_column="tweet")
    assert [post.id for post in posts] == ["a1", "a2", "b1", "b2"]
    assert posts[3].place == f"{tmp_path / 'b.parquet'}, row 1"
    assert count_posts(find_post_files(tmp_path)) == 4


@pytest.mark.parametrize("span", [[0, 4], {"start": 0, "end": 4}])
def test_spans_count_characters_of_a_text(tmp_path: Path, span):
    path = write(tmp_path / "p.jsonl", json.dumps({"text": "Mira 🎤 Tarn", "head": span, "tail": [7, 11]}))
    (post,) = posts_of(path, "mre")
    assert (post.text[slice(*post.head)], post.text[slice(*post.tail)]) == ("Mira", "Tarn")


def test_spans_count_tokens_of_tokens(tmp_path: Path):
    row = {"tokens": ["Mira", "Holt", "left", "Tarn"], "head": {"start": 0, "end": 2}, "tail": [3, 4]}
    (post,) = posts_of(write(tmp_path / "p.jsonl", json.dumps(row)), "mre")
    assert (post.text[slice(*post.head)], post.text[slice(*post.tail)]) == ("Mira Holt", "Tarn")


@pytest.mark.parametrize(
    ("line", "task", "message"),
    [
        ("{", "mner", "line 1: The line is not JSON"),
        ("[1]", "mner", "holds a list, not an object"),
        ('{"id": "1"}', "mner", "neither 'text' nor 'tokens'"),
        ('{"text": 3}', "mner", "'text' is a int"),
        ('{"tokens": [1]}', "mner", "not a list of strings"),
        ('{"text": "a", "tokens": ["a"], "head": [0, 1], "tail": [0, 1]}', "mre", "both 'text' and 'tokens'"),
        ('{"text": "a"}', "mre", "'head' is None, not a span"),
        ('{"text": "a", "head": [0, 2], "tail": [0, 1]}', "mre", r"\[0, 2\) lies outside the 1 characters"),
        ('{"tokens": ["a"], "head": [0, 1], "tail": [1, 2]}', "mre", r"\[1, 2\) lies outside the 1 tokens"),
        ('{"text": "a  b", "head": [0, 1], "tail": [1, 3]}', "mre", "white space only"),
    ],
)
def test_a_bad_row_is_told_with_its_place(tmp_path: Path, line: str, task: str, message: str):
    with pytest.raises(DataError, match=message):
        posts_of(write(tmp_path / "p.jsonl", line), task)


def test_bad_files_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no such file"):
        find_post_files(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="holds no posts"):
        find_post_files(tmp_path)
    with pytest.raises(DataError, match="is empty"):
        posts_of(write(tmp_path / "empty.txt", ""))
    with pytest.raises(DataError, match="not Parquet"):
        posts_of(write(tmp_path / "p.parquet", "text"))
    with pytest.raises(DataError, match="means no format"):
        find_post_files(write(tmp_path / "p.csv", "text"))
    with pytest.raises(SettingError, match="Unknown format"):
        find_post_files(tmp_path / "p.csv", "csv")
    with pytest.raises(DataError, match="which two entities"):
        posts_of(write(tmp_path / "t.txt", "text"), "mre")
    (tmp_path / "l.txt").write_bytes(b"fine\nna\xefve\n")
    with pytest.raises(DataError, match=r"l.txt, line 2: Byte 3 of the line \(0xef\)"):
        posts_of(tmp_path / "l.txt")

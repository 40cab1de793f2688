"""The one reader of posts: raw or labelled, from every form that other commands write or take."""

import json
import tracemalloc
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from datasets import Dataset, DatasetDict

from modeling_cotpd.data.posts import Post, count_posts, find_post_files, post_of_record, read_posts
from modeling_cotpd.data.prepare import PrepareOptions, prepare
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import DataError, SettingError


def posts_of(path: Path, task: str = "mner", **settings) -> list[Post]:
    return [post for file in find_post_files(path) for post in read_posts(file, task, **settings)]


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return path


def lines(path: Path, *rows) -> Path:
    return write(path, "".join(json.dumps(row) + "\n" for row in rows))


def test_rows_hold_a_text_or_tokens_and_an_optional_id(tmp_path: Path):
    path = lines(tmp_path / "a.jsonl", {"text": "Mira sings"}, {"id": 7.0, "tokens": ["Mira", "sings"]}, {"text": ""})
    posts = posts_of(path)
    assert [(post.id, post.text) for post in posts] == [("a-0", "Mira sings"), ("7", "Mira sings"), ("a-2", "")]
    assert posts[1].place == f"{path}, line 2" and count_posts(find_post_files(path)) == 3


def test_every_source_gives_the_same_posts(tmp_path: Path):
    first = {"id": "1", "tokens": ["Rain", "in", "Lindmere"], "image": None, "caption": "an umbrella"}
    rows = [
        {**first, "cot_noun": "Lindmere (city)"},
        {"id": "2", "tokens": ["Hi"], "image": "2.jpg", "caption": None, "cot_noun": ""},
    ]
    full = [{**row, "ner_tags": None} for row in rows]
    sources = [lines(tmp_path / "train.jsonl", *rows), write(tmp_path / "train.json", json.dumps(rows))]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "train.parquet")
    DatasetDict(train=Dataset.from_list(rows)).save_to_disk(tmp_path / "saved")
    split = make_split(full, "mner", ["O"], "test")
    write_prepared({"train": split}, DatasetInfo("x", "mner", ["O"]), tmp_path / "prepared")
    sources += [tmp_path / "train.parquet", tmp_path / "saved", tmp_path / "prepared"]
    for source in sources:
        (file,) = find_post_files(source)
        posts = list(read_posts(file))
        assert file.name == "train"
        glosses = [post.columns.get("glosses") for post in posts]
        assert glosses[0] == ([{"mention": "Lindmere", "gloss": "city"}] if source.name == "prepared" else None)
        found = [
            (post.id, post.text, {name: text for name, text in post.columns.items() if name != "glosses"})
            for post in posts
        ]
        assert found == [
            ("1", "Rain in Lindmere", {"caption": "an umbrella", "cot_noun": "Lindmere (city)"}),
            ("2", "Hi", {"image": "2.jpg"}),
        ]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
def test_lines_end_in_any_way(tmp_path: Path, end: str):
    path = write(tmp_path / "a.txt", end.join(["\ufeffone\u2028still one", "", "three\x85three"]))
    assert [post.text for post in posts_of(path)] == ["one\u2028still one", "", "three\x85three"]
    path = write(tmp_path / "b.txt", end.join(["Mira\tB-PER", "sings\tO", "", "Tarn\tB-LOC", ""]))
    assert [post.text for post in posts_of(path)] == ["Mira sings", "Tarn"]
    path = write(tmp_path / "c.jsonl", end.join(['{"text": "one"}', '{"text": "two"}', ""]))
    assert [post.text for post in posts_of(path)] == ["one", "two"]


def test_conll_with_and_without_ids(tmp_path: Path):
    path = write(tmp_path / "a.txt", "IMGID:5\nMira\tB-PER\n\xa0\tO\n\nIMGID:5\nTarn\tO\n<EOS>\tX\nignored\tX\n\n")
    assert [(post.id, post.text) for post in posts_of(path)] == [("5", "Mira \xa0"), ("5#2", "Tarn")]
    path = write(tmp_path / "b.conll", "-DOCSTART- -X-\n\nMira NN anything\nsings\n\n\n# id = q\nTarn")
    posts = posts_of(path)
    assert [(post.id, post.text) for post in posts] == [("b-0", "Mira sings"), ("q", "Tarn")]
    assert posts[0].place == f"{path}, line 3" and count_posts(find_post_files(path)) is None


@pytest.mark.parametrize("name", ["train.txt", "dev.txt", "test.jsonl", "valid.json"])
def test_what_prepare_takes_has_the_same_ids_and_texts_here(tmp_path: Path, name: str):
    rows = [{"tokens": ["Mira", "sings"], "ner_tags": ["B-PER", "O"]}, {"tokens": ["Tarn"], "ner_tags": ["B-LOC"]}]
    forms = {
        ".txt": "Mira B-PER\nsings O\n\nTarn B-LOC\n",
        ".jsonl": "\n".join(map(json.dumps, rows)),
        ".json": json.dumps(rows),
    }
    path = write(tmp_path / "raw" / name, forms[Path(name).suffix])
    prepare("custom", tmp_path / "raw", tmp_path / "out", PrepareOptions(task="mner"))
    raw, prepared = posts_of(path), posts_of(tmp_path / "out")
    assert [(post.id, post.text) for post in raw] == [(post.id, post.text) for post in prepared]


def test_a_text_whose_lines_only_look_like_tags_is_text(tmp_path: Path):
    path = write(tmp_path / "a.txt", "vitamin O\nblood group O\nmore to come\n")
    assert len(posts_of(path)) == 3


def test_annotated_and_half_broken_texts(tmp_path: Path):
    path = lines(
        tmp_path / "a.jsonl",
        {"id": 3, "data": {"text": "Mira"}, "annotations": []},
        {"text": "Tarn", "label": [[0, 4, "LOC"]], "tokens": [{"text": "Tarn"}]},
        {"text": "so cool \ud83d"},
    )
    assert [(post.id, post.text) for post in posts_of(path)] == [
        ("3", "Mira"),
        ("a-1", "Tarn"),
        ("a-2", "so cool \ufffd"),
    ]


def test_a_folder_of_shards_in_the_order_of_their_names(tmp_path: Path):
    for name in ("b", "a"):
        table = pyarrow.table({"id": [f"{name}1", f"{name}2"], "tweet": ["Mira", "Tarn"], "other": [1, 2]})
        pyarrow.parquet.write_table(table, tmp_path / f"{name}.parquet")
    write(tmp_path / "readme.md", "not a shard")
    lines(tmp_path / "captions.a.jsonl", {"id": "a1", "blip2": "a hall"})
    posts = posts_of(tmp_path, text_column="tweet")
    assert [post.id for post in posts] == ["a1", "a2", "b1", "b2"]
    assert posts[3].place == f"{tmp_path / 'b.parquet'}, row 1" and count_posts(find_post_files(tmp_path)) == 4
    assert [file.name for file in find_post_files(tmp_path, splits=["b"])] == ["b"]
    with pytest.raises(DataError, match=r"no split 'c'.*There are a, b"):
        find_post_files(tmp_path, splits=["c"])
    lines(tmp_path / "a.jsonl", {"text": "x"})
    with pytest.raises(DataError, match="Two files are called 'a'"):
        find_post_files(tmp_path)


@pytest.mark.parametrize("span", [[0, 4], {"start": 0, "end": 4}, [0.0, 4.0]])
def test_spans_count_characters_of_a_text(tmp_path: Path, span):
    (post,) = posts_of(lines(tmp_path / "p.jsonl", {"text": "Mira 🎤 Tarn", "head": span, "tail": [7, 11]}), "mre")
    assert (post.text[slice(*post.head)], post.text[slice(*post.tail)]) == ("Mira", "Tarn")


def test_spans_count_tokens_of_tokens(tmp_path: Path):
    row = {"tokens": ["Mira", "Holt", "left", "Tarn"], "head": {"start": 0, "end": 2}, "tail": [3, 4]}
    (post,) = posts_of(lines(tmp_path / "p.jsonl", row), "mre")
    assert (post.text[slice(*post.head)], post.text[slice(*post.tail)]) == ("Mira Holt", "Tarn")


@pytest.mark.parametrize(
    ("line", "task", "message"),
    [
        ("{", "mner", "line 1: The line is not JSON"),
        ("[1]", "mner", "holds a list, not an object"),
        ('{"id": "1"}', "mner", "neither 'text' nor 'tokens'"),
        ('{"text": 3}', "mner", "'text' holds a int"),
        ('{"tokens": [1]}', "mner", "not hold a list of strings"),
        ('{"text": "a", "id": 1.5}', "mner", "The id is '1.5'"),
        ('{"text": "a", "caption": 3}', "mner", "'caption' holds a int"),
        ('{"text": "a", "tokens": ["a"], "head": [0, 1], "tail": [0, 1]}', "mre", "both 'text' and 'tokens'"),
        ('{"text": "a"}', "mre", "'head' is None, not a span"),
        ('{"text": "a", "head": [0, 2], "tail": [0, 1]}', "mre", r"\[0, 2\) lies outside the 1 characters"),
        ('{"tokens": ["a"], "head": [0, 1], "tail": [1, 2]}', "mre", r"\[1, 2\) lies outside the 1 tokens"),
        ('{"text": "a  b", "head": [0, 1], "tail": [1, 3]}', "mre", "white space only"),
    ],
)
def test_a_bad_row_is_reported_with_its_place(tmp_path: Path, line: str, task: str, message: str):
    with pytest.raises(DataError, match=message):
        posts_of(write(tmp_path / "p.jsonl", line), task)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.txt", ""), ("a.txt", " \n\n"), ("a.jsonl", "\n"), ("a.json", "[]"), ("a.conll", "\n \n"), ("a.json", "")],
)
def test_an_empty_corpus_is_refused(tmp_path: Path, name: str, content: str):
    with pytest.raises(DataError, match="is empty"):
        posts_of(write(tmp_path / name, content))


def test_bad_files_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="no such file"):
        find_post_files(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="holds no posts"):
        find_post_files(tmp_path)
    with pytest.raises(DataError, match="not Parquet"):
        posts_of(write(tmp_path / "p.parquet", "text"))
    with pytest.raises(DataError, match="means no format"):
        find_post_files(write(tmp_path / "p.csv", "text"))
    with pytest.raises(SettingError, match="Unknown format"):
        find_post_files(tmp_path / "p.csv", "csv")
    with pytest.raises(DataError, match="which two entities"):
        posts_of(write(tmp_path / "t.txt", "text"), "mre")
    with pytest.raises(DataError, match=r"l.txt, line 2: Byte 3 of the line \(0xef\)"):
        posts_of(write(tmp_path / "l.txt", b"fine\nna\xefve\n"))
    with pytest.raises(DataError, match="UTF-16"):
        posts_of(write(tmp_path / "u.txt", "text".encode("utf-16")))
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "a.txt").symlink_to(tmp_path / "l.txt")
    with pytest.raises(DataError, match="a link that leads out of its folder"):
        find_post_files(tmp_path / "shards")


@pytest.mark.parametrize("form", ["jsonl", "txt", "conll"])
def test_memory_stays_flat(tmp_path: Path, form: str):
    path, size = tmp_path / f"a.{form}", 12 << 20
    line = {"jsonl": '{"text": "%s"}\n' % ("w" * 200), "txt": "w" * 200 + "\n", "conll": "w" * 200 + "\n\n"}[form]
    path.write_text(line * (size // len(line)))
    tracemalloc.start()
    for post in read_posts(find_post_files(path)[0]):
        assert len(post.text) == 200
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 2


def test_a_record_as_a_post():
    row = {"id": "7", "tokens": ["Mira", "Holt", "at", "Tarn"], "image": "1", "cot_noun": "Mira (singer)"}
    row |= {"head": {"start": 0, "end": 2}, "tail": {"start": 3, "end": 4}, "relation": None}
    split = make_split([row], "mre", ["None"], "test")
    post = post_of_record(split[0])
    assert (post.id, post.text, post.head, post.tail) == ("7", "Mira Holt at Tarn", (0, 9), (13, 17))
    assert post.columns == {"cot_noun": "Mira (singer)", "glosses": split[0]["glosses"]}

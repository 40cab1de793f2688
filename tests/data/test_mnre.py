"""Reader of MNRE's lines, on sentences written for these tests."""

import json

import pytest

from modeling_cotpd.data.mnre import read_mnre, read_relation_ids
from modeling_cotpd.errors import DataError

ROW = {
    "token": ["Ada", "met", "Bo", "O'Neil", "in", "York"],
    "h": {"name": "Ada", "pos": [0, 1]},
    "t": {"name": "Bo O'Neil", "pos": [2, 4]},
    "img_id": "p_1.jpg",
    "relation": "/per/per/peer",
}


def write(tmp_path, *rows):
    path = tmp_path / "mnre_train.txt"
    path.write_text("".join((row if isinstance(row, str) else repr(row)) + "\n" for row in rows))
    return path


def test_a_row(tmp_path):
    (row,) = read_mnre(write(tmp_path, ROW))
    assert row["tokens"] == ROW["token"] and row["relation"] == "/per/per/peer" and row["image"] == "p_1.jpg"
    assert row["head"] == {"start": 0, "end": 1} and row["tail"] == {"start": 2, "end": 4}
    assert row["place"].endswith("mnre_train.txt, line 1")


def test_ids_are_of_image_sentence_and_pair(tmp_path):
    other_pair = {**ROW, "t": {"name": "York", "pos": [5, 6]}}
    other_label = {**ROW, "relation": "None"}
    rows = list(read_mnre(write(tmp_path, ROW, other_pair, {**ROW, "img_id": "p_2.jpg"}, other_label)))
    first, pair, image, repeat = (row["id"] for row in rows)
    assert len({first, pair, image, repeat}) == 4
    assert first.split("#")[1] == image.split("#")[1] != pair.split("#")[1]
    assert repeat == first + "#2"
    # Written down, so that an id never changes between versions.
    assert first == "p_1.jpg#1807f772f4"


def test_code_is_not_run(tmp_path):
    flag = tmp_path / "flag"
    with pytest.raises(DataError, match=r"line 2: The line is not a Python literal"):
        list(read_mnre(write(tmp_path, ROW, f"__import__('pathlib').Path({str(flag)!r}).touch()")))
    assert not flag.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"relation": ...}, "The key 'relation' is missing"),
        ({"h": {"name": "Ada", "pos": [0]}}, "'h' has no 'pos' of two token numbers"),
        ({"t": {"name": "York", "pos": [5, 7]}}, r"The span \[5, 7\) of 't' lies outside the 6 tokens"),
        ({"t": {"name": "Leeds", "pos": [5, 6]}}, "'t' is named 'Leeds', but 'York' stands at its span"),
        ({"token": "Ada met"}, "The column 'token' does not hold a list of strings"),
    ],
)
def test_faults_name_the_line(tmp_path, change, message):
    broken = {key: value for key, value in {**ROW, **change}.items() if value is not ...}
    with pytest.raises(DataError, match=f"line 2: {message}"):
        list(read_mnre(write(tmp_path, ROW, broken)))


def test_relation_ids(tmp_path):
    path = tmp_path / "rel2id.json"
    path.write_text(json.dumps({"b": 1, "None": 0, "a": 2}))
    assert read_relation_ids(path) == ["None", "b", "a"]
    for content in ('{"a": 1}', '["a"]', '{"a": 0, "b": 0}'):
        path.write_text(content)
        with pytest.raises(DataError, match="ids 0, 1, 2"):
            read_relation_ids(path)
    path.write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        read_relation_ids(path)


def test_lines_of_json_hold_emoji_as_escapes(tmp_path):
    row = {**ROW, "token": ["\U0001f600", *ROW["token"]], "h": {"name": "\U0001f600 Ada", "pos": [0, 2]}}
    row["t"] = {"name": "York", "pos": [6.0, 7]}
    (plain,) = read_mnre(write(tmp_path, row))
    assert "\\ud83d" in json.dumps(row)
    (escaped,) = read_mnre(write(tmp_path, json.dumps(row)))
    assert {**escaped, "place": ""} == {**plain, "place": ""} and plain["tokens"][0] == "\U0001f600"
    (literal,) = read_mnre(write(tmp_path, repr(row).replace("\U0001f600", "\\ud83d\\ude00")))
    assert literal == escaped


def test_half_an_emoji_is_read_as_the_replacement_character(tmp_path, caplog):
    (row,) = read_mnre(write(tmp_path, json.dumps({**ROW, "token": [*ROW["token"], "\ud83d"]})))
    assert row["tokens"][-1] == "\ufffd" and "line 1: half of a surrogate pair" in caplog.text

"""Lines and JSON."""

import pytest

from modeling_cotpd.data import files
from modeling_cotpd.data.files import read_json, read_json_lines, read_json_rows, read_lines
from modeling_cotpd.errors import DataError


def test_lines_end_at_newlines_only(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufefffirst\r\nsecond\u2028still\u0085second\n\nlast".encode())
    assert list(read_lines(path)) == [(1, "first"), (2, "second\u2028still\u0085second"), (3, ""), (4, "last")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\r\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_lines_end_in_any_way_wherever_a_chunk_ends(tmp_path, monkeypatch, end, last):
    path = tmp_path / "a.txt"
    path.write_bytes((end.join(["one", "", "two", "three"]) + end * last).encode())
    for chunk in range(1, 12):
        monkeypatch.setattr(files, "_CHUNK", chunk)
        assert [line for _, line in read_lines(path)] == ["one", "", "two", "three"]


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(files, "_CHUNK", 100)
    (tmp_path / "a.txt").write_text("fine\n" + "x" * 2000)
    with pytest.raises(DataError, match=r"line 2: The line has more than 1,000 bytes"):
        list(read_lines(tmp_path / "a.txt"))


def test_utf16_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("one", "utf-16")
    with pytest.raises(DataError, match=r"The file is UTF-16.*iconv -f UTF-16"):
        list(read_lines(tmp_path / "a.txt"))


def test_json_lists(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('\n [{"id": 1},\n {"id": 2}]')
    assert [(row["id"], spot) for row, spot in read_json_rows(path)] == [
        (1, f"{path}, item 0"),
        (2, f"{path}, item 1"),
    ]
    path.write_text('{"id": 1}\n{"id": 2}\n')
    assert [spot for _, spot in read_json_rows(path)] == [f"{path}, line 1", f"{path}, line 2"]
    for content, message in (("[]", "is empty"), ("[3]", "The item is a int"), ("[{]", "not JSON"), ("", "is empty")):
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            list(read_json_rows(path))
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"cannot be read as JSON|not JSON"):
        list(read_json_rows(path))


def test_json_files_have_a_limit(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert read_json(tmp_path / "a.json", limit=8) == {"a": 1}
    with pytest.raises(DataError, match="more than 7 bytes"):
        read_json(tmp_path / "a.json", limit=7)


def test_bytes_that_are_not_utf8_are_named(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\ncaf\xe9\n")
    with pytest.raises(DataError, match=r"a\.txt, line 2: Byte 4 .*0xe9.*iconv"):
        list(read_lines(path))


@pytest.mark.parametrize("content", [b"", b"\n  \n"])
def test_empty_and_absent_files(tmp_path, content):
    path = tmp_path / "a.txt"
    with pytest.raises(DataError, match="no such file"):
        list(read_lines(path))
    path.write_bytes(content)
    with pytest.raises(DataError, match="is empty"):
        list(read_lines(path))


def test_json_lines(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "1"}\n\n{"id": "2"}\n')
    assert list(read_json_lines(path)) == [(1, {"id": "1"}), (3, {"id": "2"})]
    path.write_text('{"id": "1"}\n{"id": \n')
    with pytest.raises(DataError, match="line 2: The line is not JSON"):
        list(read_json_lines(path))
    path.write_text("[1]\n")
    with pytest.raises(DataError, match="line 1: The line holds a list"):
        list(read_json_lines(path))

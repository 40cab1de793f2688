"""Lines, JSON lines and the search for split files."""

import pytest

from modeling_cotpd.data.files import find_split_file, read_json_lines, read_lines
from modeling_cotpd.errors import DataError


def test_lines_end_at_newlines_only(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("\ufefffirst\r\nsecond\u2028still\u0085second\n\nlast".encode())
    assert list(read_lines(path)) == [(1, "first"), (2, "second\u2028still\u0085second"), (3, ""), (4, "last")]


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


def test_split_files_are_found_under_every_alias(tmp_path):
    assert find_split_file(tmp_path, "validation", ["{split}.txt"]) is None
    (tmp_path / "dev.txt").write_text("x")
    assert find_split_file(tmp_path, "validation", ["{split}.txt"]) == tmp_path / "dev.txt"
    (tmp_path / "val.txt").write_text("x")
    with pytest.raises(DataError, match=r"Several files could be the validation split: dev\.txt, val\.txt"):
        find_split_file(tmp_path, "validation", ["{split}.txt"])

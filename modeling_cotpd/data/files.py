"""Reading text files: lines and JSON; every fault is reported with its file and line."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from modeling_cotpd.errors import DataError

FORMATS = {
    ".jsonl": "jsonl", ".json": "jsonl", ".txt": "text", ".conll": "conll", ".tsv": "conll", ".parquet": "parquet",
    ".arrow": "parquet",
}  # fmt: skip
"""File name suffixes of posts, and the format that each means. Labelled posts in a text file are CoNLL."""
MAX_LINE_BYTES = 1 << 26
"""Longest line that is read; a file without line ends would fill the memory."""
MAX_JSON_BYTES = 1 << 30
"""Largest file that is read as one JSON value; JSON Lines may be of any size."""
_CHUNK = 1 << 20
_LINE_END = re.compile(rb"\r*\n|\r")
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def place(path: str | os.PathLike, line: int) -> str:
    """`"train.txt, line 17"`: how every message of the data layer names a line of a file."""
    return f"{path}, line {line}"


def existing(path: str | os.PathLike) -> Path:
    """The path of a file, which must be there."""
    path = Path(path)
    if not path.is_file():
        raise DataError("There is no such file.", place=str(path))
    return path


def read_lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a UTF-8 file, with a chunk of it in memory at a time.

    Lines end at `\\n`, `\\r\\n` or `\\r`. `str.splitlines` would also cut at characters that occur inside posts,
    such as U+2028 and U+0085. A byte order mark at the start is not part of the first line.

    Raises:
        DataError: The file does not exist, is empty, holds bytes that are not UTF-8, or a line of more than 64 MiB.
    """
    with existing(path).open("rb") as file:
        yield from decode_lines(file, str(path))


def decode_lines(file: IO[bytes], name: str) -> Iterator[tuple[int, str]]:
    """As `read_lines`, from an open binary file; `name` is what messages call it."""
    blank = True
    for number, line in enumerate(_raw_lines(file, name), start=1):
        if number == 1:
            if line.startswith(_UTF16_MARKS):
                fix = "Convert it with: iconv -f UTF-16 -t UTF-8 OLD > NEW"
                raise DataError("The file is UTF-16.", place=name, fix=fix)
            line = line.removeprefix(_UTF8_MARK)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"Byte {error.start + 1} of the line (0x{line[error.start]:02x}) is not UTF-8.",
                place=place(name, number),
                fix="Convert the file with, for example: iconv -f LATIN1 -t UTF-8 OLD > NEW",
            ) from None
        blank = blank and not text.strip()
        yield number, text
    if blank:
        raise DataError("The file is empty.", place=name, fix="Fetch or export it again.")


def _raw_lines(file: IO[bytes], name: str) -> Iterator[bytes]:
    rest, number = b"", 0
    while chunk := file.read(_CHUNK):
        data = rest + chunk
        # A \r at the end of a chunk may belong to a \r\n that the next chunk completes.
        whole = data.rstrip(b"\r")
        *lines, last = _LINE_END.split(whole)
        rest = last + data[len(whole) :]
        yield from lines
        number += len(lines)
        if len(rest) > MAX_LINE_BYTES:
            raise DataError(
                f"The line has more than {MAX_LINE_BYTES:,} bytes.",
                place=place(name, number + 1),
                fix="JSON Lines holds one object per line; other text files hold one post or token per line.",
            )
    lines = _LINE_END.split(rest)
    yield from lines if lines[-1] else lines[:-1]


def count_lines(path: str | os.PathLike) -> int:
    """Number of lines that are not blank, without decoding them."""
    with open(path, "rb") as file:
        return sum(1 for line in _raw_lines(file, str(path)) if line.strip())


def read_json_lines(path: str | os.PathLike) -> Iterator[tuple[int, dict]]:
    """Yield (line number, object) of a JSON Lines file; empty lines are skipped."""
    for number, line in read_lines(path):
        if not line.strip():
            continue
        spot = place(path, number)
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            message = f"The line is not JSON ({error.msg}, column {error.colno})."
            raise DataError(message, place=spot, fix="JSON Lines holds one object per line.") from None
        except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
            raise DataError(f"The line cannot be read as JSON ({error}).", place=spot, fix="Write it again.") from None
        if not isinstance(value, dict):
            fix = 'One line is one object, such as {"id": "1", "tokens": ["Hello"]}.'
            raise DataError(f"The line holds a {type(value).__name__}, not an object.", place=spot, fix=fix)
        yield number, value


def read_json_rows(path: str | os.PathLike) -> Iterator[tuple[dict, str]]:
    """Yield (object, place) of a file of JSON Lines or, where its name ends in `.json`, of one JSON list of objects.

    A list's item `[TEXT, {...}]`, as spaCy 2 writes training data, becomes `{"text": TEXT, ...}`.

    Raises:
        DataError: The file is not JSON of one of the two kinds, is empty, or is a list of more than 1 GiB.
    """
    path = existing(path)
    if path.suffix.lower() != ".json" or not _begins_list(path):
        yield from ((value, place(path, number)) for number, value in read_json_lines(path))
        return
    values = read_json(path)
    if not values:
        raise DataError("The list is empty.", place=str(path), fix="Export it again.")
    for number, value in enumerate(values):
        spot = f"{path}, item {number}"
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], dict):
            value = {"text": value[0], **value[1]}
        if not isinstance(value, dict):
            raise DataError(f"The item is a {type(value).__name__}, not an object.", place=spot)
        yield value, spot


def _begins_list(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(_CHUNK).removeprefix(_UTF8_MARK).lstrip()[:1] == b"["


def read_json(path: str | os.PathLike, limit: int = MAX_JSON_BYTES):
    """The value of a JSON file of at most `limit` bytes.

    Raises:
        DataError: The file is missing or too large, is not UTF-8 or not JSON, or nests too deeply.
    """
    path = existing(path)
    if path.stat().st_size > limit:
        raise DataError(f"The file has more than {limit:,} bytes.", place=str(path), fix="Write it as JSON Lines.")
    try:
        return json.loads(path.read_bytes().removeprefix(_UTF8_MARK).decode("utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"The file is not JSON ({error.msg}).", place=place(path, error.lineno)) from None
    except (RecursionError, ValueError) as error:
        raise DataError(f"The file cannot be read as JSON ({error}).", place=str(path)) from None

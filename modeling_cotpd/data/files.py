"""Reading text files: lines, JSON, and the files of a split; every fault is reported with its file and line."""

import difflib
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from modeling_cotpd.errors import DataError

SPLIT_ALIASES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
"""What published files and people's own files call the three splits."""
MAX_LINE_BYTES = 1 << 26
"""Longest line that is read; a file without line ends would fill the memory."""
MAX_JSON_BYTES = 1 << 30
"""Largest file that is read as one JSON value; JSON Lines may be of any size."""
_CHUNK = 1 << 20
_LINE_END = re.compile(rb"\r*\n|\r")
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def place(path: str | os.PathLike, line: int | None = None) -> str:
    """`"train.txt, line 17"`: how every message of the data layer names a spot in a file."""
    return str(path) if line is None else f"{path}, line {line}"


def canonical_split(name: str) -> str:
    """The split that a file or split name means (`dev` means `validation`), or the name itself."""
    return next((split for split, aliases in SPLIT_ALIASES.items() if name.lower() in aliases), name)


def read_lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a UTF-8 file, with a chunk of it in memory at a time.

    Lines end at `\\n`, `\\r\\n` or `\\r`. `str.splitlines` would also cut at characters that occur inside posts,
    such as U+2028 and U+0085. A byte order mark at the start is not part of the first line.

    Args:
        path (`str` or `os.PathLike`): A text file; its last line may lack the line end.

    Raises:
        DataError: The file does not exist, is empty, holds bytes that are not UTF-8, or a line of more than 64 MiB.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("There is no such file.", place=str(path))
    with path.open("rb") as file:
        yield from decode_lines(file, str(path))


def decode_lines(file: IO[bytes], name: str) -> Iterator[tuple[int, str]]:
    """As `read_lines`, from an open binary file; `name` is what messages call it."""
    number, blank = 0, True
    for number, line in enumerate(_raw_lines(file, name), start=1):
        if number == 1:
            if line.startswith(_UTF16_MARKS):
                raise DataError(
                    "The file is UTF-16.", place=name, fix="Convert it with: iconv -f UTF-16 -t UTF-8 OLD > NEW"
                )
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
    """Yield (line number, object) of a JSON Lines file; empty lines are skipped.

    Raises:
        DataError: A line is not JSON, or not an object; or `read_lines` raises it.
    """
    for number, line in read_lines(path):
        if line.strip():
            yield number, json_object(line, place(path, number))


def read_json_rows(path: str | os.PathLike) -> Iterator[tuple[dict, str]]:
    """Yield (object, place) of a file of JSON Lines or, where its name ends in `.json`, of one JSON list of objects.

    A list's item `[TEXT, {...}]`, as spaCy 2 writes training data, becomes `{"text": TEXT, ...}`.

    Raises:
        DataError: The file is not JSON of one of the two kinds, is empty, or is a list of more than 1 GiB.
    """
    path = Path(path)
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
    if not path.is_file():
        raise DataError("There is no such file.", place=str(path))
    with path.open("rb") as file:
        return file.read(_CHUNK).removeprefix(_UTF8_MARK).lstrip()[:1] == b"["


def read_json(path: str | os.PathLike, limit: int = MAX_JSON_BYTES):
    """The value of a JSON file of at most `limit` bytes.

    Raises:
        DataError: The file is missing or too large, is not UTF-8 or not JSON, or nests too deeply.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("There is no such file.", place=str(path))
    if path.stat().st_size > limit:
        raise DataError(f"The file has more than {limit:,} bytes.", place=str(path), fix="Write it as JSON Lines.")
    try:
        return json.loads(path.read_bytes().removeprefix(_UTF8_MARK).decode("utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"The file is not JSON ({error.msg}).", place=place(path, error.lineno)) from None
    except (RecursionError, ValueError) as error:
        raise DataError(f"The file cannot be read as JSON ({error}).", place=str(path)) from None


def json_object(line: str, spot: str) -> dict:
    """The object of one line of JSON Lines.

    Args:
        line (`str`): The line.
        spot (`str`): What messages call its place.

    Raises:
        DataError: It is not JSON, not an object, nested too deeply, or holds a number of thousands of digits.
    """
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"The line is not JSON ({error.msg}, column {error.colno}).",
            place=spot,
            fix="JSON Lines holds one object per line.",
        ) from None
    except (RecursionError, ValueError) as error:
        raise DataError(f"The line cannot be read as JSON ({error}).", place=spot, fix="Write it again.") from None
    if not isinstance(value, dict):
        raise DataError(
            f"The line holds a {type(value).__name__}, not an object.",
            place=spot,
            fix='One line is one object, such as {"id": "1", "tokens": ["Hello"]}.',
        )
    return value


def find_split_file(folder: Path, split: str, patterns: Sequence[str]) -> Path | None:
    """The one file of a split in a folder, or `None`.

    Args:
        folder (`Path`): Where to look; sub-folders are not searched.
        split (`str`): `"train"`, `"validation"` or `"test"`.
        patterns (`Sequence[str]`): File names with `{split}` where the split's name goes, such as
            `"mnre_{split}.txt"`; each is tried with every alias of the split, upper and lower case alike.

    Raises:
        DataError: Several files fit, so that it is unclear which one is meant, or the file is a link that leads out
            of the folder.
    """
    names = {pattern.format(split=alias).lower() for pattern in patterns for alias in SPLIT_ALIASES[split]}
    found = [path for path in _files_of(folder) if path.name.lower() in names]
    if len(found) > 1:
        raise DataError(
            f"Several files could be the {split} split: {', '.join(path.name for path in found)}.",
            place=str(folder),
            fix="Leave only one of them in the folder.",
        )
    return inside(found[0], folder) if found else None


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def inside(path: Path, folder: Path) -> Path:
    """Return `path`.

    Raises:
        DataError: It is a link that leads out of `folder`, other than into the Hub cache that the folder belongs to.
    """
    folder = folder.resolve()
    roots = [folder, folder.parents[1] / "blobs"] if folder.parent.name == "snapshots" else [folder]
    target = path.resolve()
    if not any(target.is_relative_to(root) for root in roots):
        raise DataError(
            "The file is a link that leads out of its folder.", place=str(path), fix="Copy the file there."
        )
    return path


def refuse_similar_names(folder: Path, read: Sequence[Path], names: Sequence[str], example: str) -> None:
    """Raise a `DataError` for a data file whose name is nearly that of a file that is read, so that none is missed.

    Args:
        folder (`Path`): The folder.
        read (`Sequence[Path]`): The files of it that are read.
        names (`Sequence[str]`): First words of names, such as `"captions"` or `"train"`.
        example (`str`): A name that would be read, for the message.
    """
    for path in _files_of(folder):
        word, *rest = re.split(r"[-_.\s]", path.name.lower())
        suffixes = [f".{part}" for part in rest[-2:]]
        if path in read or "provenance" in rest or not DATA_SUFFIXES & {*suffixes}:
            continue
        if word.startswith(tuple(names)) or difflib.get_close_matches(word, names, cutoff=0.75):
            raise DataError(
                "The name is nearly that of a file that is read, and this file is not.",
                place=str(path),
                fix=f"Name it like {example}, or move it out of the folder.",
            )


DATA_SUFFIXES = frozenset({".jsonl", ".json", ".ndjson", ".txt", ".conll", ".iob", ".bio", ".tsv", ".csv", ".parquet"})

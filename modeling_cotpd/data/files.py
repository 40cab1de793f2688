"""Reading text files so that every fault is told with its file and line."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from modeling_cotpd.errors import DataError

SPLIT_ALIASES = {
    "train": ("train",),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
"""What the published files and people's own files call the three splits."""


def place(path: str | os.PathLike, line: int | None = None) -> str:
    """`"train.txt, line 17"`: how every message of the data layer names a spot in a file."""
    return str(path) if line is None else f"{path}, line {line}"


def read_lines(path: str | os.PathLike) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a UTF-8 file.

    Lines end at `\\n` or `\\r\\n` only: `str.splitlines` would also cut at characters that occur inside posts, such as
    U+2028 and U+0085. A byte order mark at the start is not part of the first line.

    Args:
        path (`str` or `os.PathLike`): A text file; its last line may lack the line end.

    Raises:
        DataError: The file does not exist, is empty, or holds bytes that are not UTF-8.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("There is no such file.", place=str(path))
    data = path.read_bytes()
    if not data.strip():
        raise DataError("The file is empty.", place=str(path), fix="Fetch or export it again.")
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"Byte {error.start + 1} of the line (0x{line[error.start]:02x}) is not UTF-8.",
                place=place(path, number),
                fix="Convert the file with, for example: iconv -f LATIN1 -t UTF-8 OLD > NEW",
            ) from None
        yield number, text.removesuffix("\r")


def read_json_lines(path: str | os.PathLike) -> Iterator[tuple[int, dict]]:
    """Yield (line number, object) of a JSON Lines file; empty lines are passed over.

    Raises:
        DataError: A line is not JSON, or not an object; or `read_lines` raises it.
    """
    for number, line in read_lines(path):
        if not line.strip():
            continue
        yield number, json_object(line, place(path, number))


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
        raise DataError(f"The line is no sensible JSON ({error}).", place=spot, fix="Write it again.") from None
    if not isinstance(value, dict):
        raise DataError(
            f"The line holds a {type(value).__name__}, not an object.",
            place=spot,
            fix='One line is one object, such as {"id": "1", "tokens": ["Hello"]}.',
        )
    return value


def sha256_of(path: str | os.PathLike) -> str:
    """sha256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def find_split_file(folder: Path, split: str, patterns: Sequence[str]) -> Path | None:
    """The one file of a split in a folder, or `None`.

    Args:
        folder (`Path`): Where to look; sub-folders are not searched.
        split (`str`): `"train"`, `"validation"` or `"test"`.
        patterns (`Sequence[str]`): File names with `{split}` where the split's name goes, such as
            `"mnre_{split}.txt"`; each is tried with every alias of the split.

    Raises:
        DataError: Several files fit, so that it is unclear which one is meant.
    """
    names = dict.fromkeys(pattern.format(split=alias) for pattern in patterns for alias in SPLIT_ALIASES[split])
    found = [folder / name for name in names if (folder / name).is_file()]
    if len(found) > 1:
        raise DataError(
            f"Several files could be the {split} split: {', '.join(path.name for path in found)}.",
            place=str(folder),
            fix="Leave only one of them in the folder.",
        )
    return found[0] if found else None

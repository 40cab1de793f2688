"""Posts to predict on, read one after another from files of any size."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modeling_cotpd.data.conll import CONTEXT_TAGS, CONTEXT_TOKEN, IMAGE_HEADER
from modeling_cotpd.data.files import json_object, place
from modeling_cotpd.data.parquet import open_parquet, parquet_rows
from modeling_cotpd.data.views import word_spans
from modeling_cotpd.errors import DataError, SettingError

FORMATS = {".jsonl": "jsonl", ".txt": "text", ".conll": "conll", ".tsv": "conll", ".parquet": "parquet"}
"""File name suffixes and the format that each means."""


@dataclass(frozen=True)
class Post:
    """One post.

    Args:
        id (`str`): The file's own id, or the file's name and the number of the post in it, from 0.
        text (`str`): The text. Tokens are joined by single spaces.
        place (`str`): File and line or row, for messages.
        head, tail (`tuple[int, int]`, *optional*): Character spans [start, end) of the two entities (MRE).
        columns (`Mapping`, *optional*): `caption`, the chain-of-thought columns and `glosses`, those that the row has
            and that are not empty. Only the knowledge view reads them.
    """

    id: str
    text: str
    place: str
    head: tuple[int, int] | None = None
    tail: tuple[int, int] | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PostFile:
    """A file of posts.

    Args:
        path (`Path`): The file.
        format (`str`): `"jsonl"`, `"text"`, `"conll"` or `"parquet"`.
    """

    path: Path
    format: str


def find_post_files(source: str | os.PathLike, format: str = "auto") -> list[PostFile]:
    """The files that a path means: itself, or the shards in a folder in the order of their names.

    Args:
        source (`str` or `os.PathLike`): A file or a folder of files; in a folder, other suffixes are passed over.
        format (`str`, *optional*, defaults to `"auto"`): By default the suffix tells (`.jsonl`, `.txt` with one post
            per line, `.conll` and `.tsv`, `.parquet`), and a `.txt` file that begins with `IMGID:` is CoNLL.

    Raises:
        DataError: There is no such file, a folder without shards, or a suffix that means no format.
        SettingError: The format is unknown.
    """
    path = Path(source)
    if format not in ("auto", *FORMATS.values()):
        raise SettingError(
            f"Unknown format {format!r}.", fix=f"Use auto, {', '.join(dict.fromkeys(FORMATS.values()))}."
        )
    if path.is_dir():
        paths = sorted(child for child in path.iterdir() if child.suffix in FORMATS and child.is_file())
        if not paths:
            raise DataError("The folder holds no posts.", place=str(path), fix=f"Shards end in {', '.join(FORMATS)}.")
        return [PostFile(child, _format_of(child) if format == "auto" else format) for child in paths]
    if not path.is_file():
        raise DataError("There is no such file.", place=str(path))
    return [PostFile(path, _format_of(path) if format == "auto" else format)]


def _format_of(path: Path) -> str:
    if path.suffix not in FORMATS:
        raise DataError(
            f"The suffix {path.suffix!r} means no format.", place=str(path), fix="Say which with --format."
        )
    if path.suffix == ".txt":
        with path.open("rb") as file:
            if file.read(len(IMAGE_HEADER) + 3).removeprefix(b"\xef\xbb\xbf").startswith(IMAGE_HEADER.encode()):
                return "conll"
    return FORMATS[path.suffix]


def count_posts(files: list[PostFile]) -> int | None:
    """About how many posts the files hold, for a progress bar; `None` when only reading them would tell (CoNLL)."""
    total = 0
    for file in files:
        if file.format == "conll":
            return None
        if file.format == "parquet":
            with open_parquet(file.path) as shard:
                total += shard.metadata.num_rows
        else:
            with file.path.open("rb") as lines:
                while chunk := lines.read(1 << 20):
                    total += chunk.count(b"\n")
    return total


def read_posts(file: PostFile, task: str, text_column: str = "text") -> Iterator[Post]:
    """Posts of one file, holding no more of it in memory than a few rows.

    A JSON Lines or Parquet row has `text` (`str`) or `tokens` (`list[str]`), an optional `id`, and for MRE `head` and
    `tail`, each `[start, end]` or `{"start": ..., "end": ...}`: characters of `text`, or tokens of `tokens`. A row
    may not have both where that would leave open what a span counts. An empty text is a post like any other.

    Args:
        file (`PostFile`): The file.
        task (`str`): `"mner"` or `"mre"`.
        text_column (`str`, *optional*, defaults to `"text"`): Where JSON Lines and Parquet rows hold the text.

    Raises:
        DataError: A row can not be read; the message names the file, the line or row, and the fix.
    """
    if task == "mre" and file.format in ("text", "conll"):
        raise DataError(
            "The file says of no post which two entities are meant.",
            place=str(file.path),
            fix='Give JSON Lines: {"text": "Maya moved to Harlow", "head": [0, 4], "tail": [14, 20]}',
        )
    stem = file.path.stem
    if file.format == "text":
        for number, line in stream_lines(file.path):
            yield Post(f"{stem}-{number - 1}", line, place(file.path, number))
    elif file.format == "conll":
        yield from _conll_posts(file.path, stem)
    else:
        rows = _json_rows(file.path) if file.format == "jsonl" else _parquet_rows(file.path, text_column)
        for index, (spot, row) in enumerate(rows):
            yield _post_of(row, f"{stem}-{index}", spot, task, text_column)


def stream_lines(path: Path) -> Iterator[tuple[int, str]]:
    """As `data.files.read_lines`, without holding the file in memory.

    Raises:
        DataError: The file is empty, or a line is not UTF-8.
    """
    number = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            raw = raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw
            try:
                line = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"Byte {error.start + 1} of the line (0x{raw[error.start]:02x}) is not UTF-8.",
                    place=place(path, number),
                    fix="Convert the file with, for example: iconv -f LATIN1 -t UTF-8 OLD > NEW",
                ) from None
            yield number, line.removesuffix("\n").removesuffix("\r")
    if not number:
        raise DataError("The file is empty.", place=str(path), fix="Fetch or export it again.")


def _json_rows(path: Path) -> Iterator[tuple[str, dict]]:
    for number, line in stream_lines(path):
        if not line.strip():
            continue
        spot = place(path, number)
        yield spot, json_object(line, spot)


def _parquet_rows(path: Path, text_column: str) -> Iterator[tuple[str, dict]]:
    for index, row in enumerate(parquet_rows(path, ("id", text_column, "tokens", "head", "tail"))):
        yield f"{path}, row {index}", row


def _conll_posts(path: Path, stem: str) -> Iterator[Post]:
    """The first column of every line; tags are not read. Retrieved text behind `<EOS>` is not part of the post."""
    tokens: list[str] = []
    name: str | None = None
    spot, index, context = "", 0, False
    for number, line in stream_lines(path):
        header = line.startswith((IMAGE_HEADER, "# id"))
        if header or not line.strip(" \t") or line.startswith("-DOCSTART-"):
            if tokens:
                yield Post(name or f"{stem}-{index}", " ".join(tokens), spot)
                tokens, name, index = [], None, index + 1
            context = False
            if header:
                name = line.split("\t")[0].replace("=", ":", 1).partition(":")[2].strip() or None
            continue
        columns = line.split("\t") if "\t" in line else line.split(" ")
        spot = spot if tokens else place(path, number)
        if not columns[0]:
            raise DataError("The token is empty.", place=place(path, number), fix="A line is token TAB tag.")
        context = context or (columns[0] == CONTEXT_TOKEN and columns[-1] in CONTEXT_TAGS)
        if not context:
            tokens.append(columns[0])
    if tokens:
        yield Post(name or f"{stem}-{index}", " ".join(tokens), spot)


def _post_of(row: dict, name: str, spot: str, task: str, text_column: str) -> Post:
    text, tokens = row.get(text_column), row.get("tokens")
    if (text is None) == (tokens is None) and (task == "mre" or text is None):
        raise DataError(
            f"The row has neither {text_column!r} nor 'tokens'."
            if text is None
            else f"The row has both {text_column!r} and 'tokens', so it is unclear what its spans count.",
            place=spot,
            fix="Give one of the two; --text-column names another column.",
        )
    spans = None
    if text is None:
        if not isinstance(tokens, list) or any(not isinstance(token, str) for token in tokens):
            raise DataError("The tokens are not a list of strings.", place=spot, fix='Write ["Maya", "moved"].')
        text, spans = " ".join(tokens), word_spans(tokens)
    elif not isinstance(text, str):
        raise DataError(f"{text_column!r} is a {type(text).__name__}, not a string.", place=spot, fix="Quote it.")
    name = name if row.get("id") is None else str(row["id"])
    if task == "mner":
        return Post(name, text, spot)
    head, tail = (_characters(row.get(side), side, text, spans, spot) for side in ("head", "tail"))
    return Post(name, text, spot, head, tail)


def _characters(
    span: object, side: str, text: str, tokens: list[tuple[int, int]] | None, spot: str
) -> tuple[int, int]:
    """A row's span as characters of its text."""
    bounds = [span.get("start"), span.get("end")] if isinstance(span, dict) else span
    if not isinstance(bounds, list) or len(bounds) != 2 or not all(type(bound) is int for bound in bounds):
        raise DataError(f"{side!r} is {span!r:.40}, not a span.", place=spot, fix=f'Write "{side}": [start, end].')
    start, end = bounds
    length, unit = (len(text), "characters") if tokens is None else (len(tokens), "tokens")
    if not 0 <= start < end <= length:
        raise DataError(
            f"The {side} span [{start}, {end}) lies outside the {length} {unit}.",
            place=spot,
            fix="Spans count from 0 and exclude their end.",
        )
    if tokens is not None:
        start, end = tokens[start][0], tokens[end - 1][1]
    if not text[start:end].strip():
        raise DataError(f"The {side} span [{start}, {end}) holds white space only.", place=spot, fix="Move it.")
    return start, end

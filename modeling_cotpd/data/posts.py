"""The one reader of posts, labelled or raw: from files of any size, one post in memory at a time."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from modeling_cotpd.data.conll import IMAGE_HEADER, ConllForm, read_conll
from modeling_cotpd.data.files import FORMATS, count_lines, existing, place, read_lines
from modeling_cotpd.data.folders import canonical_split, fetch_hub_folder, inside, saved_splits
from modeling_cotpd.data.parquet import open_parquet
from modeling_cotpd.data.prepared import METADATA_FILE, read_info
from modeling_cotpd.data.records import optional_columns, read_rows
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, PAIR
from modeling_cotpd.data.values import bounds_of, check_token_span, flat_row, id_of, text_of, token_list, trimmed
from modeling_cotpd.errors import DataError, SettingError

_TAGGED_LINE = re.compile(r"\S+(?:[ \t].*)?[ \t](?:O|[BIESLUMW]-\S+|X)[ \t]*")


@dataclass(frozen=True)
class Post:
    """One post.

    Args:
        id (`str`): The file's own id, or the split's or file's name and the number of the post in it, from 0.
        text (`str`): The text; tokens are joined by single spaces. Half of a surrogate pair is U+FFFD.
        place (`str`, *optional*): File and line or row, for messages.
        head, tail (`tuple[int, int]`, *optional*): Character spans [start, end) of the two entities (MRE).
        columns (`Mapping`, *optional*): `image`, `caption`, the chain-of-thought columns and `glosses`, those that the
            row has and that are not empty.
    """

    id: str
    text: str
    place: str = ""
    head: tuple[int, int] | None = None
    tail: tuple[int, int] | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PostFile:
    """A file of posts in a format of `FORMATS`; `name` is the split, or the file's name without suffix."""

    path: Path
    format: str
    name: str


def find_post_files(source: str | os.PathLike, format: str = "auto", splits: Sequence[str] = ()) -> list[PostFile]:
    """The files that a source means.

    Args:
        source (`str` or `os.PathLike`): A file; a folder of files, in the order of their names; a prepared folder; a
            folder that `save_to_disk` wrote; or the name of a data set on the Hub.
        format (`str`, *optional*, defaults to `"auto"`): By default the suffix tells. A `.txt` file holds one post per
            line, unless it begins with `IMGID:` or its lines end in tags: then it is CoNLL.
        splits (`Sequence[str]`, *optional*): Names of the files to keep; all by default.

    Raises:
        DataError: There is no such file, a folder without posts or with two files of one name, a suffix that means no
            format, or a wanted split is missing.
        SettingError: The format is unknown.
    """
    if format not in ("auto", *FORMATS.values()):
        fix = f"Use auto, {', '.join(dict.fromkeys(FORMATS.values()))}."
        raise SettingError(f"Unknown format {format!r}.", fix=fix)
    path = fetch_hub_folder(source)
    named = _folder_files(path) if path.is_dir() else [(path.stem, existing(path))]
    if not named:
        fix = f"It is a prepared folder, or its files end in {', '.join(FORMATS)}."
        raise DataError("The folder holds no posts.", place=str(path), fix=fix)
    names = [name for name, _ in named]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"Two files are called {twice[0]!r}.", place=str(path), fix="Outputs are named after files.")
    if missing := [name for name in splits if name not in names]:
        raise DataError(f"There is no split {missing[0]!r}.", place=str(path), fix=f"There are {', '.join(names)}.")
    return [
        PostFile(child, _format_of(child) if format == "auto" else format, name)
        for name, child in named
        if not splits or name in splits
    ]


def _folder_files(folder: Path) -> list[tuple[str, Path]]:
    if (folder / METADATA_FILE).is_file():
        return [(name, inside(folder / f"{name}.parquet", folder)) for name in read_info(folder).splits]
    if saved := saved_splits(folder):
        return [
            (split if len(paths) == 1 else f"{split}-{number:05d}", path)
            for split, paths in saved.items()
            for number, path in enumerate(paths)
        ]
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix.lower() in FORMATS]
    # What is joined to posts by id, and how it was made, holds no posts.
    files = [path for path in files if not path.name.lower().startswith(("captions.", "knowledge."))]
    if not files and (folder / "data").is_dir():
        return _folder_files(folder / "data")
    return [(path.stem, inside(path, folder)) for path in files]


def _format_of(path: Path) -> str:
    format = FORMATS.get(path.suffix.lower())
    if format is None:
        fix = f"Say which with --format; known suffixes are {', '.join(FORMATS)}."
        raise DataError(f"The suffix {path.suffix!r} means no format.", place=str(path), fix=fix)
    return "conll" if format == "text" and _is_tagged(path) else format


def _is_tagged(path: Path) -> bool:
    """Whether a text file is CoNLL: it begins with `IMGID:`, or each of its first lines ends in a tag."""
    lines = [line for _, line in islice(read_lines(path), 40) if line.strip()]
    tokens = [line for line in lines if not line.startswith(("-DOCSTART-", "# id"))][:20]
    return any(line.startswith(IMAGE_HEADER) for line in lines[:1]) or (
        len(tokens) > 1 and all(_TAGGED_LINE.fullmatch(line) for line in tokens)
    )


def count_posts(files: Iterable[PostFile]) -> int | None:
    """How many posts the files hold, for a progress bar; `None` when only reading them would tell (CoNLL, `.json`)."""
    total = 0
    for file in files:
        if file.format == "conll" or file.path.suffix.lower() in (".json", ".arrow"):
            return None
        if file.format == "parquet":
            with open_parquet(file.path) as shard:
                total += shard.metadata.num_rows
        else:
            total += count_lines(file.path)
    return total


def read_posts(file: PostFile, task: str = "mner", text_column: str = "text") -> Iterator[Post]:
    """Posts of one file, holding no more of it in memory than a few rows.

    A row of JSON or Parquet has `text_column` (`str`) or `tokens` (`list[str]`), an optional `id`, `image`, `caption`
    and chain-of-thought columns, and for MRE `head` and `tail`, each `[start, end]` or `{"start": ..., "end": ...}`:
    characters of the text, or tokens of `tokens`. A row may not have both where that would leave open what a span
    counts. An empty text is a post like any other; labels are not read.

    Raises:
        DataError: A row cannot be read; the message names the file, the line or row, and the fix.
    """
    if task == "mre" and file.format in ("text", "conll"):
        raise DataError(
            "The file does not say of any post which two entities are meant.",
            place=str(file.path),
            fix='Give JSON Lines: {"text": "Maya moved to Harlow", "head": [0, 4], "tail": [14, 20]}',
        )
    name = canonical_split(file.name)
    if file.format == "text":
        for number, line in read_lines(file.path):
            yield Post(f"{name}-{number - 1}", line, place(file.path, number))
    elif file.format == "conll":
        for row in read_conll(file.path, name, ConllForm(labelled=False)):
            yield Post(row["id"], " ".join(row["tokens"]), row["place"])
    else:
        columns = ("id", text_column, "tokens", *PAIR, "image", *KNOWLEDGE_COLUMNS, "glosses")
        for index, (row, spot) in enumerate(read_rows(file.path, columns)):
            yield _post_of(flat_row(row, spot), f"{name}-{index}", spot, task, text_column)


def _post_of(row: dict, name: str, spot: str, task: str, text_column: str) -> Post:
    text, tokens = row.get(text_column), row.get("tokens")
    if text is None and tokens is None:
        fix = "Give one of the two; --text-column names another column."
        raise DataError(f"The row has neither {text_column!r} nor 'tokens'.", place=spot, fix=fix)
    if text is not None and tokens is not None and task == "mre":
        message = f"The row has both {text_column!r} and 'tokens', so it is unclear what its spans count."
        raise DataError(message, place=spot, fix="Give one of the two.")
    words: list[str] | None = None
    if text is None:
        words = token_list(tokens, spot)
        text = " ".join(words)
    text = text_of(text, text_column, spot)
    columns = {column: value for column, value in optional_columns(row, spot).items() if value}
    post = Post(id_of(row.get("id"), spot) or name, text, spot, columns=columns)
    if task == "mner":
        return post
    head, tail = (_characters(row.get(side), side, text, words, spot) for side in PAIR)
    return replace(post, head=head, tail=tail)


def post_of_record(row: dict) -> Post:
    """A row of a prepared split as a post, with its knowledge; for MRE with the characters of its pair."""
    from modeling_cotpd.data.words import word_spans

    spans = word_spans(row["tokens"])
    pair = {side: (spans[row[side]["start"]][0], spans[row[side]["end"] - 1][1]) for side in PAIR if side in row}
    columns = {name: row[name] for name in (*KNOWLEDGE_COLUMNS, "glosses") if row.get(name)}
    return Post(row["id"], " ".join(row["tokens"]), f"row {row['id']!r}", **pair, columns=columns)


def _characters(span: object, side: str, text: str, words: list[str] | None, spot: str) -> tuple[int, int]:
    """A row's span as characters of its text."""
    start, end = bounds_of(span, side, spot)
    if words is not None:
        # It loads transformers, which takes seconds, and posts without pairs need none of it.
        from modeling_cotpd.data.words import word_spans

        check_token_span(start, end, len(words), f"{side} span", spot)
        spans = word_spans(words)
        start, end = spans[start][0], spans[end - 1][1]
    trimmed(start, end, text, f"The {side} span", spot)
    return start, end

"""Labelled rows of files, or of a data set's own rows, as records whose labels are names."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from modeling_cotpd.data.bio import check_tag, to_bio
from modeling_cotpd.data.conll import ConllForm, read_conll
from modeling_cotpd.data.files import FORMATS, read_json_rows
from modeling_cotpd.data.folders import find_split_files
from modeling_cotpd.data.parquet import parquet_rows, read_features
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, LABEL_COLUMNS, PAIR, declared_label_names
from modeling_cotpd.data.values import (
    SPAN_KEYS,
    bounds_of,
    flat_row,
    gloss_list,
    has_spans,
    id_of,
    is_missing,
    text_of,
    token_list,
    tokens_and_pair,
    tokens_and_tags,
    whole_number,
)
from modeling_cotpd.errors import DataError

logger = logging.getLogger(__name__)

GOLD_COLUMNS = {"mner": ("tokens", "ner_tags"), "mre": ("tokens", *PAIR, "relation")}


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[dict, str]]:
    """Yield (row, place) of a `.jsonl`, `.json`, `.parquet` or `.arrow` file, a few rows in memory at a time."""
    if FORMATS.get(path.suffix.lower()) == "parquet":
        yield from ((row, f"{path}, row {number}") for number, row in enumerate(parquet_rows(path, columns)))
    else:
        yield from read_json_rows(path)


def read_folder(
    source: str | os.PathLike, task: str, label_names: Sequence[str] = (), scheme: str = "bio"
) -> tuple[dict[str, list[dict]], list[Path], list[str] | None]:
    """Records of a user's own data by split, the files that were read, and the label names that they declare, if any.

    The arguments are those of `find_split_files` and `records_of`; CoNLL files hold only tags of `label_names`.
    """
    found = find_split_files(source)
    files = [path for paths in found.values() for path in paths]
    named = {tuple(names) for path in files if (names := declared_names(path, task)) is not None}
    if len(named) > 1:
        raise DataError(
            f"The splits declare different labels: {' and '.join(str(list(names)) for names in sorted(named))}.",
            place=str(source),
            fix="Cast the splits to the same ClassLabel.",
        )
    rows: dict[str, list[dict]] = {}
    for split, paths in found.items():
        rows[split] = []
        for path in paths:
            rows[split] += read_records(path, task, split, label_names, scheme, len(rows[split]))
        if not rows[split]:
            raise DataError("There are no posts.", place=str(paths[0]), fix="Leave the split out or fill it.")
    return rows, files, list(named.pop()) if named else None


def read_records(
    path: Path, task: str, split: str, label_names: Sequence[str] = (), scheme: str = "bio", first: int = 0
) -> Iterator[dict]:
    """Records of one file; see `read_folder` and `records_of`."""
    if FORMATS[path.suffix.lower()] in ("text", "conll"):
        if task == "mre":
            fix = "Give mre data as JSON Lines or Parquet."
            raise DataError("CoNLL files hold no relations.", place=str(path), fix=fix)
        types = {name[2:] for name in label_names if name != "O"} or None
        return read_conll(path, split, ConllForm(types=types, scheme=scheme))
    names = declared_names(path, task) or label_names
    return records_of(read_rows(path), task, split, str(path), names, scheme, first)


def declared_names(path: Path, task: str) -> list[str] | None:
    """Label names that a Parquet or Arrow file declares with a ClassLabel, in id order, or `None`."""
    if FORMATS[path.suffix.lower()] != "parquet":
        return None
    return declared_label_names(read_features(path, "Write it again."), task)


def records_of(
    rows: Iterable[tuple[dict, str]],
    task: str,
    split: str,
    source: str,
    label_names: Sequence[str] = (),
    scheme: str = "bio",
    first: int = 0,
) -> Iterator[dict]:
    """Rows, each with what error messages call it, as records with their labels as names.

    A row has the columns of the record, of which `id`, `image`, captions and knowledge are optional. Instead of
    `tokens` it may have `text` with character spans, see `values.flat_row`.

    Args:
        split (`str`): Begins the ids of rows that have none (`train-0`).
        source (`str`): What error messages call all rows.
        label_names (`Sequence[str]`, *optional*): Names of labels that are numbers, in id order.
        scheme (`str`, *optional*, defaults to `"bio"`): The tag scheme, see `bio.SCHEMES`.
        first (`int`, *optional*, defaults to 0): Number of the first row among those of the split.

    Raises:
        DataError: A column is missing or holds the wrong kind of value, a label is a number without a name, or there
            are no rows.
    """
    known = {"id", "image", *GOLD_COLUMNS[task], *KNOWLEDGE_COLUMNS, "glosses"}
    index = -1
    for index, (raw, spot) in enumerate(rows, start=first):
        raw = flat_row(raw, spot)
        row = _gold(raw, task, label_names, scheme, spot)
        spans = {"text", *SPAN_KEYS} if raw.get("tokens") is None or has_spans(raw) else set()
        if new := set(raw) - known - spans:
            known |= new
            logger.warning("%s: columns that the record does not have are left out: %s", spot, ", ".join(sorted(new)))
        row["id"] = id_of(raw.get("id"), spot) or f"{split}-{index}"
        yield {**row, **optional_columns(raw, spot), "place": spot}
    if index < 0:
        raise DataError("There are no rows.", place=source, fix="Leave the split out or fill it.")


def optional_columns(raw: dict, spot: str) -> dict[str, Any]:
    """Image, caption, knowledge and glosses of a row, as the record has them."""
    texts = {name: text_of(raw.get(name), name, spot) for name in KNOWLEDGE_COLUMNS}
    return {"image": id_of(raw.get("image"), spot, "image"), **texts, "glosses": gloss_list(raw.get("glosses"), spot)}


def _gold(raw: dict, task: str, names: Sequence[str], scheme: str, spot: str) -> dict:
    """Tokens and labels of a row."""
    if task == "mner" and has_spans(raw):
        tokens, tags = tokens_and_tags(raw, spot)
        return {"tokens": tokens, "ner_tags": tags}
    columns, label = GOLD_COLUMNS[task], LABEL_COLUMNS[task]
    in_text = task == "mre" and isinstance(raw.get("text"), str) and raw.get("tokens") is None
    missing = [name for name in columns if name not in raw and not (in_text and name == "tokens")]
    if missing:
        fix = f"A row needs {', '.join(columns)}; an unlabelled one has {label} null."
        if other := [name for name in GOLD_COLUMNS if name != task and set(GOLD_COLUMNS[name]) <= set(raw)]:
            fix = f"Its columns are those of --task {other[0]}."
        elif task == "mner" and "text" in raw:
            fix = "A row with a text needs its entities as spans (null: not labelled), or its tokens and ner_tags."
        raise DataError(f"The column {missing[0]!r} is missing; the row has {', '.join(raw)}.", place=spot, fix=fix)
    if task == "mner":
        tags = _tags(raw[label], names, spot)
        for tag in set(tags or ()) if scheme != "bio" else ():
            check_tag(tag, spot, scheme=scheme)
        return {"tokens": token_list(raw["tokens"], spot), label: tags and to_bio(tags, scheme)}
    if in_text:
        tokens, head, tail = tokens_and_pair(raw, spot)
    else:
        tokens = token_list(raw["tokens"], spot)
        head, tail = (bounds_of(raw[side], side, spot) for side in PAIR)
    relation = None if is_missing(raw[label]) else _name(raw[label], names, label, spot)
    ends = {side: {"start": start, "end": end} for side, (start, end) in zip(PAIR, (head, tail), strict=True)}
    return {"tokens": tokens, **ends, label: relation}


def _tags(value: object, names: Sequence[str], spot: str) -> list[str] | None:
    if is_missing(value):
        return None
    if not isinstance(value, list):
        fix = "It holds a list with one tag per token."
        raise DataError(f"The column 'ner_tags' holds {value!r:.60}.", place=spot, fix=fix)
    return [_name(tag, names, "ner_tags", spot) for tag in value]


def _name(value: object, names: Sequence[str], column: str, spot: str) -> str:
    """The name of a label that is a name or an id."""
    if isinstance(value, str) and value.strip():
        return text_of(value, column, spot)
    number = whole_number(value)
    if number is None:
        raise DataError(f"The column {column!r} holds {value!r:.60}.", place=spot, fix="Labels are names.")
    if not names:
        fix = "Name the labels in id order with --labels, or write names."
        raise DataError(f"The column {column!r} holds numbers without declared names.", place=spot, fix=fix)
    if not 0 <= number < len(names):
        fix = f"The labels are {', '.join(names)}; the label of an unlabelled row is null."
        message = f"The column {column!r} holds the id {number}, but there are {len(names)} labels."
        raise DataError(message, place=spot, fix=fix)
    return names[number]

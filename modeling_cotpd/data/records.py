"""Labelled rows of JSON, Parquet and Arrow files as records whose labels are names."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from datasets import ClassLabel, Features

from modeling_cotpd.data.bio import check_tag, to_bio
from modeling_cotpd.data.files import read_json_rows
from modeling_cotpd.data.parquet import parquet_rows, read_schema
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, TASKS
from modeling_cotpd.data.spans import SPAN_KEYS, flat_row, has_spans, tokens_and_pair, tokens_and_tags
from modeling_cotpd.data.values import glosses_of, id_of, is_missing, span_of, text_of, token_list, whole_number
from modeling_cotpd.errors import DataError, SettingError

logger = logging.getLogger(__name__)

GOLD_COLUMNS = {"mner": ("tokens", "ner_tags"), "mre": ("tokens", "head", "tail", "relation")}
LABEL_COLUMN = {"mner": "ner_tags", "mre": "relation"}
TABLES = (".parquet", ".arrow")


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[dict, str]]:
    """Yield (row, place) of a `.jsonl`, `.json`, `.parquet` or `.arrow` file, a few rows in memory at a time.

    Raises:
        DataError: The file is not what its suffix says.
    """
    if path.suffix in TABLES:
        yield from ((row, f"{path}, row {number}") for number, row in enumerate(parquet_rows(path, columns)))
    else:
        yield from read_json_rows(path)


def read_records(
    path: Path, task: str, split: str, label_names: Sequence[str] | None = None, scheme: str = "bio", first: int = 0
) -> Iterator[dict]:
    """Records of a file with their labels as names.

    Args:
        path (`Path`): A `.jsonl`, `.json`, `.parquet` or `.arrow` file.
        task (`str`): `"mner"` (`tokens`, `ner_tags`) or `"mre"` (`tokens`, `head`, `tail`, `relation`); `id`, `image`,
            `caption`, the chain-of-thought columns and `glosses` may be there too. Instead of `tokens` a row may have
            `text` with character spans, see `spans`. A span is `{"start": 0, "end": 2}` or `[0, 2]`.
        split (`str`): The split's name, which begins the ids of rows that have none (`train-0`).
        label_names (`Sequence[str]`, *optional*): Names of labels that are numbers, in id order. By default those that
            the file declares with a ClassLabel.
        scheme (`str`, *optional*, defaults to `"bio"`): The tag scheme, see `bio.SCHEMES`.
        first (`int`, *optional*, defaults to 0): Number of the first row among those of the split.

    Raises:
        DataError: A column is missing or holds the wrong kind of value, a label is a number without a name, or the
            file has no rows.
    """
    if task not in TASKS:
        raise SettingError(f"Unknown task {task!r}.", fix=f"Use one of {', '.join(TASKS)}.")
    names = declared_names(path, task) or label_names
    yield from records_of(read_rows(path), task, split, str(path), names, scheme, first)


def records_of(
    rows: Iterable[tuple[dict, str]],
    task: str,
    split: str,
    source: str,
    label_names: Sequence[str] | None = None,
    scheme: str = "bio",
    first: int = 0,
) -> Iterator[dict]:
    """As `read_records`, for rows that come with their places.

    Args:
        rows (`Iterable[tuple[dict, str]]`): Rows and what error messages call them.
        source (`str`): What error messages call all of them.
    """
    known = {"id", "image", *GOLD_COLUMNS[task], *KNOWLEDGE_COLUMNS, "glosses"}
    ignored: set[str] = set()
    index = -1
    for index, (raw, spot) in enumerate(rows, start=first):
        raw = flat_row(raw, spot)
        row = _gold(raw, task, label_names, scheme, spot)
        new = (
            set(raw)
            - known
            - ignored
            - ({"text", *SPAN_KEYS} if raw.get("tokens") is None or has_spans(raw) else set())
        )
        if new:
            ignored |= new
            logger.warning("%s: columns that the record does not have are left out: %s", spot, ", ".join(sorted(new)))
        row["id"] = id_of(raw.get("id"), spot) or f"{split}-{index}"
        row["image"] = id_of(raw.get("image"), spot, "image")
        row |= {name: text_of(raw.get(name), name, spot) for name in KNOWLEDGE_COLUMNS}
        row["glosses"] = glosses_of(raw.get("glosses"), spot)
        yield {**row, "place": spot}
    if index < 0:
        raise DataError("There are no rows.", place=source, fix="Leave the split out or fill it.")


def declared_names(path: Path, task: str) -> list[str] | None:
    """Label names that a Parquet or Arrow file declares with a ClassLabel, in id order, or `None`.

    Raises:
        DataError: The file is broken, or its description of its columns is.
    """
    if path.suffix not in TABLES:
        return None
    schema = read_schema(path)
    try:
        return names_in(Features.from_arrow_schema(schema), task)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"The columns cannot be read ({error}).", place=str(path), fix="Write it again.") from None


def names_in(features: Features, task: str) -> list[str] | None:
    """Label names that features declare with a ClassLabel, in id order, or `None`."""
    feature = features.get(LABEL_COLUMN[task])
    inner = getattr(feature, "feature", feature) if task == "mner" else feature
    return [str(name) for name in inner.names] if isinstance(inner, ClassLabel) else None


def _gold(raw: dict, task: str, names: Sequence[str] | None, scheme: str, spot: str) -> dict:
    """Tokens and labels of a row."""
    if task == "mner" and has_spans(raw):
        tokens, tags = tokens_and_tags(raw, spot)
        return {"tokens": tokens, "ner_tags": tags}
    columns, label = GOLD_COLUMNS[task], LABEL_COLUMN[task]
    in_text = task == "mre" and isinstance(raw.get("text"), str) and raw.get("tokens") is None
    missing = [name for name in columns if name not in raw and not (in_text and name == "tokens")]
    if missing:
        raise DataError(
            f"The column {missing[0]!r} is missing.",
            place=spot,
            fix=f"The columns are {', '.join(columns)}; an unlabelled row has {label} null.",
        )
    if task == "mner":
        tags = _tags(raw[label], names, spot)
        for tag in set(tags or ()) if scheme != "bio" else ():
            check_tag(tag, spot, scheme=scheme)
        return {"tokens": token_list(raw["tokens"], spot), label: tags and to_bio(tags, scheme)}
    if in_text:
        tokens, head, tail = tokens_and_pair(raw, spot)
    else:
        tokens = token_list(raw["tokens"], spot)
        head, tail = (span_of(raw[side], side, spot) for side in ("head", "tail"))
    relation = None if is_missing(raw[label]) else _name(raw[label], names, label, spot)
    ends = {side: {"start": start, "end": end} for side, (start, end) in (("head", head), ("tail", tail))}
    return {"tokens": tokens, **ends, label: relation}


def _tags(value: object, names: Sequence[str] | None, spot: str) -> list[str] | None:
    if is_missing(value):
        return None
    if not isinstance(value, list):
        raise DataError(
            f"The column 'ner_tags' holds {value!r:.60}.", place=spot, fix="It holds a list with one tag per token."
        )
    return [_name(tag, names, "ner_tags", spot) for tag in value]


def _name(value: object, names: Sequence[str] | None, column: str, spot: str) -> str:
    """The name of a label that is a name or an id."""
    if isinstance(value, str) and value.strip():
        return text_of(value, column, spot)
    number = whole_number(value)
    if number is None:
        raise DataError(f"The column {column!r} holds {value!r:.60}.", place=spot, fix="Labels are names.")
    if not names:
        raise DataError(
            f"The column {column!r} holds numbers, and no names are declared for them.",
            place=spot,
            fix="Name the labels in id order with --labels, or write names.",
        )
    if not 0 <= number < len(names):
        raise DataError(
            f"The column {column!r} holds the id {number}, but there are {len(names)} labels.",
            place=spot,
            fix=f"The labels are {', '.join(names)}; the label of an unlabelled row is null.",
        )
    return names[number]

"""Readers of a user's own records: JSON Lines, Parquet, and anything that `datasets` can load."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from datasets import ClassLabel, Dataset, DatasetDict, Features, load_dataset, load_from_disk

from modeling_cotpd.data.files import SPLIT_ALIASES, place, read_json_lines
from modeling_cotpd.data.parquet import parquet_table
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, TASKS
from modeling_cotpd.errors import DataError, SettingError

logger = logging.getLogger(__name__)

GOLD_COLUMNS = {"mner": ("tokens", "ner_tags"), "mre": ("tokens", "head", "tail", "relation")}
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".lzma", ".zst", ".lz4", ".7z", ".rar")
"""What `datasets` would unpack when it finds it in a folder."""
LABEL_COLUMN = {"mner": "ner_tags", "mre": "relation"}


def read_json_records(path: str | os.PathLike, task: str, split: str) -> Iterator[dict]:
    """Rows of a JSON Lines file with the record's columns and labels as names.

    Args:
        path (`str` or `os.PathLike`): The file, one object per line.
        task (`str`): `"mner"` (`tokens`, `ner_tags`) or `"mre"` (`tokens`, `head`, `tail`, `relation`); `id`, `image`,
            `caption` and the chain-of-thought columns may be given too. Without `id`, rows are numbered (`train-0`). A
            span is `{"start": 0, "end": 2}` or `[0, 2]`.
        split (`str`): The split's name, which begins the ids of rows that have none.

    Raises:
        DataError: A line is not an object, a column is missing or holds the wrong kind of value.
    """
    rows = ((value, place(path, number)) for number, value in read_json_lines(path))
    return _rows(rows, task, split, label_names=None, source=str(path))


def read_parquet_records(path: str | os.PathLike, task: str, split: str) -> Iterator[dict]:
    """Rows of a Parquet file with the record's columns; labels are names, or ids if the file declares a ClassLabel.

    Raises:
        DataError: The file is not Parquet, a column is missing or holds the wrong kind of value.
    """
    table = parquet_table(path)
    try:
        dataset = Dataset(table)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"The columns can not be used ({error}).", place=str(path), fix="Write it again.") from None
    return dataset_rows(dataset, task, split, str(path))


def dataset_rows(dataset: Dataset, task: str, split: str, source: str) -> Iterator[dict]:
    """Rows of a split of a `datasets.Dataset`, with label ids turned into the names that its features declare.

    Raises:
        DataError: A column is missing or holds the wrong kind of value, or labels are numbers without names.
    """
    if not len(dataset):
        raise DataError("The split has no rows.", place=source, fix="Leave the split out or fill it.")
    rows = ((row, f"{source}, row {number}") for number, row in enumerate(dataset))
    return _rows(rows, task, split, declared_names(dataset.features, task), source)


def declared_names(features: Features, task: str) -> list[str] | None:
    """Label names that features declare with a ClassLabel, in id order, or `None`."""
    feature = features.get(LABEL_COLUMN[task])
    inner = getattr(feature, "feature", feature) if task == "mner" else feature
    return list(inner.names) if isinstance(inner, ClassLabel) else None


def load_splits(source: str) -> dict[str, Dataset]:
    """Splits of anything that `datasets` can load: a folder saved with `save_to_disk`, a folder or a name on the Hub.

    Args:
        source (`str`): The path or name.

    Raises:
        DataError: `datasets` can not load it, or none of its splits has a known name.
    """
    folder = Path(source)
    packed = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ARCHIVES) if folder.is_dir() else []
    if packed:
        raise DataError(
            "Archives are not unpacked: nothing tells how much is in one, or where it would go.",
            place=str(packed[0]),
            fix="Unpack it by hand, and move it out of the folder.",
        )
    try:
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            loaded = load_from_disk(source)
        else:
            loaded = load_dataset(source)
    # The loaders of `datasets` and the Hub client raise dozens of unrelated classes, all of which mean this.
    except Exception as error:
        raise DataError(
            f"datasets can not load it: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            place=source,
            fix="Give a folder with files such as train.jsonl, train.parquet or train.txt, or a name on the Hub.",
        ) from error
    loaded = loaded if isinstance(loaded, DatasetDict) else DatasetDict(train=loaded)
    names = {alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases}
    unknown = [name for name in loaded if name not in names]
    if unknown or not loaded:
        raise DataError(
            f"The splits are {', '.join(loaded) or 'none'}.",
            place=source,
            fix="Name them train, validation (valid, val, dev) and test.",
        )
    splits: dict[str, Dataset] = {}
    for name, dataset in loaded.items():
        if names[name] in splits:
            raise DataError(f"Two splits are both {names[name]}.", place=source, fix="Keep one of them.")
        splits[names[name]] = dataset
    return splits


def with_label_names(rows: Iterable[dict], task: str, label_names: Sequence[str]) -> Iterator[dict]:
    """Rows whose labels are names: labels that are numbers are read as ids of `label_names`.

    Raises:
        DataError: A number is not an id of `label_names`, or there are numbers and no `label_names`.
    """
    column = LABEL_COLUMN[task]
    for row in rows:
        labels = row[column] if isinstance(row[column], list) else [row[column]]
        if not label_names and any(isinstance(label, int) for label in labels):
            raise DataError(
                f"The column {column!r} holds numbers, and no names are declared for them.",
                place=row["place"],
                fix="Name the labels in id order with --labels, or write names.",
            )
        row[column] = _names(row[column], label_names or None, column, row["place"])
        yield row


def _names(value, label_names: Sequence[str] | None, column: str, spot: str):
    """The label value with ids turned into names; raises when it can not be told which label is meant."""
    if isinstance(value, list):
        return [_names(item, label_names, column, spot) for item in value]
    if isinstance(value, bool) or not isinstance(value, int | str | None):
        raise DataError(f"The column {column!r} holds {value!r}.", place=spot, fix="Labels are names.")
    if not isinstance(value, int) or label_names is None:
        return value
    if not 0 <= value < len(label_names):
        raise DataError(
            f"The column {column!r} holds the id {value}, but there are {len(label_names)} labels.",
            place=spot,
            fix=f"The labels are {', '.join(label_names)}.",
        )
    return label_names[value]


def _rows(
    rows: Iterable[tuple[dict, str]], task: str, split: str, label_names: list[str] | None, source: str
) -> Iterator[dict]:
    if task not in TASKS:
        raise SettingError(f"Unknown task {task!r}.", fix=f"Use one of {', '.join(TASKS)}.")
    gold = GOLD_COLUMNS[task]
    known = {"id", "image", *gold, *KNOWLEDGE_COLUMNS}
    ignored: set[str] = set()
    for index, (raw, spot) in enumerate(rows):
        missing = [name for name in gold if name not in raw]
        if missing:
            raise DataError(
                f"The column {missing[0]!r} is missing.",
                place=spot,
                fix=f"The columns are {', '.join(gold)}; an unlabelled row has {LABEL_COLUMN[task]} null.",
            )
        new = set(raw) - known - ignored
        if new:
            ignored |= new
            logger.warning("%s: columns that the record does not have are left out: %s", spot, ", ".join(sorted(new)))
        row: dict = {"place": spot, "tokens": _tokens(raw["tokens"], spot)}
        row["id"] = str(raw["id"]) if raw.get("id") is not None else f"{split}-{index}"
        row["image"] = None if raw.get("image") is None else str(raw["image"])
        for name in KNOWLEDGE_COLUMNS:
            row[name] = text_of(raw.get(name), name, spot)
        for name in gold:
            if name in ("head", "tail"):
                row[name] = _span(raw[name], name, spot)
        column = LABEL_COLUMN[task]
        row[column] = _names(_label_kind(raw[column], column, spot), label_names, column, spot)
        yield row


def _label_kind(value, column: str, spot: str):
    if value is None or isinstance(value, list) == (column == "ner_tags"):
        return value
    kind = "a list with one tag per token" if column == "ner_tags" else "one relation name"
    raise DataError(f"The column {column!r} holds {value!r}.", place=spot, fix=f"It holds {kind}, or null.")


def _tokens(value, spot: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        raise DataError(
            "The column 'tokens' does not hold a list of strings.",
            place=spot,
            fix='It looks like ["Hello", "Bristol", "!"]; split the text into words first.',
        )
    return [text_of(token, "tokens", spot) for token in value]


def _span(value, column: str, spot: str) -> dict:
    if isinstance(value, dict):
        value = [value.get("start"), value.get("end")]
    if not (isinstance(value, list) and len(value) == 2 and all(type(end) is int for end in value)):
        raise DataError(
            f"The column {column!r} is not a span of two token numbers.",
            place=spot,
            fix='It looks like {"start": 0, "end": 2}.',
        )
    return {"start": value[0], "end": value[1]}


def text_of(value, column: str, spot: str) -> str:
    """A text value, with `None` as the empty string.

    Raises:
        DataError: The value is not a string, or holds half of a surrogate pair, which no file format can store.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"The column {column!r} holds a {type(value).__name__}.", place=spot, fix="It holds a string.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(
            f"The column {column!r} holds half of a surrogate pair.", place=spot, fix="Repair the \\uD8xx escape."
        ) from None
    return value

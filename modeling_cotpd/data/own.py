"""Reading a user's own data: a folder of files named after the splits, or anything that `datasets` can load."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from datasets import Features

from modeling_cotpd.data.conll import read_own_conll
from modeling_cotpd.data.files import find_split_file
from modeling_cotpd.data.parquet import open_parquet
from modeling_cotpd.data.records import (
    dataset_rows,
    declared_names,
    load_splits,
    read_json_records,
    read_parquet_records,
    with_label_names,
)
from modeling_cotpd.data.schema import SPLITS
from modeling_cotpd.errors import DataError

PATTERNS = ("{split}.txt", "{split}.conll", "{split}.tsv", "{split}.jsonl", "{split}.json", "{split}.parquet")


def read_own(
    source: str | os.PathLike, task: str, label_names: Sequence[str] = ()
) -> tuple[dict[str, list[dict]], list[Path], list[str] | None]:
    """Rows of a user's own data.

    Args:
        source (`str` or `os.PathLike`): A folder with files such as `train.txt`, `dev.jsonl` or `test.parquet` (one
            per split; any split may be absent), a folder saved with `save_to_disk`, or what `load_dataset` takes.
        task (`str`): `"mner"` or `"mre"`.
        label_names (`Sequence[str]`, *optional*): Names of labels that are given as numbers, in id order; in CoNLL
            files, the only tags that may occur.

    Returns:
        Rows by split, the files that were read, and the label names that the data declare, if any.

    Raises:
        DataError: A file or row can not be used, or the splits declare different labels.
    """
    source, folder = str(source), Path(source)
    if folder.is_file():
        raise DataError(
            "The source is a file.", place=source, fix="Name its folder, and the files train, valid and test."
        )
    found = {split: find_split_file(folder, split, PATTERNS) for split in SPLITS} if folder.is_dir() else {}
    paths = {split: path for split, path in found.items() if path is not None}
    if paths:
        rows = {split: _file_rows(path, task, split, label_names) for split, path in paths.items()}
        declared = {str(path): _parquet_names(path, task) for path in paths.values() if path.suffix == ".parquet"}
    else:
        loaded = load_splits(source)
        rows = {split: dataset_rows(dataset, task, split, f"{source} ({split})") for split, dataset in loaded.items()}
        declared = {split: declared_names(dataset.features, task) for split, dataset in loaded.items()}
    named = {tuple(names) for names in declared.values() if names is not None}
    if len(named) > 1:
        raise DataError(
            f"The splits declare different labels: {' and '.join(str(list(names)) for names in sorted(named))}.",
            place=source,
            fix="Cast the splits to the same ClassLabel.",
        )
    read = {split: list(with_label_names(split_rows, task, label_names)) for split, split_rows in rows.items()}
    return read, list(paths.values()), list(named.pop()) if named else None


def _parquet_names(path: Path, task: str) -> list[str] | None:
    with open_parquet(path) as file:
        return declared_names(Features.from_arrow_schema(file.schema_arrow), task)


def _file_rows(path: Path, task: str, split: str, label_names: Sequence[str]) -> Iterator[dict]:
    if path.suffix in (".jsonl", ".json"):
        return read_json_records(path, task, split)
    if path.suffix == ".parquet":
        return read_parquet_records(path, task, split)
    if task == "mre":
        raise DataError(
            "CoNLL files hold no relations.", place=str(path), fix="Give mre data as JSON Lines or Parquet."
        )
    return read_own_conll(path, split, {name[2:] for name in label_names if name != "O"} or None)

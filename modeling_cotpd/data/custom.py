"""Reading a user's own labelled data: a folder of files named after the splits, or a data set on the Hub."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from modeling_cotpd.data.conll import ConllForm, read_conll
from modeling_cotpd.data.folders import find_split_files
from modeling_cotpd.data.records import declared_names, read_records
from modeling_cotpd.errors import DataError

CONLL_SUFFIXES = (".txt", ".conll", ".tsv")


def read_custom(
    source: str | os.PathLike, task: str, label_names: Sequence[str] = (), scheme: str = "bio"
) -> tuple[dict[str, list[dict]], list[Path], list[str] | None]:
    """Rows of a user's own data.

    Args:
        source (`str` or `os.PathLike`): See `folders.find_split_files`.
        task (`str`): `"mner"` or `"mre"`.
        label_names (`Sequence[str]`, *optional*): Names of labels that are given as numbers, in id order; in CoNLL
            files, the only tags that may occur.
        scheme (`str`, *optional*, defaults to `"bio"`): The scheme of the tags, see `bio.SCHEMES`.

    Returns:
        Rows by split, the files that were read, and the label names that the data declare, if any.

    Raises:
        DataError: A file or row cannot be used, or the files declare different labels.
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
            rows[split] += _file_rows(path, task, split, label_names, scheme, len(rows[split]))
        if not rows[split]:
            raise DataError("There are no posts.", place=str(paths[0]), fix="Leave the split out or fill it.")
    return rows, files, list(named.pop()) if named else None


def _file_rows(
    path: Path, task: str, split: str, label_names: Sequence[str], scheme: str, first: int
) -> Iterator[dict]:
    if path.suffix.lower() not in CONLL_SUFFIXES:
        return read_records(path, task, split, label_names, scheme, first)
    if task == "mre":
        raise DataError(
            "CoNLL files hold no relations.", place=str(path), fix="Give mre data as JSON Lines or Parquet."
        )
    types = {name[2:] for name in label_names if name != "O"} or None
    return read_conll(path, split, ConllForm(types=types, scheme=scheme))

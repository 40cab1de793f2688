"""Which files of a folder hold which split; a folder that came from elsewhere cannot name files outside of itself."""

import difflib
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from modeling_cotpd.data.files import FORMATS, read_json
from modeling_cotpd.errors import DataError

SPLIT_ALIASES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""Names of the three splits in published files and in users' files."""
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".lzma", ".zst", ".lz4", ".7z", ".rar")
DATA_SUFFIXES = frozenset({".jsonl", ".json", ".ndjson", ".txt", ".conll", ".iob", ".bio", ".tsv", ".csv", ".parquet"})
_NAMES = {alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases}
_SPLIT_FILE = re.compile(rf"({'|'.join(_NAMES)})(?:[-_.](\d+)(?:-of-(\d+))?)?", re.IGNORECASE)
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_NAME_A_FOLDER = "Name a folder with files such as train.jsonl, train.parquet or train.txt, or a data set on the Hub."
MAX_DESCRIPTION_BYTES = 1 << 24
"""Largest file about data, such as dataset.json, that is read."""


def canonical_split(name: str) -> str:
    """The split that a file or split name means (`dev` means `validation`), or the name itself."""
    return _NAMES.get(name.lower(), name)


def inside(path: Path, folder: Path) -> Path:
    """Return `path`, unless it is a link that leads out of `folder`, other than into the folder's own Hub cache."""
    folder = folder.resolve()
    roots = [folder, folder.parents[1] / "blobs"] if folder.parent.name == "snapshots" else [folder]
    if not any(path.resolve().is_relative_to(root) for root in roots):
        fix = "Copy the file there."
        raise DataError("The file is a link that leads out of its folder.", place=str(path), fix=fix)
    return path


def fetch_hub_folder(source: str | os.PathLike) -> Path:
    """The folder that a source means: itself, or the snapshot of a data set on the Hub.

    Of a data set on the Hub only files of rows are fetched: nothing is unpacked, and the paths and addresses that its
    metadata name are not followed.
    """
    path = Path(source)
    if path.exists() or not _HUB_NAME.fullmatch(str(source)) or path.suffix in FORMATS:
        return path
    try:
        patterns = [f"*{suffix}" for suffix in FORMATS]
        return Path(snapshot_download(str(source), repo_type="dataset", allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise DataError(
            "There is no such folder, and no data set of this name could be fetched from the Hub "
            f"({type(error).__name__}).",
            place=str(source),
            fix=_NAME_A_FOLDER,
        ) from None


def find_split_file(folder: Path, split: str, patterns: Sequence[str]) -> Path | None:
    """The one file of a split in a folder, or `None`; a `DataError` where several fit.

    Each of the patterns, such as `"mnre_{split}.txt"`, is tried with every alias of the split, in any case.
    """
    names = {pattern.format(split=alias).lower() for pattern in patterns for alias in SPLIT_ALIASES[split]}
    found = [path for path in _files_of(folder) if path.name.lower() in names]
    if len(found) > 1:
        raise _several(found, split, folder)
    return inside(found[0], folder) if found else None


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []


def _several(paths: Sequence[Path], split: str, folder: Path) -> DataError:
    message = f"Several files could be the {split} split: {', '.join(path.name for path in paths)}."
    return DataError(message, place=str(folder), fix="Leave only one of them in the folder.")


def refuse_similar_names(folder: Path, read: Sequence[Path], names: Sequence[str], example: str) -> None:
    """Raise a `DataError` for a data file that is not `read` and has nearly such a name, so that none is missed.

    `names` are first words of names, such as `"captions"` or `"train"`; `example` is a whole name, for the message.
    """
    for path in _files_of(folder):
        word, *rest = re.split(r"[-_.\s]", path.name.lower())
        if path in read or "provenance" in rest or DATA_SUFFIXES.isdisjoint(f".{part}" for part in rest[-2:]):
            continue
        if word.startswith(tuple(names)) or difflib.get_close_matches(word, names, cutoff=0.75):
            message = "The name is nearly that of a file that is read, and this file is not."
            if (suffix := path.suffix.lower()) not in (*FORMATS, *ARCHIVES):
                message = f"Files that end in {suffix} are not read."
            raise DataError(message, place=str(path), fix=f"Name it like {example}, or move it out of the folder.")


def find_split_files(source: str | os.PathLike) -> dict[str, list[Path]]:
    """The files of rows of `train`, `validation` and `test`, of those that are there.

    Args:
        source (`str` or `os.PathLike`): A folder with `train.jsonl`, `dev.txt`, `test-00000-of-00002.parquet` and so
            on, in itself or in its folder `data`, or with the folders `train`, `dev` and `test`; a folder that
            `save_to_disk` wrote; or the name of a data set on the Hub.

    Raises:
        DataError: There is none, a split could be one of several files, a shard is missing, a file is a link that
            leads out of the folder, an archive, or has nearly the name of a split.
    """
    folder = fetch_hub_folder(source)
    if folder.is_file():
        fix = f"Put it into a folder as train{folder.suffix}, and name the folder."
        raise DataError("The source is a file.", place=str(folder), fix=fix)
    if not folder.is_dir():
        raise DataError("There is no such folder.", place=str(folder), fix=_NAME_A_FOLDER)
    found = saved_splits(folder)
    for place in (folder, folder / "data", folder / "default"):
        found = found or _named_files(place, folder)
    if found:
        return {split: found[split] for split in SPLIT_ALIASES if split in found}
    if packed := sorted(path for path in folder.rglob("*") if path.suffix.lower() in ARCHIVES):
        message = "Archives are not unpacked: the size and the paths of what is in one are not known."
        raise DataError(message, place=str(packed[0]), fix="Unpack it by hand, and move it out of the folder.")
    fix = "Name them train, validation (valid, val, dev) and test, for example train.jsonl."
    raise DataError("There are no files of splits here.", place=str(folder), fix=fix)


def _named_files(place: Path, root: Path) -> dict[str, list[Path]]:
    """Files of a folder that are named after splits, or files in its folders that are."""
    groups: dict[str, dict[tuple[str, str], dict[int, tuple[Path, int]]]] = defaultdict(lambda: defaultdict(dict))
    for path in _files_of(place):
        match = _SPLIT_FILE.fullmatch(path.stem) if path.suffix.lower() in FORMATS else None
        if match:
            alias = match[1].lower()
            groups[_NAMES[alias]][alias, path.suffix.lower()][int(match[2] or 0)] = (path, int(match[3] or 0))
    found: dict[str, list[Path]] = {}
    for split, candidates in groups.items():
        if len(candidates) > 1:
            raise _several([path for shards in candidates.values() for path, _ in shards.values()], split, place)
        (shards,) = candidates.values()
        expected = max(total for _, total in shards.values())
        if expected and set(shards) != set(range(expected)):
            raise DataError(f"{len(shards)} of the {expected} files of the {split} split are there.", place=str(place))
        found[split] = [inside(shards[number][0], root) for number in sorted(shards)]
    if not found and place.is_dir():
        for child in sorted(path for path in place.iterdir() if path.is_dir() and path.name.lower() in _NAMES):
            split = canonical_split(child.name)
            if split in found:
                raise DataError(f"Two folders are both {split}.", place=str(child), fix="Keep one of them.")
            rows = [path for path in sorted(child.rglob("*")) if path.suffix in FORMATS and path.is_file()]
            if rows and len({path.suffix for path in rows}) == 1:
                found[split] = [inside(path, root) for path in rows]
    read = [path for paths in found.values() for path in paths]
    refuse_similar_names(place, read, [*_NAMES], "train.jsonl, valid.jsonl or test.jsonl")
    return found


def saved_splits(folder: Path) -> dict[str, list[Path]]:
    """The Arrow files of the splits in a folder that `save_to_disk` wrote; none for another folder.

    Raises:
        DataError: A description there is not what `save_to_disk` writes, or names a file elsewhere.
    """
    described = folder / "dataset_dict.json"
    if not described.is_file():
        return {"train": _saved_files(folder, folder)} if (folder / "state.json").is_file() else {}
    value = read_json(described, MAX_DESCRIPTION_BYTES)
    names = value.get("splits") if isinstance(value, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) and name.lower() in _NAMES for name in names):
        fix = "Name them train, validation (valid, val, dev) and test."
        raise DataError(f"The splits are {str(names)[:60]}.", place=str(described), fix=fix)
    splits = [canonical_split(name) for name in names]
    if twice := [split for split in splits if splits.count(split) > 1]:
        raise DataError(f"Two splits are both {twice[0]}.", place=str(folder), fix="Keep one of them.")
    return {split: _saved_files(folder / name, folder) for split, name in zip(splits, names, strict=True)}


def _saved_files(folder: Path, root: Path) -> list[Path]:
    state = folder / "state.json"
    described = read_json(inside(state, root), MAX_DESCRIPTION_BYTES)
    files = described.get("_data_files") if isinstance(described, dict) else None
    names = [file.get("filename") if isinstance(file, dict) else None for file in files or ()]
    paths = [folder / name for name in names if isinstance(name, str) and Path(name).name == name]
    if not paths or len(paths) < len(names) or not all(path.is_file() and path.suffix == ".arrow" for path in paths):
        raise DataError("The file is not what save_to_disk writes.", place=str(state), fix="Save the data set again.")
    if described.get("_indices_data_files"):
        fix = "Call flatten_indices(), then save."
        raise DataError("The split has an index of its own.", place=str(state), fix=fix)
    return [inside(path, root) for path in paths]

"""Which files of a folder hold which split; a folder that came from elsewhere cannot name files outside of itself."""

import os
import re
from collections import defaultdict
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from modeling_cotpd.data.files import SPLIT_ALIASES, inside, read_json, refuse_similar_names
from modeling_cotpd.errors import DataError

RECORD_SUFFIXES = (".txt", ".conll", ".tsv", ".jsonl", ".json", ".parquet", ".arrow")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".lzma", ".zst", ".lz4", ".7z", ".rar")
SAVED_FILES = ("dataset_dict.json", "state.json")
"""What `save_to_disk` writes: one for a folder of splits, one for a split."""
_NAMES = {alias: split for split, aliases in SPLIT_ALIASES.items() for alias in aliases}
_SPLIT_FILE = re.compile(rf"({'|'.join(_NAMES)})(?:[-_.](\d+)(?:-of-(\d+))?)?", re.IGNORECASE)
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def fetch_hub_folder(source: str | os.PathLike) -> Path:
    """The folder that a source means: itself, or the snapshot of a data set on the Hub.

    Of a data set on the Hub only files of rows are fetched: nothing is unpacked, and the paths and addresses that its
    metadata name are not followed.

    Raises:
        DataError: There is neither.
    """
    path = Path(source)
    if path.exists() or not _HUB_NAME.fullmatch(str(source)) or path.suffix in RECORD_SUFFIXES:
        return path
    try:
        patterns = [f"*{suffix}" for suffix in RECORD_SUFFIXES]
        return Path(snapshot_download(str(source), repo_type="dataset", allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise DataError(
            "There is no such folder, and no data set of this name could be fetched from the Hub "
            f"({type(error).__name__}).",
            place=str(source),
            fix="Name a folder with files such as train.jsonl, train.parquet or train.txt, or a data set on the Hub.",
        ) from None


def find_split_files(source: str | os.PathLike) -> dict[str, list[Path]]:
    """The files of rows of each split.

    Args:
        source (`str` or `os.PathLike`): A folder with `train.jsonl`, `dev.txt`, `test-00000-of-00002.parquet` and so
            on, in itself or in its folder `data`, or with the folders `train`, `dev` and `test`; a folder that
            `save_to_disk` wrote; or the name of a data set on the Hub.

    Returns:
        `dict[str, list[Path]]`: Of the splits `train`, `validation` and `test` those that are there, in this order.

    Raises:
        DataError: There is none, a split could be one of several files, a shard is missing, a file is a link that
            leads out of the folder, an archive, or has nearly the name of a split.
    """
    folder = fetch_hub_folder(source)
    if folder.is_file():
        raise DataError(
            "The source is a file.", place=str(folder), fix="Name its folder, and the files train, valid and test."
        )
    if not folder.is_dir():
        raise DataError(
            "There is no such folder.",
            place=str(folder),
            fix="Name a folder with files such as train.jsonl, train.parquet or train.txt, or a data set on the Hub.",
        )
    found = saved_splits(folder) if any((folder / name).is_file() for name in SAVED_FILES) else {}
    for place in (folder, folder / "data", folder / "default"):
        found = found or _named_files(place, folder)
    if not found:
        packed = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ARCHIVES)
        if packed:
            raise DataError(
                "Archives are not unpacked: the size and the paths of what is in one are not known.",
                place=str(packed[0]),
                fix="Unpack it by hand, and move it out of the folder.",
            )
        raise DataError(
            "There are no files of splits here.",
            place=str(folder),
            fix="Name them train, validation (valid, val, dev) and test, for example train.jsonl.",
        )
    return {split: found[split] for split in SPLIT_ALIASES if split in found}


def _named_files(place: Path, root: Path) -> dict[str, list[Path]]:
    """Files of a folder that are named after splits, or files in its folders that are."""
    groups: dict[str, dict[tuple[str, str], dict[int, tuple[Path, int]]]] = defaultdict(lambda: defaultdict(dict))
    files = (
        [path for path in sorted(place.iterdir()) if path.suffix.lower() in RECORD_SUFFIXES] if place.is_dir() else []
    )
    for path in files:
        match = _SPLIT_FILE.fullmatch(path.stem)
        if match and path.is_file():
            alias = match.group(1).lower()
            shards = groups[_NAMES[alias]][alias, path.suffix.lower()]
            shards[int(match.group(2) or 0)] = (path, int(match.group(3) or 0))
    found: dict[str, list[Path]] = {}
    for split, candidates in groups.items():
        if len(candidates) > 1:
            names = [path.name for shards in candidates.values() for path, _ in shards.values()]
            raise DataError(
                f"Several files could be the {split} split: {', '.join(names)}.",
                place=str(place),
                fix="Leave only one of them in the folder.",
            )
        (shards,) = candidates.values()
        expected = max(total for _, total in shards.values())
        if expected and set(shards) != set(range(expected)):
            raise DataError(f"{len(shards)} of the {expected} files of the {split} split are there.", place=str(place))
        found[split] = [inside(shards[number][0], root) for number in sorted(shards)]
    if not found and place.is_dir():
        for child in sorted(path for path in place.iterdir() if path.is_dir() and path.name.lower() in _NAMES):
            split = _NAMES[child.name.lower()]
            if split in found:
                raise DataError(f"Two folders are both {split}.", place=str(child), fix="Keep one of them.")
            rows = [path for path in sorted(child.rglob("*")) if path.suffix in RECORD_SUFFIXES and path.is_file()]
            if rows and len({path.suffix for path in rows}) == 1:
                found[split] = [inside(path, root) for path in rows]
    read = [path for paths in found.values() for path in paths]
    refuse_similar_names(place, read, [*_NAMES], "train.jsonl, valid.jsonl or test.jsonl")
    return found


def saved_splits(folder: Path) -> dict[str, list[Path]]:
    """The Arrow files of the splits in a folder that `save_to_disk` wrote.

    Raises:
        DataError: A description there is not what `save_to_disk` writes, or names a file elsewhere.
    """
    if not (folder / "dataset_dict.json").is_file():
        return {"train": _saved_files(folder, folder)}
    described = read_json(folder / "dataset_dict.json", limit=1 << 24)
    names = described.get("splits") if isinstance(described, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) and name.lower() in _NAMES for name in names):
        raise DataError(
            f"The splits are {str(names)[:60]}.",
            place=str(folder / "dataset_dict.json"),
            fix="Name them train, validation (valid, val, dev) and test.",
        )
    splits = [_NAMES[name.lower()] for name in names]
    if len(set(splits)) < len(splits):
        raise DataError(f"Two splits are both {splits[0]}.", place=str(folder), fix="Keep one of them.")
    return {split: _saved_files(folder / name, folder) for split, name in zip(splits, names, strict=True)}


def _saved_files(folder: Path, root: Path) -> list[Path]:
    state = folder / "state.json"
    described = read_json(inside(state, root), limit=1 << 24)
    files = described.get("_data_files") if isinstance(described, dict) else None
    names = [file.get("filename") if isinstance(file, dict) else None for file in files or ()]
    paths = [folder / name for name in names if isinstance(name, str) and Path(name).name == name]
    if not paths or len(paths) < len(names) or not all(path.is_file() and path.suffix == ".arrow" for path in paths):
        raise DataError("The file is not what save_to_disk writes.", place=str(state), fix="Save the data set again.")
    if described.get("_indices_data_files"):
        raise DataError(
            "The split has an index of its own.", place=str(state), fix="Call flatten_indices(), then save."
        )
    return [inside(path, root) for path in paths]

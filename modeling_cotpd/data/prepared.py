"""A prepared folder: one Parquet file per split and `dataset.json`, which says where everything came from."""

import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow
import pyarrow.compute
from datasets import ClassLabel, Dataset, DatasetDict, Features, LargeList, List, Value
from datasets.exceptions import DatasetGenerationError
from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError

from modeling_cotpd.data.files import read_json
from modeling_cotpd.data.folders import MAX_DESCRIPTION_BYTES, inside
from modeling_cotpd.data.glosses import glosses_of
from modeling_cotpd.data.parquet import BROKEN, read_batches, read_features
from modeling_cotpd.data.schema import (
    KNOWLEDGE_COLUMNS,
    LABEL_COLUMNS,
    PAIR,
    SPLITS,
    features_for,
    gold_hash,
    label_names_of,
    task_of,
)
from modeling_cotpd.errors import DataError, one_line
from modeling_cotpd.files import whole_folder, write_json
from modeling_cotpd.text_safety import without_secrets

METADATA_FILE = "dataset.json"
AGAIN = "Prepare the folder again."
_SPLIT_NAME = re.compile(r"\w+(?:[.-]\w+)*")


@strict
@dataclass
class DatasetInfo:
    """What `dataset.json` holds.

    Args:
        name (`str`): The data set, such as `twitter2017`.
        task (`str`): `"mner"` or `"mre"`.
        label_names (`list[str]`): Tag or relation names in id order.
        sources (`dict[str, str]`): File name to sha256 of every file that was read.
        captioner (`str`): Which captioner the `caption` column is from; empty without captions.
        knowledge (`str`): Where the chain-of-thought columns are from; empty without knowledge.
        splits (`dict[str, dict]`): Per split the number of `rows` and the `gold_hash`; filled when written.
        augmentation (`dict`): How the training split was augmented, and how many samples were accepted; empty when it
            was not.
        provenance (`dict`): How captions and explanations were made, as far as it was recorded: `captions` holds the
            captioner's settings, `knowledge` a list with teacher, mode and prompts of each elicitation.
    """

    name: str
    task: str
    label_names: list[str]
    sources: dict[str, str] = field(default_factory=dict)
    captioner: str = ""
    knowledge: str = ""
    splits: dict[str, dict] = field(default_factory=dict)
    augmentation: dict = field(default_factory=dict)
    provenance: dict = field(default_factory=dict)

    def validate_values(self) -> None:
        """Raise a `ValueError` for what the types of the fields do not show."""
        if self.task not in LABEL_COLUMNS:
            raise ValueError(f"the task is {self.task!r:.60}")
        if not all(self.label_names) or len(set(self.label_names)) < len(self.label_names):
            raise ValueError("the label names are not different texts")
        for name, facts in self.splits.items():
            rows = facts.get("rows")
            if not _SPLIT_NAME.fullmatch(name):
                raise ValueError(f"{name!r:.60} is no name of a split")
            if type(rows) is not int or rows < 0 or not isinstance(facts.get("gold_hash"), str):
                raise ValueError(f"the split {name!r} has no number of rows or no hash")
        if not isinstance(self.provenance.get("knowledge", []), list):
            raise ValueError("'provenance' holds no list of elicitations")


def sample_rows(split: Dataset, rows: int, seed: int) -> Dataset:
    """A random sample; with the same seed, a smaller one is the beginning of a larger one."""
    return split.shuffle(seed=seed).select(range(rows))


def write_prepared(
    splits: dict[str, Dataset], info: DatasetInfo, out: str | os.PathLike, overwrite: bool = False
) -> DatasetInfo:
    """Write splits as a prepared folder, all of it or nothing.

    User names, passwords and queries of URLs in `info` are not written.

    Args:
        splits (`dict[str, Dataset]`): The records by split.
        info (`DatasetInfo`): What `dataset.json` holds; `splits` is filled here.
        out (`str` or `os.PathLike`): The folder.
        overwrite (`bool`, *optional*, defaults to `False`): Replace a prepared folder; one with other files never is.

    Raises:
        SettingError: `out` exists and is not empty, or is no prepared folder, or another process writes it.
    """
    with whole_folder(out, is_replaceable if overwrite else None) as staging:
        info.splits = {name: {"rows": len(split), "gold_hash": gold_hash(split)} for name, split in splits.items()}
        written = DatasetInfo(**without_secrets(asdict(info)))
        for name, split in splits.items():
            split.to_parquet(staging / f"{name}.parquet")
        write_json(staging / METADATA_FILE, asdict(written))
    return written


def is_replaceable(path: Path) -> bool:
    """Whether an entry of a folder is what `write_prepared` writes."""
    return path.is_file() and (path.name == METADATA_FILE or path.suffix == ".parquet")


def read_info(folder: str | os.PathLike) -> DatasetInfo:
    """Read `dataset.json`, without user names, passwords and queries of URLs.

    Raises:
        DataError: The folder has none, or one that `write_prepared` does not write.
    """
    metadata = Path(folder) / METADATA_FILE
    if not metadata.is_file():
        fix = "Make the folder with: cotpd prepare NAME --source DIR --out DIR"
        raise DataError(f"There is no {METADATA_FILE} here.", place=str(folder), fix=fix)
    found = read_json(inside(metadata, Path(folder)), MAX_DESCRIPTION_BYTES)
    try:
        return DatasetInfo(**without_secrets(found))
    except (TypeError, StrictDataclassError) as error:
        message = f"The file is not what cotpd prepare writes ({one_line(error)})."
        raise DataError(message, place=str(metadata), fix=AGAIN) from None


def read_prepared(folder: str | os.PathLike) -> tuple[DatasetDict, DatasetInfo]:
    """Read a prepared folder back.

    Raises:
        DataError: The folder is not a prepared one, or a split does not fit its `dataset.json`.

    Example:
        >>> splits, info = read_prepared("data/twitter2017")  # doctest: +SKIP
        >>> splits["train"][0]["tokens"]  # doctest: +SKIP
    """
    folder = Path(folder)
    info = read_info(folder)
    splits = DatasetDict()
    for name in sorted(info.splits, key=lambda name: SPLITS.index(name) if name in SPLITS else len(SPLITS)):
        path = folder / f"{name}.parquet"
        if not path.is_file():
            raise DataError(f"{METADATA_FILE} names the split {name!r}, but its file is missing.", place=str(path))
        split = _read_split(inside(path, folder), info)
        said = info.splits[name]["rows"]
        if len(split) != said:
            message = f"The file has {len(split)} rows, {METADATA_FILE} says {said}."
            raise DataError(message, place=str(path), fix=AGAIN)
        splits[name] = split
    return splits, info


def _read_split(path: Path, info: DatasetInfo) -> Dataset:
    features = read_features(path, AGAIN)
    fits = task_of(features) == info.task and label_names_of(features) == info.label_names
    wanted = features_for(info.task, info.label_names)
    glosses = wanted.pop("glosses")
    if not fits or any(name not in features for name in wanted):
        raise DataError(f"Task or labels differ from {METADATA_FILE}.", place=str(path), fix=AGAIN)
    # Other kinds of features, such as Image, open the files and addresses that a row names.
    odd = [name for name, kind in features.items() if not _is_plain(kind)]
    odd += [name for name in wanted if _shape(features[name]) != _shape(wanted[name])]
    if odd:
        raise DataError(f"The column {odd[0]!r} is not of its kind.", place=str(path), fix=AGAIN)
    try:
        for number, batch in enumerate(read_batches(path)):
            _check_batch(batch, info, f"{path}, batch {number}")
        split = Dataset.from_parquet(str(path))
    except (DatasetGenerationError, *BROKEN) as error:
        raise DataError("The file is not Parquet.", place=str(path), fix=AGAIN) from error
    if "glosses" in features:
        return split
    # prepared before the column existed
    return split.map(_add_glosses, features=Features({**split.features, "glosses": glosses}), desc="Glosses")


def _add_glosses(row: dict) -> dict:
    return {"glosses": glosses_of(row)}


def _is_plain(kind) -> bool:
    if isinstance(kind, dict):
        return all(map(_is_plain, kind.values()))
    return _is_plain(kind.feature) if isinstance(kind, List | LargeList) else isinstance(kind, Value | ClassLabel)


def _shape(kind) -> object:
    """A feature without the width of its numbers and texts."""
    if isinstance(kind, dict):
        return {name: _shape(inner) for name, inner in kind.items()}
    if isinstance(kind, List | LargeList):
        return [_shape(kind.feature)]
    return kind.names if isinstance(kind, ClassLabel) else kind.dtype.removeprefix("large_").rstrip("0123456789")


def _check_batch(batch: pyarrow.RecordBatch, info: DatasetInfo, spot: str) -> None:
    """Raise a `DataError` unless labels are ids of label names and the gold fits the tokens."""
    compute = pyarrow.compute
    tokens, gold = compute.list_value_length(batch["tokens"]), batch[LABEL_COLUMNS[info.task]]
    labels = gold.flatten() if info.task == "mner" else gold
    lowest, highest = compute.min_max(labels).as_py().values()
    if lowest is not None and not (lowest >= 0 and highest < len(info.label_names)):
        raise DataError(
            f"A label is {lowest if lowest < 0 else highest}, but there are {len(info.label_names)} labels.",
            place=spot,
            fix="The label of an unlabelled row is null.",
        )
    if info.task == "mner":
        fits = [compute.equal(compute.list_value_length(gold), tokens)]
        whole = [labels]
    else:
        ends = [(batch[side].field("start"), batch[side].field("end")) for side in PAIR]
        fits = [compute.greater_equal(start, 0) for start, _ in ends]
        fits += [compute.less(start, end) for start, end in ends]
        fits += [compute.less_equal(end, tokens) for _, end in ends]
        whole = [end for pair in ends for end in pair]
    whole += [batch["tokens"].flatten(), *(batch[name] for name in ("id", "tokens", *KNOWLEDGE_COLUMNS))]
    if any(each.null_count for each in whole) or any(compute.all(each).as_py() is False for each in fits):
        message = "The gold of a row does not fit its tokens, or a text is null."
        raise DataError(message, place=spot, fix=AGAIN)

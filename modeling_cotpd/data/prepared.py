"""A prepared folder: one Parquet file per split and `dataset.json`, which says where everything came from."""

import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from datasets import Dataset, DatasetDict, Features
from datasets.exceptions import DatasetGenerationError

from modeling_cotpd.data.glosses import parse_noun_list
from modeling_cotpd.data.parquet import BROKEN
from modeling_cotpd.data.schema import SPLITS, features_for, gold_hash, label_names_of, task_of
from modeling_cotpd.errors import DataError

METADATA_FILE = "dataset.json"


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


def sample_rows(split: Dataset, rows: int, seed: int) -> Dataset:
    """A random sample; with the same seed, a smaller one is the beginning of a larger one."""
    return split.shuffle(seed=seed).select(range(rows))


def write_prepared(splits: dict[str, Dataset], info: DatasetInfo, out: str | os.PathLike) -> DatasetInfo:
    """Write splits as a prepared folder, all of it or nothing.

    The files are written beside `out` first and moved there when complete, so that no half-written split ever
    stands under its final name.

    Raises:
        DataError: `out` exists and is not empty.
    """
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise DataError("The output folder is not empty.", place=str(out), fix="Name a new folder or empty this one.")
    info.splits = {name: {"rows": len(split), "gold_hash": gold_hash(split)} for name, split in splits.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for name, split in splits.items():
            split.to_parquet(staging / f"{name}.parquet")
        (staging / METADATA_FILE).write_text(json.dumps(asdict(info), indent=2, ensure_ascii=False) + "\n", "utf-8")
        staging.chmod(0o755)
        if out.exists():
            out.rmdir()
        staging.rename(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return info


def read_info(folder: str | os.PathLike) -> DatasetInfo:
    """Read the `dataset.json` of a prepared folder.

    Raises:
        DataError: The folder is not a prepared one.
    """
    folder = Path(folder)
    metadata = folder / METADATA_FILE
    if not metadata.is_file():
        raise DataError(
            f"There is no {METADATA_FILE} here.",
            place=str(folder),
            fix="Make the folder with: cotpd prepare NAME --source DIR --out DIR",
        )
    try:
        return DatasetInfo(**json.loads(metadata.read_text("utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(
            f"The file is not what cotpd prepare writes ({error}).",
            place=str(metadata),
            fix="Prepare the folder again.",
        ) from error


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
    for name in [*SPLITS, *(name for name in info.splits if name not in SPLITS)]:
        if name not in info.splits:
            continue
        path = folder / f"{name}.parquet"
        if not path.is_file():
            raise DataError(f"{METADATA_FILE} names the split {name!r}, but its file is missing.", place=str(path))
        try:
            split = Dataset.from_parquet(str(path))
        except (DatasetGenerationError, *BROKEN) as error:
            raise DataError("The file is not Parquet.", place=str(path), fix="Prepare the folder again.") from error
        if task_of(split.features) != info.task or label_names_of(split.features) != info.label_names:
            raise DataError(
                f"Task or labels differ from {METADATA_FILE}.", place=str(path), fix="Prepare the folder again."
            )
        if len(split) != info.splits[name]["rows"]:
            raise DataError(
                f"The file has {len(split)} rows, {METADATA_FILE} says {info.splits[name]['rows']}.",
                place=str(path),
                fix="Prepare the folder again.",
            )
        splits[name] = with_glosses(split)
    return splits, info


def with_glosses(split: Dataset) -> Dataset:
    """Add the column `glosses`, read from `cot_noun`, to a split that was prepared before the column existed."""
    if "glosses" in split.column_names:
        return split
    features = Features({**split.features, "glosses": features_for("mner", ())["glosses"]})
    return split.map(_noun_glosses, batched=True, features=features, desc="Glosses")


def _noun_glosses(batch: dict[str, list]) -> dict[str, list]:
    return {"glosses": [parse_noun_list(text) for text in batch["cot_noun"]]}

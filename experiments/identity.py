"""What makes two runs the same: hashes over settings and data."""

import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet

WITHOUT_EFFECT = frozenset(
    {
        "output_dir", "dataset_dir", "unlabelled_dataset_dir", "overwrite_output_dir", "resume_from_checkpoint",
        "logging_steps", "logging_strategy", "logging_first_step", "report_to", "run_name", "disable_tqdm",
        "log_level", "log_level_replica", "preprocessing_num_workers", "dataloader_num_workers",
        "dataloader_pin_memory", "per_device_eval_batch_size", "eval_accumulation_steps", "save_total_limit",
        "save_only_model", "use_cpu", "cache_dir", "push_to_hub", "hub_model_id", "attn_implementation",
    }
)  # fmt: skip
"""Settings that say where and how verbosely a run works. Folders count by what they hold."""


def digest(value: Any) -> str:
    """sha256 of a value's JSON with sorted keys, 64 hex digits."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def with_effect(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that change the outcome of a run; one that is `None` is the same as one left out."""
    return {name: value for name, value in settings.items() if name not in WITHOUT_EFFECT and value is not None}


@functools.cache
def data_hash(folder: Path) -> str:
    """sha256 over all rows of a prepared folder (gold labels, captions, knowledge), however Parquet lays them out."""
    info = json.loads((folder / "dataset.json").read_text("utf-8"))
    result = hashlib.sha256(json.dumps([info["task"], info["label_names"]]).encode())
    for split in sorted(info["splits"]):
        result.update(split.encode())
        for batch in pyarrow.parquet.ParquetFile(folder / f"{split}.parquet").iter_batches():
            for row in batch.to_pylist():
                result.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return result.hexdigest()


def slug(*parts: object) -> str:
    """Parts as one lower-case file name."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(str(part) for part in parts).lower()).strip("-")[:80] or "run"

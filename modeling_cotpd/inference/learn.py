"""Posts that were explained on demand become unlabelled training posts for the next student."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from datasets import concatenate_datasets

from modeling_cotpd.data.prepared import read_prepared, write_prepared
from modeling_cotpd.data.schema import COT_COLUMNS, make_split, task_of
from modeling_cotpd.data.values import cut
from modeling_cotpd.errors import DataError


def add_explained(predictions: str | os.PathLike, dataset_dir: str | os.PathLike, out: str | os.PathLike) -> int:
    """Add the explained posts of a prediction file to a training split, without labels.

    Args:
        predictions (`str` or `os.PathLike`): What `cotpd predict` with knowledge on demand wrote, for entities.
        dataset_dir (`str` or `os.PathLike`): A prepared folder.
        out (`str` or `os.PathLike`): A new prepared folder. Its training split has the labelled posts first.

    Returns:
        How many posts were added. A post whose text is in the folder already, in any split, is left out.

    Raises:
        DataError: The folder is for relations or has no training split, or the file has no explained posts.
    """
    splits, info = read_prepared(dataset_dir)
    if "train" not in splits or task_of(splits["train"].features) != "mner":
        raise DataError(
            "There is no training split for entities.", place=str(dataset_dir), fix="Name a prepared folder."
        )
    known = {" ".join(tokens) for split in splits.values() for tokens in split["tokens"]}
    rows: list[dict] = []
    for row in _explained(Path(predictions)):
        tokens = [row["text"][start:end] for start, end in cut(row["text"])]
        if tokens and " ".join(tokens) not in known:
            known.add(" ".join(tokens))
            rows.append({"id": f"asked-{len(rows)}", "tokens": tokens, "ner_tags": None, **row["knowledge"]})
    if not rows:
        raise DataError(
            "The file has no explained posts that are new.", place=str(predictions), fix="Predict with --ask-teacher."
        )
    added = make_split(rows, "mner", info.label_names, str(predictions)).cast(splits["train"].features)
    joined = {**splits, "train": concatenate_datasets([splits["train"], added])}
    note = f"{len(rows)} unlabelled posts explained on demand"
    write_prepared(joined, replace(info, knowledge="; ".join(filter(None, (info.knowledge, note)))), out)
    return len(rows)


def _explained(path: Path) -> Iterator[dict]:
    with path.open("rb") as file:
        for line in file:
            row = json.loads(line)
            if any(row.get("knowledge", {}).get(name) for name in (*COT_COLUMNS, "glosses")):
                yield row

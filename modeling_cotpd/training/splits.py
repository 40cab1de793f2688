"""The splits of a run: sampled, stripped of labels where asked, joined with unlabelled posts, coverage logged."""

import difflib
import logging
from collections.abc import Iterable, Sequence

from datasets import Dataset, DatasetDict, concatenate_datasets

from modeling_cotpd.data.duplicates import identity
from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, sample_rows
from modeling_cotpd.data.records import records_of
from modeling_cotpd.data.schema import (
    KNOWLEDGE_COLUMNS,
    LABEL_COLUMNS,
    declared_label_names,
    features_for,
    labels_of,
    make_split,
    task_of,
)
from modeling_cotpd.errors import DataError
from modeling_cotpd.training.arguments import DataArguments

logger = logging.getLogger(__name__)


def load_splits(arguments: DataArguments, task: str, labelled_only: bool = False) -> tuple[DatasetDict, DatasetInfo]:
    """Read the prepared folder of a run and select its rows."""
    splits, info = read_prepared(arguments.dataset_dir)
    if info.task != task:
        fix = f"Use run_{info.task}.py."
        raise DataError(f"This is a data set for {info.task}, not for {task}.", place=arguments.dataset_dir, fix=fix)
    if arguments.max_train_samples is not None and info.augmentation:
        logger.warning(
            "max_train_samples draws from original and augmented posts alike. "
            "To augment a sample, use: cotpd augment --max-train-samples N"
        )
    for name, split in splits.items():
        splits[name] = split.select_columns(list(features_for(task, info.label_names)))
    if "train" in splits:
        train = splits["train"]
        rows = min(len(train), arguments.max_train_samples or len(train))
        labelled = min(rows, arguments.max_labelled_samples or rows)
        if labelled < len(train):
            train = sample_rows(train, rows, arguments.sample_seed)
        if labelled < rows:
            rest = train.select(range(labelled, rows))
            train = concatenate_datasets([train.select(range(labelled)), without_labels(rest, train)])
        more = [without_labels(split, train) for split in unlabelled_splits(arguments)]
        warn_of_evaluation_posts(splits, more)
        train = concatenate_datasets([train, *more])
        splits["train"] = labelled_rows(train) if labelled_only else train
    for name, limit in (("validation", arguments.max_eval_samples), ("test", arguments.max_predict_samples)):
        if name in splits and limit is not None:
            splits[name] = splits[name].select(range(min(limit, len(splits[name]))))
    for name, split in splits.items():
        log_coverage(name, split, arguments.knowledge_columns)
    return splits, info


def labelled_rows(split: Dataset) -> Dataset:
    """The rows that have a label. A run without a KL term trains on these alone: nothing teaches the others."""
    places = [place for place, label in enumerate(labels_of(split)) if label is not None]
    if not places:
        fix = "Label some rows, or name finished models in distill_from."
        raise DataError("No training row has a label, and nothing else teaches this run.", fix=fix)
    if len(places) < len(split):
        logger.info("train: %d rows without labels are left out; they teach by KL alone.", len(split) - len(places))
    return split.select(places)


def unlabelled_splits(arguments: DataArguments) -> list[Dataset]:
    """`unlabelled_splits` of every folder of `unlabelled_dataset_dir`, still with their labels."""
    found = []
    for folder in arguments.unlabelled_dataset_dir or ():
        other, _ = read_prepared(folder)
        for name in arguments.unlabelled_splits:
            if name not in other:
                fix = f"It has {', '.join(other)}: name those that shall join in unlabelled_splits."
                raise DataError(f"This folder has no {name} split.", place=folder, fix=fix)
            found.append(other[name])
    return found


def warn_of_evaluation_posts(splits: DatasetDict, joining: list[Dataset]) -> None:
    """Log a warning when rows that join training are posts of an evaluation split: scores are transductive then."""
    seen = {identity(tokens) for split in joining for tokens in split["tokens"]}
    for name in ("validation", "test"):
        shared = sum(identity(tokens) in seen for tokens in splits[name]["tokens"]) if seen and name in splits else 0
        if shared:
            logger.warning(
                "%s: %d of its %d posts join training without their labels: its scores are transductive.",
                name, shared, len(splits[name]),
            )  # fmt: skip


def without_labels(split: Dataset, like: Dataset) -> Dataset:
    """The rows with their labels set to `None` and the features of another split, so that the two can be joined."""
    if task_of(split.features) != task_of(like.features):
        raise DataError("Unlabelled rows of one task cannot join a data set of the other.")
    column = LABEL_COLUMNS[task_of(like.features)]
    rest = split.select_columns([name for name in like.features if name != column])
    return rest.add_column(column, [None] * len(rest), feature=like.features[column]).cast(like.features)


def log_coverage(name: str, split: Dataset, columns: list[str]) -> None:
    """Log how many rows have a label and each knowledge column; warn when a column in use is empty throughout."""
    filled = {column: sum(1 for text in split[column] if text) for column in columns}
    logger.info(
        "%s: %d rows, %d labelled; %s", name, len(split), sum(label is not None for label in labels_of(split)),
        ", ".join(f"{column} {count}" for column, count in filled.items()) or "no knowledge columns",
    )  # fmt: skip
    for column, count in filled.items():
        if count == 0 and any(filled.values()):  # a run without any knowledge says so in one sentence
            logger.warning(
                "%s: no row has %s. Drop it from knowledge_columns or prepare the data with it.", name, column
            )


def filled_columns(splits: Iterable[Dataset], columns: Sequence[str] = KNOWLEDGE_COLUMNS) -> list[str]:
    """Return those of the knowledge columns that have a text in some row."""
    splits = list(splits)
    return [name for name in columns if any(any(split[name]) for split in splits)]


def as_records(dataset: Dataset, task: str, label_names: Sequence[str], source: str) -> Dataset:
    """Turn a dataset with a record's columns into complete records; optional columns may be missing.

    Labels are names, or ids of a `ClassLabel`, or ids of `label_names`. Messages call the dataset `source`.

    Raises:
        DataError: A column is missing or misspelt, or a row breaks the record's rules; the message names it.
    """
    features = features_for(task, label_names)
    if dataset.features == features:
        return dataset
    for name in dataset.column_names:
        near = [] if name in features else difflib.get_close_matches(name, list(features), n=1, cutoff=0.8)
        if near and near[0] not in dataset.column_names:
            raise DataError(f"Unknown column {name!r}.", place=source, fix=f"Did you mean {near[0]!r}?")
    rows = ((row, f"{source}, row {number}") for number, row in enumerate(dataset.with_format(None)))
    names = declared_label_names(dataset.features, task) or label_names
    return make_split(records_of(rows, task, source, source, names), task, label_names, source)

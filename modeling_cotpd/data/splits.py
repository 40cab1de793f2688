"""The splits of a run: sampled, stripped of labels where asked, joined with unlabelled posts, coverage logged."""

import logging

from datasets import Dataset, DatasetDict, concatenate_datasets

from modeling_cotpd.arguments import DataArguments
from modeling_cotpd.data.duplicates import identity
from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, sample_rows
from modeling_cotpd.data.schema import features_for, task_of
from modeling_cotpd.errors import DataError

logger = logging.getLogger(__name__)


def load_splits(arguments: DataArguments, task: str) -> tuple[DatasetDict, DatasetInfo]:
    """Read the prepared folder of a run and select its rows.

    Args:
        arguments (`DataArguments`): What to read and how many rows.
        task (`str`): `"mner"` or `"mre"`.

    Raises:
        DataError: The folder is of the other task, or an unlabelled folder lacks a split of `unlabelled_splits`.
    """
    splits, info = read_prepared(arguments.dataset_dir)
    if info.task != task:
        raise DataError(
            f"This is a data set for {info.task}, not for {task}.",
            place=arguments.dataset_dir,
            fix=f"Use run_{info.task}.py.",
        )
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
        splits["train"] = concatenate_datasets([train, *more])
    for name, limit in (("validation", arguments.max_eval_samples), ("test", arguments.max_predict_samples)):
        if name in splits and limit is not None:
            splits[name] = splits[name].select(range(min(limit, len(splits[name]))))
    for name, split in splits.items():
        log_coverage(name, split, arguments.knowledge_columns)
    return splits, info


def labelled_rows(split: Dataset) -> Dataset:
    """The rows that have a label. A run without a KL term trains on these alone: nothing teaches the others.

    Raises:
        DataError: No row has a label.
    """
    label = split["ner_tags" if task_of(split.features) == "mner" else "relation"]
    places = [place for place, value in enumerate(label) if value is not None]
    if not places:
        raise DataError(
            "No training row has a label, and nothing else teaches this run.",
            fix="Label some rows, or name finished models in distill_from.",
        )
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
                raise DataError(
                    f"This folder has no {name} split.",
                    place=folder,
                    fix=f"It has {', '.join(other)}: name those that shall join in unlabelled_splits.",
                )
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
        raise DataError("Unlabelled rows of one task can not join a data set of the other.")
    column = "ner_tags" if task_of(like.features) == "mner" else "relation"
    return split.select_columns(list(like.features)).map(
        _empty_column, fn_kwargs={"column": column}, features=like.features, batched=True, desc="Unlabelled rows"
    )


def _empty_column(batch: dict[str, list], column: str) -> dict[str, list]:
    return {column: [None] * len(batch[column])}


def log_coverage(name: str, split: Dataset, columns: list[str]) -> None:
    """Log how many rows have a label and each knowledge column; warn when a column in use is empty throughout."""
    label = split["ner_tags" if task_of(split.features) == "mner" else "relation"]
    filled = {column: sum(1 for text in split[column] if text) for column in columns}
    logger.info(
        "%s: %d rows, %d labelled; %s", name, len(split), sum(1 for value in label if value is not None),
        ", ".join(f"{column} {count}" for column, count in filled.items()) or "no knowledge columns",
    )  # fmt: skip
    for column, count in filled.items():
        if count == 0:
            logger.warning(
                "%s: no row has %s. Drop it from knowledge_columns or prepare the data with it.", name, column
            )

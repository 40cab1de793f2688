"""Labels from lists for a whole prepared folder, and their scores on splits with gold labels."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from datasets import Dataset, Features, List, Value

from modeling_cotpd.data.bio import entities
from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, sample_rows, write_prepared
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.files import require_empty, staged_folder, write_json, write_json_lines
from modeling_cotpd.knowledge.list_labels import ListedMention, ListLabeller, bio_tags, found_entities
from modeling_cotpd.metrics.entity_score.entity_score import entity_scores

GOLD, LIST, UNLABELLED = "gold", "list", ""
"""Values of the column `label_source`."""
VIEW = "knowledge"
"""What the results of a training run call the view that reads knowledge."""
LABEL_COLUMNS = {
    "label_source": Value("string"),
    "list_entities": List(
        {"start": Value("int32"), "end": Value("int32"), "type": Value("string"), "score": Value("float32")}
    ),
}
REJECTS_FILE = "rejects.jsonl"


def label_folder(
    source: str | os.PathLike,
    out: str | os.PathLike,
    *,
    max_labelled_samples: int | None = None,
    sample_seed: int = 0,
    threshold: float | None = None,
    evaluate: bool = False,
) -> dict:
    """Copy a prepared MNER folder and label its unlabelled training posts from their glosses.

    Labelled posts keep their labels. A post of which no listed mention stands in the text stays unlabelled. The
    training split gets the columns `label_source` (`gold`, `list`, or empty for unlabelled) and `list_entities`
    (`start`, `end`, `type`, `score`). `rejects.jsonl` lists every mention that is no entity, with the reason.

    Args:
        source: The prepared folder.
        out: The new prepared folder.
        max_labelled_samples (`int`, *optional*), sample_seed (`int`): Use the labels of a random sample of this many
            training posts only, the same that a training run draws; those of the others are ignored and replaced.
        threshold (`float`, *optional*): The lowest score of an entity; cross-validation chooses it by default.
        evaluate (`bool`): Also write `results.json` and `predictions.SPLIT.jsonl` as a training run does: scores on
            the gold labels of every other split, and on the `unlabelled` training posts whose labels were ignored.

    Returns:
        `dict`: What `results.json` holds; `splits` is empty without `evaluate`.

    Raises:
        DataError: The folder is for another task, or has too few labelled or no unlabelled posts.
        SettingError: A setting is out of range, or `out` is not empty.
    """
    out = require_empty(out)
    splits, info = read_prepared(source)
    train = _training_split(splits, info, str(source))
    known = _labelled(train, max_labelled_samples, sample_seed)
    labelled, rest = (train.select([i for i, has in enumerate(known) if has is wanted]) for wanted in (True, False))
    if not len(rest) and not evaluate:
        raise DataError(
            "Every training post is labelled.", place=str(source), fix="Give --max-labelled-samples, or --evaluate."
        )
    labeller = ListLabeller(labelled, threshold)
    rows = labeller(rest)
    reasons = Counter(each.reason or "entity" for row in rows for each in row)
    made = {
        "method": "list labels",
        **labeller.report,
        "max_labelled_samples": max_labelled_samples,
        "sample_seed": sample_seed,
        "labelled_from_lists": sum(map(_has_candidate, rows)),
        "left_unlabelled": len(rows) - sum(map(_has_candidate, rows)),
        "listed_mentions": dict(reasons.most_common()),
    }
    about = {"task": info.task, "dataset": asdict(info), "reading": "words", "train_rows": len(labelled)}
    results: dict = {**about, "labels": made, "splits": {}}
    written = DatasetInfo(**{**asdict(info), "provenance": {**info.provenance, "labels": made}})
    with staged_folder(out) as staging:
        write_prepared({**splits, "train": _with_labels(train, known, rows, info.label_names)}, written, staging)
        rejects = (reject for id, row in zip(rest["id"], rows, strict=True) for reject in _rejects(id, row))
        write_json_lines(staging / REJECTS_FILE, rejects)
        if evaluate:
            results["splits"] = _evaluate_all(labeller, splits, rest, info.label_names, staging)
            write_json(staging / "results.json", results)
    return results


def _training_split(splits: dict[str, Dataset], info: DatasetInfo, place: str) -> Dataset:
    if info.task != "mner":
        raise DataError("This is a data set for mre; lists label entities.", place=place, fix="Use an MNER folder.")
    if "train" not in splits:
        raise DataError("There is no training split.", place=place)
    if "label_source" in splits["train"].column_names:
        raise DataError("The posts were labelled from lists before.", place=place, fix="Label the original folder.")
    return splits["train"]


def _labelled(train: Dataset, most: int | None, seed: int) -> list[bool]:
    """Per row whether its labels are used."""
    if most is not None and most < 1:
        raise SettingError(f"max_labelled_samples must be at least 1, got {most}.")
    sample = set((train if most is None else sample_rows(train, min(most, len(train)), seed))["id"])
    return [id in sample and tags is not None for id, tags in zip(train["id"], train["ner_tags"], strict=True)]


def _has_candidate(row: Sequence[ListedMention]) -> bool:
    return any(each.features for each in row)


def _with_labels(
    train: Dataset, known: list[bool], rows: list[list[ListedMention]], label_names: Sequence[str]
) -> Dataset:
    ids = {name: number for number, name in enumerate(label_names)}
    columns: dict[str, list] = {**train.to_dict(), "label_source": [], "list_entities": []}
    remaining = iter(rows)
    for number, (has, tokens) in enumerate(zip(known, train["tokens"], strict=True)):
        row = [] if has else next(remaining)
        columns["label_source"].append(GOLD if has else LIST if _has_candidate(row) else UNLABELLED)
        columns["list_entities"].append(found_entities(row))
        if not has:
            tags = [ids[tag] for tag in bio_tags(row, len(tokens))]
            columns["ner_tags"][number] = tags if _has_candidate(row) else None
    return Dataset.from_dict(columns, features=Features({**train.features, **LABEL_COLUMNS}))


def _rejects(id: str, row: Sequence[ListedMention]) -> list[dict]:
    lines = []
    for each in row:
        if each.reason:
            about: dict = {"id": id, "mention": each.mention, "gloss": each.gloss}
            if each.start >= 0:
                about |= {"start": each.start, "end": each.end}
            if each.features:
                about |= {"type": each.type, "score": round(each.score, 4)}
            lines.append({**about, "reason": each.reason})
    nothing = {"id": id, "reason": "no listed mention to decide on: the post stays unlabelled"}
    return lines if _has_candidate(row) else [*lines, nothing]


def _evaluate_all(
    labeller: ListLabeller, splits: dict[str, Dataset], rest: Dataset, label_names: Sequence[str], folder: Path
) -> dict[str, dict]:
    """Scores of every split but the training split, and of the rest of that; writes predictions."""
    results = {}
    for name, split in {**splits, "train": rest}.items():
        if gold := [index for index, tags in enumerate(split["ner_tags"]) if tags is not None]:
            scores, predictions = _evaluate(labeller, split.select(gold), label_names)
            results["unlabelled" if name == "train" else name] = {VIEW: scores}
            if name != "train":
                write_json_lines(folder / f"predictions.{name}.jsonl", predictions)
    return results


def _evaluate(labeller: ListLabeller, split: Dataset, label_names: Sequence[str]) -> tuple[dict, list[dict]]:
    """Scores and predictions on a split with gold labels."""
    rows = labeller(split)
    tags = [bio_tags(row, len(tokens)) for row, tokens in zip(rows, split["tokens"], strict=True)]
    gold = [[label_names[tag] for tag in row] for row in split["ner_tags"]]
    columns = zip(split["id"], split["tokens"], gold, tags, strict=True)
    predictions = [dict(zip(("id", "tokens", "gold", VIEW), values, strict=True)) for values in columns]
    spans = [entities(row, lenient=True) for row in gold]
    return {**entity_scores(tags, gold), "calibration_error": labeller.calibration_error(rows, spans)}, predictions

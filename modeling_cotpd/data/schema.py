"""The one record that every part of the package reads and writes.

A split is a `datasets.Dataset` with the features declared here; on disk it is Parquet. An empty string in a text
column means "not known", and so does an empty list of glosses. `glosses` are the noun grain as a list of mentions
with a short explanation each; rows without them get those that `cot_noun` lists. An unlabelled row has
`ner_tags` (MNER) or `relation` (MRE) equal to `None`.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence

from datasets import ClassLabel, Dataset, Features, List, Value

from modeling_cotpd.data.glosses import glosses_of
from modeling_cotpd.data.values import check_token_span
from modeling_cotpd.errors import DataError

SPLITS = ("train", "validation", "test")
COT_COLUMNS = ("cot_noun", "cot_sentence", "cot_multimodality")
KNOWLEDGE_COLUMNS = ("caption", *COT_COLUMNS)
"""The columns that the knowledge view may read, in the order in which it reads them."""
AUGMENTATION_COLUMNS = ("parent", "kind", "teacher")
"""More columns of an augmented training split: the post that a row was made from, how, and by which language model.
All are empty for an original post, and training does not read them."""
LABEL_COLUMNS = {"mner": "ner_tags", "mre": "relation"}
"""Per task the column of gold labels."""
PAIR = ("head", "tail")
"""The columns of the two entities of relation extraction."""


def features_for(task: str, label_names: Sequence[str]) -> Features:
    """The declared features of one split.

    Args:
        task (`str`): `"mner"` or `"mre"`.
        label_names (`Sequence[str]`): Tag names (MNER: `O`, then `B-`/`I-` pairs) or relation names, in id order.

    Raises:
        DataError: The task is neither of the two.
    """
    if task not in LABEL_COLUMNS:
        raise DataError(f"Unknown task {task!r}.", fix=f"Use one of {', '.join(LABEL_COLUMNS)}.")
    label = ClassLabel(names=list(label_names))
    span = {"start": Value("int32"), "end": Value("int32")}
    gold = {"ner_tags": List(label)} if task == "mner" else {**dict.fromkeys(PAIR, span), "relation": label}
    texts = {name: Value("string") for name in ("image", *KNOWLEDGE_COLUMNS)}
    glosses = List({"mention": Value("string"), "gloss": Value("string")})
    return Features({"id": Value("string"), "tokens": List(Value("string")), **gold, **texts, "glosses": glosses})


def task_of(features: Features) -> str:
    """Return `"mner"` or `"mre"`, by the label column that a split has."""
    for task, column in LABEL_COLUMNS.items():
        if column in features:
            return task
    raise DataError(
        f"The columns {sorted(features)} hold no labels.",
        fix="An MNER split has the columns tokens and ner_tags, an MRE split tokens, head, tail and relation.",
    )


def declared_label_names(features: Features, task: str) -> list[str] | None:
    """Tag or relation names that features declare with a ClassLabel, in id order, or `None`."""
    label = features.get(LABEL_COLUMNS[task])
    label = getattr(label, "feature", label)
    return [str(name) for name in label.names] if isinstance(label, ClassLabel) else None


def label_names_of(features: Features) -> list[str]:
    """Tag or relation names of a split in id order."""
    return declared_label_names(features, task_of(features)) or []


def labels_of(split: Dataset) -> list:
    """Gold tag ids or relation id of every row; `None` for rows without labels."""
    return split[LABEL_COLUMNS[task_of(split.features)]]


def gold_labels(split: Dataset) -> list:
    """Gold tags or relation names of every row; `None` for rows without labels."""
    names = label_names_of(split.features)
    return [
        None if label is None else [names[tag] for tag in label] if isinstance(label, list) else names[label]
        for label in labels_of(split)
    ]


def bio_label_names(types: Iterable[str]) -> list[str]:
    """`O`, then `B-` and `I-` of every entity type in alphabetical order."""
    return ["O"] + [f"{prefix}-{name}" for name in sorted(set(types)) for prefix in "BI"]


def check_row(row: dict, task: str, place: str) -> None:
    """Raise a `DataError` that names the place when a row, whose labels are names, breaks the record's rules."""
    tokens = row["tokens"]
    if not tokens:
        raise DataError("The post has no tokens.", place=place, fix="Remove the row or give it its text.")
    if any(not isinstance(token, str) or not token for token in tokens):
        fix = "Every token needs at least one character."
        raise DataError("A token is empty or not a string.", place=place, fix=fix)
    if task == "mner":
        tags = row["ner_tags"]
        if tags is not None and len(tags) != len(tokens):
            fix = "Give one tag to every token."
            raise DataError(f"{len(tokens)} tokens but {len(tags)} tags.", place=place, fix=fix)
        return
    for side in PAIR:
        check_token_span(row[side]["start"], row[side]["end"], len(tokens), f"{side} span", place)


def make_split(rows: Iterable[dict], task: str, label_names: Sequence[str], source: str) -> Dataset:
    """Check rows and build a split from them.

    Args:
        rows (`Iterable[dict]`): Records with labels as names. Missing text columns become empty strings, a missing
            `image` becomes `None`.
        task (`str`): `"mner"` or `"mre"`.
        label_names (`Sequence[str]`): All label names, in id order.
        source (`str`): What error messages call the origin of the rows, such as a file name. A row may carry its own
            place under the key `place` ("train.txt, line 17"), which is not stored.

    Raises:
        DataError: A row breaks the record's rules, a label is unknown, or an id occurs twice.
    """
    features = features_for(task, label_names)
    ids = {name: index for index, name in enumerate(label_names)}
    column = LABEL_COLUMNS[task]
    optional = dict.fromkeys(("image", "glosses", *KNOWLEDGE_COLUMNS))
    found: dict[str, list] = {name: [] for name in features}
    seen: dict[str, str] = {}
    for number, row in enumerate(rows):
        place = row.get("place") or f"{source}, row {number}"
        missing = [name for name in features if name not in row and name not in optional]
        if missing:
            fix = f"The columns are {', '.join(features)}."
            raise DataError(f"The column {missing[0]!r} is missing.", place=place, fix=fix)
        check_row(row, task, place)
        if row["id"] in seen:
            message = f"The id {row['id']!r} was used before, at {seen[row['id']]}."
            raise DataError(message, place=place, fix="Ids are unique within a split.")
        seen[row["id"]] = place
        gold = row[column]
        try:
            if gold is not None:
                gold = [ids[tag] for tag in gold] if task == "mner" else ids[gold]
        except KeyError as error:
            fix = f"The labels are {', '.join(label_names)}."
            raise DataError(f"Unknown label {error.args[0]!r}.", place=place, fix=fix) from None
        texts = {name: row.get(name) or "" for name in KNOWLEDGE_COLUMNS}
        record = {**row, "image": row.get("image"), **texts, "glosses": glosses_of(row), column: gold}
        for name in features:
            found[name].append(record[name])
    return Dataset.from_dict(found, features=features)


def gold_hash(split: Dataset) -> str:
    """sha256 over ids, tokens and label names, so that results can name the copy of a data set that they used.

    Captions and knowledge do not enter; the hash does not depend on the file format or on library versions.
    """
    column = LABEL_COLUMNS[task_of(split.features)]
    digest = hashlib.sha256()
    gold_columns = [name for name in ("id", "tokens", *PAIR, column) if name in split.column_names]
    for row, labels in zip(split.select_columns(gold_columns), gold_labels(split), strict=True):
        row[column] = labels
        digest.update(json.dumps(row, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()

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

from modeling_cotpd.data.glosses import parse_noun_list
from modeling_cotpd.errors import DataError

TASKS = ("mner", "mre")
SPLITS = ("train", "validation", "test")
COT_COLUMNS = ("cot_noun", "cot_sentence", "cot_multimodality")
KNOWLEDGE_COLUMNS = ("caption", *COT_COLUMNS)
"""The columns that the knowledge view may read, in the order in which it reads them."""
AUGMENTATION_COLUMNS = ("parent", "kind", "teacher")
"""What an augmented training split has beside the record: whose sample a row is, how it was made, and by whom. All are
empty for an original post, and training does not read them."""


LABEL_COLUMNS = {"mner": "ner_tags", "mre": "relation"}
"""Per task the column of gold labels."""


def features_for(task: str, label_names: Sequence[str]) -> Features:
    """The declared features of one split.

    Args:
        task (`str`): `"mner"` or `"mre"`.
        label_names (`Sequence[str]`): Tag names (MNER: `O`, then `B-`/`I-` pairs) or relation names, in id order.

    Raises:
        DataError: The task is neither of the two.
    """
    label = ClassLabel(names=list(label_names))
    if task == "mner":
        gold = {"tokens": List(Value("string")), "ner_tags": List(label)}
    elif task == "mre":
        span = {"start": Value("int32"), "end": Value("int32")}
        gold = {"tokens": List(Value("string")), "head": span, "tail": dict(span), "relation": label}
    else:
        raise DataError(f"Unknown task {task!r}.", fix=f"Use one of {', '.join(TASKS)}.")
    texts = {name: Value("string") for name in ("id", "image", *KNOWLEDGE_COLUMNS)}
    glosses = List({"mention": Value("string"), "gloss": Value("string")})
    return Features({"id": texts.pop("id"), **gold, **texts, "glosses": glosses})


def task_of(features: Features) -> str:
    """Return `"mner"` or `"mre"`, by the label column that a split has."""
    for task, column in LABEL_COLUMNS.items():
        if column in features:
            return task
    raise DataError(
        f"The columns {sorted(features)} hold no labels.",
        fix="An MNER split has the columns tokens and ner_tags, an MRE split tokens, head, tail and relation.",
    )


def label_names_of(features: Features) -> list[str]:
    """Tag or relation names of a split in id order."""
    label = features[LABEL_COLUMNS[task_of(features)]]
    return list(getattr(label, "feature", label).names)


def gold_labels(split: Dataset) -> list:
    """Gold tags or relation names of every row; `None` for rows without labels."""
    names, labels = label_names_of(split.features), split[LABEL_COLUMNS[task_of(split.features)]]
    return [
        None if label is None else [names[tag] for tag in label] if isinstance(label, list) else names[label]
        for label in labels
    ]


def bio_label_names(types: Iterable[str]) -> list[str]:
    """`O`, then `B-` and `I-` of every entity type in alphabetical order."""
    return ["O"] + [f"{prefix}-{name}" for name in sorted(set(types)) for prefix in "BI"]


def check_row(row: dict, task: str, place: str) -> None:
    """Raise a `DataError` that names the place when a row breaks the record's rules.

    Labels are still names here (`ner_tags` a list of tag names, `relation` a relation name) or `None`.
    """
    tokens = row["tokens"]
    if not tokens:
        raise DataError("The post has no tokens.", place=place, fix="Remove the row or give it its text.")
    if any(not isinstance(token, str) or not token for token in tokens):
        raise DataError(
            "A token is empty or not a string.", place=place, fix="Every token needs at least one character."
        )
    if task == "mner":
        tags = row["ner_tags"]
        if tags is not None and len(tags) != len(tokens):
            raise DataError(
                f"{len(tokens)} tokens but {len(tags)} tags.", place=place, fix="Give one tag to every token."
            )
        return
    for side in ("head", "tail"):
        start, end = row[side]["start"], row[side]["end"]
        if not 0 <= start < end <= len(tokens):
            raise DataError(
                f"The {side} span [{start}, {end}) lies outside the {len(tokens)} tokens.",
                place=place,
                fix="Spans count tokens from 0 and exclude their end.",
            )


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
    columns: dict[str, list] = {name: [] for name in features}
    seen: dict[str, str] = {}
    for number, row in enumerate(rows):
        place = row.get("place") or f"{source}, row {number}"
        optional = ("image", "glosses", *KNOWLEDGE_COLUMNS)
        missing = [name for name in features if name not in row and name not in optional]
        if missing:
            raise DataError(
                f"The column {missing[0]!r} is missing.", place=place, fix=f"The columns are {', '.join(features)}."
            )
        check_row(row, task, place)
        if row["id"] in seen:
            raise DataError(
                f"The id {row['id']!r} was used before, at {seen[row['id']]}.",
                place=place,
                fix="Ids are unique within a split.",
            )
        seen[row["id"]] = place
        labels = row[column]
        try:
            each = labels if isinstance(labels, list) else [] if labels is None else [labels]
            known = [ids[label] for label in each]
            value = known if isinstance(labels, list) else known[0] if known else None
        except KeyError as error:
            raise DataError(
                f"Unknown label {error.args[0]!r}.", place=place, fix=f"The labels are {', '.join(label_names)}."
            ) from None
        for name in features:
            if name == column:
                columns[name].append(value)
            elif name == "image":
                columns[name].append(row.get(name))
            elif name == "glosses":
                columns[name].append(row.get(name) or parse_noun_list(row.get("cot_noun") or ""))
            else:
                columns[name].append(row[name] if name not in KNOWLEDGE_COLUMNS else row.get(name) or "")
    return Dataset.from_dict(columns, features=features)


def gold_hash(split: Dataset) -> str:
    """sha256 over ids, tokens and label names, so that results can name the copy of a data set that they used.

    Captions and knowledge do not enter; the hash does not depend on the file format or on library versions.
    """
    column = LABEL_COLUMNS[task_of(split.features)]
    digest = hashlib.sha256()
    gold_columns = [name for name in ("id", "tokens", "head", "tail", column) if name in split.column_names]
    for row, labels in zip(split.select_columns(gold_columns), gold_labels(split), strict=True):
        row[column] = labels
        digest.update(json.dumps(row, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()

"""Which labels a data set has, and other names for them."""

import logging
from collections.abc import Sequence

from modeling_cotpd.data.bio import check_tag
from modeling_cotpd.data.records import LABEL_COLUMN
from modeling_cotpd.data.schema import bio_label_names
from modeling_cotpd.errors import DataError, SettingError

logger = logging.getLogger(__name__)


def found_label_names(rows: dict[str, list[dict]], task: str) -> list[str]:
    """Label names that occur in any split: `O` or `None` first, then in alphabetical order.

    A warning names the labels of other splits that training never shows.

    Raises:
        DataError: A tag is not of the BIO form, or no row is labelled.
    """
    column = LABEL_COLUMN[task]
    seen: dict[str, set[str]] = {}
    for split, split_rows in rows.items():
        seen[split] = set()
        for row in split_rows:
            labels = (row[column] or []) if task == "mner" else [row[column]]
            for label in set(labels) - {None}:
                if task == "mner":
                    check_tag(label, row["place"], None)
                seen[split].add(label)
    every = set().union(*seen.values())
    if not every:
        raise DataError(
            "No row is labelled, so the labels are not known.",
            place=next(iter(rows.values()))[0]["place"],
            fix="Name them in id order with --labels.",
        )
    new = every - seen.get("train", every)
    if new:
        logger.warning("labels that occur outside of the train split only: %s", ", ".join(sorted(new)))
    if task == "mner":
        return bio_label_names(label[2:] for label in every if label != "O")
    return [*(["None"] if "None" in every else []), *sorted(every - {"None"})]


def rename_types(
    rows: dict[str, list[dict]], task: str, label_names: Sequence[str], renames: dict[str, str]
) -> list[str]:
    """Rename entity types in the rows, in place, and return the new label names.

    Args:
        rows (`dict[str, list[dict]]`): Rows by split, with tag names.
        task (`str`): The task, which must be `"mner"`.
        label_names (`Sequence[str]`): The label names so far.
        renames (`dict[str, str]`): Old type to new type; two types may become one.

    Raises:
        SettingError: The task is another, or a type to rename does not occur.
    """
    if task != "mner":
        raise SettingError("Only entity types can be renamed, and this is mre data.", fix="Leave out --rename-type.")
    types = {name[2:] for name in label_names if name != "O"}
    unknown = sorted(set(renames) - types)
    if unknown:
        raise SettingError(
            f"There is no entity type {unknown[0]!r} to rename.", fix=f"The types are {', '.join(sorted(types))}."
        )
    for split_rows in rows.values():
        for row in split_rows:
            if row["ner_tags"] is not None:
                row["ner_tags"] = [
                    tag if tag == "O" else tag[:2] + renames.get(tag[2:], tag[2:]) for tag in row["ner_tags"]
                ]
    return bio_label_names(renames.get(name, name) for name in types)


def check_label_names(label_names: Sequence[str], task: str, source: str) -> None:
    """Check label names, however they were found.

    Raises:
        DataError: A name is empty or comes twice, a tag is not of the BIO form, or an entity type is called `O`.
    """
    twice = sorted({name for name in label_names if list(label_names).count(name) > 1})
    if twice or not all(name.strip() for name in label_names):
        raise DataError(
            f"The label {twice[0]!r} comes twice." if twice else "A label has no name.",
            place=source,
            fix="Give every label one name.",
        )
    for name in label_names if task == "mner" else ():
        check_tag(name, source)
        if name[1:] == "-O":
            raise DataError(
                "An entity type is called O, which also means that a token belongs to no entity.",
                place=source,
                fix="Rename it, for example with --rename-type O=OBJECT.",
            )

"""Captions and knowledge from files of their own, joined to rows by id."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modeling_cotpd.data.files import read_json, read_json_rows
from modeling_cotpd.data.folders import MAX_DESCRIPTION_BYTES, find_split_file, inside, refuse_similar_names
from modeling_cotpd.data.schema import COT_COLUMNS, SPLITS
from modeling_cotpd.data.values import gloss_list, id_of, text_of
from modeling_cotpd.errors import KnowledgeError, SettingError

logger = logging.getLogger(__name__)

KNOWLEDGE_KEYS = {column.removeprefix("cot_"): column for column in COT_COLUMNS}
"""What the keys of a knowledge file fill: `noun`, `sentence` and `multimodality`."""


@dataclass
class Coverage:
    """How many of a split's `rows` got a column from a key of a file: rows whose id, or image id, the file has
    (`matched`), and rows whose text is not empty afterwards (`filled`)."""

    split: str
    column: str
    file: str
    key: str
    rows: int
    matched: int
    filled: int

    def __str__(self) -> str:
        return (
            f"{self.split}: {self.column} from {self.key!r} in {self.file}: "
            f"{self.matched}/{self.rows} ids matched, {self.filled} texts are not empty"
        )


@dataclass(frozen=True)
class TextFile:
    """Objects of texts by the id of a row or of its image, and the file that they are from."""

    texts: Mapping[str, Mapping]
    file: str

    @classmethod
    def read(cls, path: str | os.PathLike) -> "TextFile":
        """Read a caption or knowledge file.

        Raises:
            KnowledgeError: An object has no `id`, or an id comes twice with different texts.
            DataError: The file is empty or not JSON Lines.
        """
        texts: dict[str, dict] = {}
        places: dict[str, str] = {}
        for value, spot in read_json_rows(path):
            key = id_of(value.get("id"), spot)
            if key is None:
                fix = 'One line looks like {"id": "1", "blip2": "a dog"}.'
                raise KnowledgeError("The object has no 'id'.", place=spot, fix=fix)
            if key in texts and {**texts[key], "id": key} != {**value, "id": key}:
                message = f"The id {key!r} stands at {places[key].split(', ')[-1]} too, with other texts."
                raise KnowledgeError(message, place=spot, fix="Keep one of them.")
            texts[key], places[key] = value, spot
        return cls(texts, str(path))


def find_text_files(folder: Path, kind: str, splits: Mapping[str, object]) -> dict[str, Path]:
    """The files `captions.SPLIT.jsonl` or `knowledge.SPLIT.jsonl` of a folder, by split.

    Several for one split, and names that are nearly such, are a `DataError`.
    """
    patterns = (f"{kind}.{{split}}.jsonl", f"{kind}.{{split}}.json")
    found = {split: path for split in SPLITS if (path := find_split_file(folder, split, patterns)) is not None}
    refuse_similar_names(folder, list(found.values()), (kind, kind.removesuffix("s")), f"{kind}.train.jsonl")
    return {split: path for split, path in found.items() if split in splits}


def read_provenance(folder: Path, kind: str) -> dict:
    """How the caption or knowledge files of a folder were made: `captions.provenance.json`, if they have one."""
    path = folder / f"{kind}.provenance.json"
    if not path.is_file():
        return {}
    value = read_json(inside(path, folder), MAX_DESCRIPTION_BYTES)
    if not isinstance(value, dict):
        raise KnowledgeError("The file holds no object.", place=str(path), fix="Remove or repair it.")
    return value


def join(
    rows: list[dict],
    source: TextFile,
    columns: Mapping[str, str],
    split: str,
    min_coverage: float = 0.5,
    replace: bool = False,
) -> list[Coverage]:
    """Fill text columns and `glosses` of rows, in place, from objects that carry the rows' ids.

    A row is looked up by its id first, then by its image id: MNRE has one caption per image and several rows for it.
    A text that a row came with stays where the objects have none for it.

    Args:
        columns (`Mapping[str, str]`): Column to key, such as `{"caption": "blip2"}`.
        min_coverage (`float`, defaults to 0.5): The least share of rows, 0 to 1, whose id the file must have: the
            published files match all or nearly all ids, a file of another split or data set almost none.
        replace (`bool`, defaults to `False`): Whether texts may replace others that rows came with.

    Returns:
        `list[Coverage]`: One report per column.

    Raises:
        KnowledgeError: No object has a key, fewer ids match than `min_coverage` asks, or a row came with another text.
        SettingError: `min_coverage` is not between 0 and 1.
    """
    if not 0 <= min_coverage <= 1:
        raise SettingError(f"min_coverage must be between 0 and 1, but is {min_coverage}.", fix="For example 0.5.")
    texts = source.texts
    keys = sorted({key for value in texts.values() for key in value if key != "id"})
    found = [texts.get(row["id"], texts.get(row.get("image") or "")) for row in rows]
    matched = sum(value is not None for value in found)
    if matched < min_coverage * len(rows):
        raise KnowledgeError(
            f"Only {matched} of {len(rows)} rows of the {split} split have their id in the file; "
            f"its ids look like {', '.join(list(texts)[:3])}, those of {rows[0]['place'].split(', ')[0]} "
            f"like {', '.join(row.get('image') or row['id'] for row in rows[:3])}.",
            place=source.file,
            fix=f"Use the file that belongs to this split, or allow a coverage below {min_coverage:g}.",
        )
    reports = []
    for column, key in columns.items():
        if key not in keys:
            fix = f"The keys are {', '.join(keys)}."
            raise KnowledgeError(f"No object has the key {key!r}.", place=source.file, fix=fix)
        for row, value in zip(rows, found, strict=True):
            spot = f"{source.file}, id {row['id']}"
            text, given = text_of(None if value is None else value.get(key), key, spot).strip(), row.get(column) or ""
            if text and given.strip() not in ("", text) and not replace:
                raise KnowledgeError(
                    f"The row at {row['place']} has another text in {column!r} than {key!r} of this file.",
                    place=spot,
                    fix="Remove one of the two, or leave the file out with --no-captions or --no-knowledge.",
                )
            row[column] = text or given
        filled = sum(bool(row[column]) for row in rows)
        reports.append(Coverage(split, column, Path(source.file).name, key, len(rows), matched, filled))
        logger.info("%s", reports[-1])
        if filled < min_coverage * len(rows):
            logger.warning("%s; choose another key of %s for more", reports[-1], ", ".join(keys))
    for row, value in zip(rows, found, strict=True):
        glosses = gloss_list((value or {}).get("glosses"), f"{source.file}, id {row['id']}")
        row["glosses"] = glosses or row.get("glosses") or []
    return reports

"""Answers as JSON Lines: to look at, to share, to move from one store to another."""

import json
import os
from pathlib import Path

from modeling_cotpd.errors import KnowledgeError
from modeling_cotpd.files import atomic_write, json_line
from modeling_cotpd.knowledge.request import request_key
from modeling_cotpd.knowledge.store import ROW_COLUMNS, ResponseStore
from modeling_cotpd.text_safety import storable

_NUMBERS = ("prompt_tokens", "completion_tokens", "attempts", "created")


def export_answers(store: ResponseStore, out: str | os.PathLike, **equal: str) -> int:
    """Write rows of a store, one JSON object a line.

    Args:
        store (`ResponseStore`): The store.
        out: The file to write.
        equal: Column values to keep, such as `status="answered"`.

    Returns:
        Number of rows written.
    """
    count = 0
    with atomic_write(out) as file:
        for row in store.rows(**equal):
            file.write(json_line({**row, "request": json.loads(row["request"])}))
            count += 1
    return count


def import_answers(store: ResponseStore, path: str | os.PathLike) -> tuple[int, int]:
    """Read rows that `export_answers` wrote; all of them or, when one is not right, none.

    An answer that the store has is kept; failures and waiting requests are replaced by answers.

    Returns:
        Number of rows taken, number of rows read.

    Raises:
        KnowledgeError: A line is no row, or its key does not belong to its request; the message names the line.
    """
    taken = read = 0
    with Path(path).open("rb") as lines, store.transaction():
        for number, line in enumerate(lines, 1):
            if line.strip():
                taken += store.add_row(_read_row(line, f"{path}, line {number}"))
                read += 1
    return taken, read


def _read_row(line: bytes, place: str) -> dict:
    try:
        row = json.loads(line)
        missing = [name for name in ROW_COLUMNS if name not in row]
        key = request_key(row["endpoint"], row["prompt"], row["request"]) if not missing else ""
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise KnowledgeError(f"The line is no stored answer: {error}.", place=place) from None
    if missing:
        raise KnowledgeError(f"The field {missing[0]!r} is missing.", place=place, fix="Export the answers again.")
    if key != row["key"]:
        raise KnowledgeError(
            "The key does not belong to this endpoint, prompt and request.",
            place=place,
            fix="The row was changed after it was exported; export it again.",
        )
    for name in ROW_COLUMNS:
        kind = (int, float) if name in _NUMBERS else dict if name == "request" else str
        if not isinstance(row[name], kind) or isinstance(row[name], bool):
            raise KnowledgeError(f"The field {name!r} is not of its kind.", place=place)
        if not isinstance(row[name], str | dict) and not 0 <= row[name] < 2**53:
            raise KnowledgeError(f"The field {name!r} is out of range.", place=place)
    row = {name: storable(value) if isinstance(value, str) else value for name, value in row.items()}
    return {**row, "request": storable(json.dumps(row["request"], ensure_ascii=False))}

"""Files that stand under their name only when they are complete."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[TextIO]:
    """Open a UTF-8 text file beside `path` and move it there when the block ends well.

    Example:
        >>> with writing("knowledge.train.jsonl") as file:  # doctest: +SKIP
        ...     file.write("{}\\n")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def json_line(row: dict) -> str:
    """One line of JSON Lines."""
    return json.dumps(row, ensure_ascii=False) + "\n"

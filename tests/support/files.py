"""Reading what a command wrote."""

import json
from pathlib import Path


def read_lines(path: str | Path) -> list[dict]:
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in Path(path).read_text("utf-8").splitlines()]

"""Where the names of test posts occur in training: the occasions that a text-only model had to learn them."""

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from modeling_cotpd.data.prepared import sample_rows
from modeling_cotpd.metrics.entity_score.entity_score import entities_of

PLACES = {"labelled": "in a labelled post", "others": "only in other training posts", "new": "in no training post"}
"""Where a name can occur, and the heading in a table."""


class Exposure:
    """Looks names up in the words of training posts, in any case and whether they are an entity there or not.

    The posts are those trained on with their labels, and the data set's others, used or not.

    Example:
        >>> exposure = Exposure([["Ada", "sings"]], [["at", "Lindmere", "Hall"]])
        >>> [exposure.place(name) for name in (["ADA"], ["Lindmere", "Hall"], ["Lindmere", "sings"])]
        ['labelled', 'others', 'new']
    """

    def __init__(self, labelled: Iterable[Sequence[str]], others: Iterable[Sequence[str]]):
        self._texts = {"labelled": _searchable(labelled), "others": _searchable(others)}

    def place(self, name: Sequence[str]) -> str:
        """The key of `PLACES` for a name, given as its tokens."""
        words = _searchable([name])
        return next((place for place, text in self._texts.items() if words in text), "new")

    def counts(self, rows: Sequence[dict[str, Any]], view: str) -> dict[str, np.ndarray]:
        """Correct, predicted and gold entities of every line of a predictions file, `(rows, 3)`, per place."""
        counts = {place: np.zeros((len(rows), 3), dtype=np.int64) for place in PLACES}
        for index, row in enumerate(rows):
            predicted, gold = entities_of(row[view]), entities_of(row["gold"])
            for column, entities in enumerate((predicted & gold, predicted, gold)):
                for _, first, last in entities:
                    counts[self.place(row["tokens"][first : last + 1])][index, column] += 1
        return counts


def _searchable(posts: Iterable[Sequence[str]]) -> str:
    """Lower-case words with a space on either side of each, and a line break between posts."""
    return "\n".join(f" {' '.join(tokens)} " for tokens in posts).lower()


@functools.cache
def read_exposure(folder: Path, labelled: int | None, sample_seed: int) -> Exposure:
    """Divide the training posts of a prepared MNER folder as a run with so many labels does (`None`: all)."""
    train = Dataset.from_parquet(str(folder / "train.parquet")).select_columns(["tokens", "ner_tags"])
    size = min(labelled or len(train), len(train))
    if size < len(train):
        train = sample_rows(train, len(train), sample_seed)
    posts: dict[bool, list[Sequence[str]]] = {True: [], False: []}
    for index, row in enumerate(train):
        posts[index < size and row["ner_tags"] is not None].append(row["tokens"])
    return Exposure(posts[True], posts[False])

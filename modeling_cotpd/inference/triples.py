"""From a post to triples: its entities, and the relation of each ordered pair of them."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import torch

from modeling_cotpd.data.posts import Post
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.batches import BatchSettings
from modeling_cotpd.inference.load import load_predictor
from modeling_cotpd.inference.predictor import Predictor, Progress

NO_RELATION = "None"
"""What MNRE calls a pair without a relation; such a pair gives no triple."""
NEAREST = 10
"""The posts of Twitter-2015 and 2017 have at most 6 entities. The bound limits the work on a very long post."""
PAIRS_AT_ONCE = 4096


class TripleExtractor:
    """Entities from one model, relations from another, over the same text.

    Args:
        entities (`Predictor`): Predicts entities.
        relations (`Predictor`): Predicts the relation of two entities.
        min_score (`float`, *optional*, defaults to 0): Triples whose relation is less probable are left out.
        check_types (`bool`, *optional*, defaults to `True`): Leave out a relation that names other types than its
            entities have, such as `/per/loc/place_of_birth` between two `ORG`. Only relations named as those of MNRE
            have types.
        nearest (`int`, *optional*, defaults to 10): Each entity is paired with this many entities behind it, and they
            with it.

    Raises:
        SettingError: A number is out of range, or the two models come in the wrong order.

    Example:

    ```python
    >>> extractor = TripleExtractor.from_folders("output/twitter2017", "output/mnre")  # doctest: +SKIP
    >>> (row,) = extractor([Post("1", "Maya Stone moved to Harlow", "here")])  # doctest: +SKIP
    >>> row["relations"]  # doctest: +SKIP
    [{'head': 0, 'tail': 1, 'relation': '/per/loc/place_of_residence', 'score': 0.97}]
    ```
    """

    task = "triples"

    def __init__(
        self,
        entities: Predictor,
        relations: Predictor,
        *,
        min_score: float = 0.0,
        check_types: bool = True,
        nearest: int = NEAREST,
    ):
        if not 0 <= min_score <= 1:
            raise SettingError(f"min_score is a probability, got {min_score}.")
        if nearest < 1:
            raise SettingError(f"nearest must be at least 1, got {nearest}.")
        self.entity_predictor, self.relation_predictor = entities, relations
        self.min_score, self.check_types, self.nearest = min_score, check_types, nearest

    @classmethod
    def from_folders(
        cls,
        entities: str | os.PathLike,
        relations: str | os.PathLike,
        *,
        device: str | torch.device = "cpu",
        dtype: str = "auto",
        batches: BatchSettings | None = None,
        max_length: int | None = None,
        onnx: bool = False,
        revision: str | None = None,
        relations_revision: str | None = None,
        **settings: Any,
    ) -> "TripleExtractor":
        """Load both models.

        Args:
            entities (`str` or `os.PathLike`): A model for named entity recognition: a run's output folder, or a Hub
                repository.
            relations (`str` or `os.PathLike`): A model for relation extraction.
            device, dtype, batches, max_length, onnx: As for `load_predictor`, for both.
            revision, relations_revision (`str`, *optional*): Branch, tag or commit of either on the Hub.
            settings: `min_score`, `check_types` and `nearest`.

        Raises:
            SettingError: A folder holds no model, or one of the other task.
        """
        load = partial(load_predictor, onnx=onnx, device=device, dtype=dtype, batches=batches, max_length=max_length)
        first, _ = load(str(entities), task="mner", revision=revision)
        second, _ = load(str(relations), task="mre", revision=relations_revision)
        return cls(first, second, **settings)

    def __call__(self, posts: Sequence[Post], view: str = "prompt", on_progress: Progress | None = None) -> list[dict]:
        """Entities and relations of posts, in their order.

        Args:
            posts (`Sequence[Post]`): The posts; their own heads and tails are not read.
            view (`str`, *optional*, defaults to `"prompt"`): What both models read, as for `Predictor`.
            on_progress (`Callable`, *optional*): As for `Predictor`: of the entities, which take most of the time.

        Returns:
            `list[dict]`: `id`, `text`, `entities` as of `EntityPredictor`, and `relations`: `head` and `tail` (numbers
            of `entities`), `relation` and `score`. `unread_pairs` counts pairs without an answer, where there are any:
            entities further apart than `nearest`, or than the model for relations reads.
        """
        results = self.entity_predictor(posts, view, on_progress=on_progress)
        for result in results:
            result["relations"] = []
            count = len(result["entities"])
            if left_out := count * (count - 1) - sum(1 for _ in self._pairs(count)):
                result["unread_pairs"] = left_out
        counts = [len(result["entities"]) for result in results]
        pairs = ((row, *pair) for row, count in enumerate(counts) for pair in self._pairs(count))
        while batch := list(islice(pairs, PAIRS_AT_ONCE)):
            self._relate(posts, results, batch, view)
        return results

    def attention(self, post: Post):
        """Where the prompt of the entity model looks, as `Predictor.attention` returns it."""
        return self.entity_predictor.attention(post)

    def _pairs(self, count: int) -> Iterator[tuple[int, int]]:
        """Ordered pairs of entities, both ways, near ones only."""
        for first in range(count):
            for second in range(first + 1, min(count, first + 1 + self.nearest)):
                yield first, second
                yield second, first

    def _relate(
        self, posts: Sequence[Post], results: list[dict], pairs: list[tuple[int, int, int]], view: str
    ) -> None:
        """Ask for the relations of pairs, given as row, head and tail, and put them into the results."""
        asked = []
        for row, head, tail in pairs:
            ends = [results[row]["entities"][number] for number in (head, tail)]
            spans = [(entity["start"], entity["end"]) for entity in ends]
            asked.append(replace(posts[row], head=spans[0], tail=spans[1]))
        for (row, head, tail), answer in zip(pairs, self.relation_predictor(asked, view), strict=True):
            result = results[row]
            if "problem" in answer:
                result["unread_pairs"] = result.get("unread_pairs", 0) + 1
            elif answer["relation"] != NO_RELATION and answer["score"] >= self.min_score:
                kinds = [result["entities"][number]["type"] for number in (head, tail)]
                if not self.check_types or types_fit(answer["relation"], *kinds):
                    relation = {name: answer[name] for name in ("relation", "score")}
                    result["relations"].append({"head": head, "tail": tail, **relation})


def types_fit(relation: str, head: str, tail: str) -> bool:
    """Return whether a relation that names types, as those of MNRE do, may hold between entities of two types.

    `OTHER` counts as `misc`. A relation that names no types fits all.

    Example:
        >>> types_fit("/per/loc/place_of_birth", "PER", "LOC"), types_fit("/per/loc/place_of_birth", "ORG", "LOC")
        (True, False)
    """
    parts = relation.split("/")
    if len(parts) != 4 or parts[0]:
        return True
    kinds = [{"other": "misc"}.get(kind.lower(), kind.lower()) for kind in (head, tail)]
    return parts[1:3] == kinds

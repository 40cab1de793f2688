"""The training posts most similar to a post, with their labels and explanations."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset

from modeling_cotpd.data.entities import gold_entities
from modeling_cotpd.data.posts import post_of_record
from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, label_names_of
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.knowledge.embedding import Embedder, default_text_model, search
from modeling_cotpd.knowledge.retrieval import normalized, passage_vectors, train_passages
from modeling_cotpd.markers_cotpd import readable


@dataclass(frozen=True)
class SimilarPost:
    """A training post.

    Args:
        id (`str`): Its id in the training split.
        text (`str`): Its tokens, joined by single spaces.
        similarity (`float`): The cosine between the two posts' vectors; 1 for equal texts.
        entities (`list[dict]`): MNER: its gold entities, each with `start`, `end`, `type` and `text`. MRE: its two
            entities, with the types `head` and `tail`.
        relation (`str`, *optional*): MRE: its gold relation.
        knowledge (`dict[str, str]`): Its caption and explanations, by column, where they are known.
    """

    id: str
    text: str
    similarity: float
    entities: list[dict] = field(default_factory=list)
    relation: str | None = None
    knowledge: dict[str, str] = field(default_factory=dict)


class SimilarPosts:
    """Looks a post up among the training posts, by the sentence vectors that `cotpd retrieve` uses, too.

    Args:
        splits (`Mapping[str, Dataset]`): A prepared folder's splits; only `train` is read.
        embedder (`Embedder`, *optional*): By default the MiniLM that comes as a package.
        cache (`Path`, *optional*): Where the posts' vectors are kept; below the user's cache folder by default.

    Raises:
        DataError: There is no training split, or it is empty.
        SettingError: What it needs is not installed: `pip install 'modeling_cotpd[quickstart,retrieval]'`.

    Example:

    ```python
    >>> similar = SimilarPosts.from_folder("data/twitter2017")  # doctest: +SKIP
    >>> similar("Maya Stone moved to Harlow", 1)[0].knowledge["cot_noun"]  # doctest: +SKIP
    ```
    """

    def __init__(self, splits: Mapping[str, Dataset], embedder: Embedder | None = None, cache: Path | None = None):
        passages = train_passages(splits)
        self.train = splits["train"]
        self.embedder = embedder or Embedder(default_text_model())
        self.texts = passages.keys
        self.vectors = passage_vectors(passages, self.embedder, cache)
        self.names = label_names_of(self.train.features)

    @classmethod
    def from_folder(
        cls, folder: str | os.PathLike, embedder: Embedder | None = None, cache: Path | None = None
    ) -> "SimilarPosts":
        """Read a prepared folder.

        Raises:
            DataError: It is not a prepared folder, or has no training posts.
        """
        splits, _ = read_prepared(folder)
        if not len(splits.get("train", ())):
            raise DataError("There are no training posts.", place=str(folder), fix="Name the folder trained on.")
        return cls(splits, embedder, cache)

    def __call__(self, text: str, count: int = 3) -> list[SimilarPost]:
        """The most similar training posts, best first, no post twice.

        Args:
            text (`str`): The post; the same text among the training posts is found, too.
            count (`int`, *optional*, defaults to 3): How many.

        Raises:
            SettingError: `count` is below 1.
        """
        if count < 1:
            raise SettingError(f"The number of similar posts is at least 1, got {count}.")
        if not text.strip():
            return []
        vectors = self.embedder.queries([readable(text)])
        (hits,) = search(self.vectors, vectors, count, lambda query, number: True, self._content)
        return [self._post(number, score) for number, score in hits]

    def _content(self, number: int) -> tuple:
        """What makes a post the same as another: its text, and the pair that it asks about."""
        if "relation" not in self.train.column_names:
            return (normalized(self.texts[number]),)
        row = self.train[number]
        return normalized(self.texts[number]), *row["head"].values(), *row["tail"].values()

    def _post(self, number: int, score: float) -> SimilarPost:
        row = self.train[number]
        post, relation = post_of_record(row), None
        if post.head and post.tail:
            marked = [("head", *post.head), ("tail", *post.tail)]
            relation = None if row["relation"] is None else self.names[row["relation"]]
        else:
            marked = gold_entities(row["tokens"], [self.names[tag] for tag in row["ner_tags"] or ()])
        entities = [
            {"start": start, "end": end, "type": kind, "text": post.text[start:end]} for kind, start, end in marked
        ]
        knowledge = {name: row[name] for name in KNOWLEDGE_COLUMNS if row[name]}
        return SimilarPost(post.id, post.text, round(min(float(score), 1.0), 4), entities, relation, knowledge)

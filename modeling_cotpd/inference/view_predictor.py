"""One post at a time: from the text alone, with a picture or knowledge, or both ways with the difference."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from modeling_cotpd.data.posts import Post
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.knowledge_source import KnowledgeSource, knowledge_columns_of
from modeling_cotpd.inference.load import load_predictor
from modeling_cotpd.inference.predictor import Predictor, WordAttention, pair_of
from modeling_cotpd.inference.triples import TripleExtractor

if TYPE_CHECKING:
    from PIL import Image

    from modeling_cotpd.inference.similar import SimilarPost, SimilarPosts

CHOICES = ("auto", "prompt", "knowledge", "both")


@dataclass(frozen=True)
class ViewPrediction:
    """What was predicted about one post.

    Args:
        text (`str`): The post as it was given; all offsets count its characters.
        view (`str`): `"prompt"` (text alone) or `"knowledge"`: which view answers.
        views (`dict[str, dict]`): Every view that was read. A view has `entities` (`start`, `end`, `type`, `score`,
            `text`); with a model for relations also `relations` between them (`head`, `tail`, `relation`, `score`);
            or, for one given pair, `head`, `tail`, `relation` and `score`.
        knowledge (`dict[str, str]`): What the knowledge view read, by column; empty when it was not read.
        changes (`dict[str, list[dict]]`): With both views, the differences of `entities` and `relations`, from
            `entity_changes` and `relation_changes`.
        problems (`list[str]`): Why a part of the knowledge is missing.
        attention (`WordAttention`, *optional*): Where the prompt's queries look, when asked for.
        similar (`list[SimilarPost]`): The most similar training posts, when asked for.
    """

    text: str
    view: str
    views: dict[str, dict]
    knowledge: dict[str, str] = field(default_factory=dict)
    changes: dict[str, list[dict]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    attention: WordAttention | None = None
    similar: "list[SimilarPost]" = field(default_factory=list)

    @property
    def answer(self) -> dict:
        """The prediction of the view that answers."""
        return self.views[self.view]

    def as_dict(self) -> dict[str, Any]:
        """Everything, ready for `json.dumps`."""
        return asdict(self)


def first_span(mention: str, text: str, side: str) -> tuple[int, int]:
    """Where a mention stands in a post, the first time."""
    mention = mention.strip()
    start = text.find(mention)
    if not mention or start < 0:
        message = f"The {side} {mention!r} does not occur in the post." if mention else f"The {side} is empty."
        raise SettingError(message, fix="Write the entity as it stands in the post.")
    return start, start + len(mention)


class ViewPredictor:
    """Predicts on single posts, with or without knowledge.

    Args:
        predictor (`Predictor` or `TripleExtractor`): The model, or the two models of triples.
        source (`KnowledgeSource`, *optional*): The captioner and the teacher to ask; by default none is asked.
        similar (`SimilarPosts`, *optional*): Where similar training posts are looked up.

    Example:

    ```python
    >>> predictor = ViewPredictor.from_folder("output/twitter2017")  # doctest: +SKIP
    >>> predictor.predict("Maya Stone moved to Harlow").answer["entities"]  # doctest: +SKIP
    >>> both = predictor.predict("go Otters", caption="players on a pitch", view="both")  # doctest: +SKIP
    >>> both.changes["entities"]  # doctest: +SKIP
    [{'kind': 'added', 'prompt': None, 'knowledge': {'start': 3, 'end': 9, 'type': 'ORG', ...}}]
    ```
    """

    def __init__(
        self,
        predictor: Predictor | TripleExtractor,
        source: KnowledgeSource | None = None,
        similar: "SimilarPosts | None" = None,
    ):
        self.predictor, self.similar = predictor, similar
        self.source = source or KnowledgeSource()
        readers = (
            (predictor.entity_predictor, predictor.relation_predictor)
            if isinstance(predictor, TripleExtractor)
            else (predictor,)
        )
        columns = {name for reader in readers for name in reader.knowledge.knowledge_columns}
        self.columns = tuple(name for name in KNOWLEDGE_COLUMNS if name in columns)

    @classmethod
    def from_folder(
        cls,
        name_or_path: str | os.PathLike,
        *,
        relations: str | os.PathLike | None = None,
        dataset_dir: str | os.PathLike | None = None,
        source: KnowledgeSource | None = None,
        device: str | torch.device = "cpu",
        dtype: str = "auto",
        revision: str | None = None,
        knowledge_columns: Sequence[str] | None = None,
        **triples: Any,
    ) -> "ViewPredictor":
        """Load a trained model, or two for triples.

        Args:
            name_or_path (`str` or `os.PathLike`): A run's output folder, or a Hub repository.
            relations (`str` or `os.PathLike`, *optional*): A model for relations, which makes the pair predict
                triples; the first is then one for entities.
            dataset_dir (`str` or `os.PathLike`, *optional*): The prepared folder it was trained on, for similar posts.
            source (`KnowledgeSource`, *optional*): The captioner and the teacher to ask.
            device, dtype, revision (of the first model), knowledge_columns (without `relations`): As for
                `load_predictor`.
            triples: `min_score`, `check_types` and `nearest` of `TripleExtractor`.

        Raises:
            SettingError: There is no such model, or the two come in the wrong order.
            DataError: The prepared folder has another task or no training split.
        """
        predictor: Predictor | TripleExtractor
        if relations is None:
            predictor, _ = load_predictor(
                str(name_or_path), device=device, dtype=dtype, revision=revision, knowledge_columns=knowledge_columns
            )
        else:
            predictor = TripleExtractor.from_folders(
                name_or_path, relations, device=device, dtype=dtype, revision=revision, **triples
            )
        similar = None
        if dataset_dir is not None:
            from modeling_cotpd.inference.similar import SimilarPosts

            similar = SimilarPosts.from_folder(dataset_dir)
        return cls(predictor, source, similar)

    @property
    def task(self) -> str:
        """`"mner"`, `"mre"` (one pair) or `"triples"`."""
        return self.predictor.task

    def without_teacher(self) -> "ViewPredictor":
        """The same predictor, which asks no teacher."""
        return ViewPredictor(self.predictor, KnowledgeSource(self.source.captioner), self.similar)

    def predict(
        self,
        text: str,
        image: "str | os.PathLike | Image.Image | None" = None,
        caption: str | None = None,
        knowledge: Mapping[str, str] | str | None = None,
        *,
        head: tuple[int, int] | None = None,
        tail: tuple[int, int] | None = None,
        view: str = "auto",
        attention: bool = False,
        similar: int = 0,
    ) -> ViewPrediction:
        """Predict on one post.

        Args:
            text (`str`): The post, any characters.
            image (`str`, `os.PathLike` or `PIL.Image.Image`, *optional*): Its picture, which the captioner turns into
                a caption.
            caption (`str`, *optional*): The picture in words, instead of a captioner's.
            knowledge (`Mapping[str, str]` or `str`, *optional*): Explanations under `noun`, `sentence` and
                `multimodality`, or one text. What is missing is asked from the teacher, if there is one.
            head, tail (`tuple[int, int]`, *optional*): For a model for relations alone, the two entities: their first
                character and the one behind the last, or another form that the relation pipeline takes.
            view (`str`, *optional*, defaults to `"auto"`): `"prompt"` reads the text alone, `"knowledge"` also caption
                and explanations, `"both"` reads both ways and returns the differences. `"auto"` takes the knowledge
                view with an image, a caption or knowledge, the prompt view without.
            attention (`bool`, *optional*, defaults to `False`): Return where the prompt's queries look.
            similar (`int`, *optional*, defaults to 0): How many similar training posts to look up.

        Raises:
            SettingError: The view is unknown or has nothing to read, a pair is missing, or a picture has no captioner.
            KnowledgeError: The picture cannot be read, or the teacher's endpoint declines.
        """
        if similar and self.similar is None:
            raise SettingError("There are no training posts to look in.", fix="Give dataset_dir=...")
        if view not in CHOICES:
            raise SettingError(f"There is no view {view!r}.", fix=f"Use {', '.join(CHOICES)}.")
        if not isinstance(text, str):
            raise SettingError(f"The post is a {type(text).__name__}, not a string.")
        if self.task == "mre":
            pair_of(Post("post", text, "the post", head, tail))
        elif head is not None or tail is not None:
            raise SettingError("This model finds the entities itself.", fix="Leave head and tail out.")
        given = {**({"caption": caption} if caption and caption.strip() else {}), **knowledge_columns_of(knowledge)}
        if view == "auto":
            view = "knowledge" if given or image is not None else "prompt"
        known, problems = self._known(text, image, given) if view != "prompt" else ({}, [])
        post = Post("post", text, "the post", head, tail, known)
        names = ("prompt", "knowledge") if view == "both" else (view,)
        views = {}
        for name in names:
            (result,) = self.predictor([post], name)
            views[name] = {key: value for key, value in result.items() if key not in ("id", "text")}
        return ViewPrediction(
            text,
            names[-1],
            views,
            known,
            _changes(views) if view == "both" else {},
            problems,
            self.predictor.attention(post) if attention else None,
            self.similar(text, similar) if self.similar is not None and similar else [],
        )

    def _known(self, text: str, image: Any, given: dict[str, str]) -> tuple[dict[str, str], list[str]]:
        """The columns that the knowledge view reads, captioner and teacher asked; and why some are missing."""
        if not self.columns:
            raise SettingError("The model was trained without knowledge.", fix="Read the text alone: view prompt.")
        known, problems = dict(given), list[str]()
        if image is not None and "caption" not in known:
            known["caption"] = self.source.caption(image)
        if self.source.plan is not None and any(name not in known for name in self.columns if name != "caption"):
            explained, problems = self.source.explain(text, known.get("caption", ""))
            known = {**explained, **known}
        problems += [f"The model does not read {name}." for name in given if name not in self.columns]
        known = {name: known[name] for name in self.columns if known.get(name)}
        if not known and self.source.plan is None:
            message = f"There is nothing for the knowledge view; it reads {', '.join(self.columns)}."
            raise SettingError(message, fix='Give a caption or knowledge, configure a teacher, or use view="prompt".')
        return known, problems


def _changes(views: dict[str, dict]) -> dict[str, list[dict]]:
    before, after = views["prompt"], views["knowledge"]
    changes = {"entities": entity_changes(before["entities"], after["entities"])} if "entities" in before else {}
    if "relation" in before or "relations" in before:
        changes["relations"] = relation_changes(before, after)
    return changes


def entity_changes(prompt: Sequence[dict], knowledge: Sequence[dict]) -> list[dict]:
    """Entities in which two views differ, in the order of the text.

    Returns:
        `list[dict]`: `kind` (`added`, `removed`, `type` or `span`), and the entities `prompt` and `knowledge`, of
        which one is `None` where nothing of the other view overlaps.

    Example:
        >>> before = {"start": 0, "end": 4, "type": "ORG"}
        >>> [change["kind"] for change in entity_changes([before], [{**before, "type": "PER"}])]
        ['type']
    """
    same = {_key(entity) for entity in prompt} & {_key(entity) for entity in knowledge}
    before = [entity for entity in prompt if _key(entity) not in same]
    after = [entity for entity in knowledge if _key(entity) not in same]
    changes = []
    for entity in before:
        other = max(after, key=lambda candidate: _overlap(entity, candidate), default=None)
        if other is None or not _overlap(entity, other):
            changes.append({"kind": "removed", "prompt": entity, "knowledge": None})
            continue
        after.remove(other)
        kind = "type" if _span(entity) == _span(other) else "span"
        changes.append({"kind": kind, "prompt": entity, "knowledge": other})
    changes += [{"kind": "added", "prompt": None, "knowledge": entity} for entity in after]
    return sorted(changes, key=lambda change: (change["knowledge"] or change["prompt"])["start"])


def relation_changes(prompt: dict, knowledge: dict) -> list[dict]:
    """Relations in which two views of one post differ: of one given pair, or of triples.

    Returns:
        `list[dict]`: `kind` (`added`, `removed` or `relation`), and `prompt` and `knowledge`: each `None`, or a
        `dict` with `relation` and `score`, for triples also with `head` and `tail` as spans [start, end].
    """
    if "relations" not in prompt:
        if prompt["relation"] == knowledge["relation"]:
            return []
        sides = [{name: view[name] for name in ("relation", "score")} for view in (prompt, knowledge)]
        return [{"kind": "relation", "prompt": sides[0], "knowledge": sides[1]}]
    # An entity whose span is another is still the same end of its relations
    moved = {
        _span(change["prompt"]): _span(change["knowledge"])
        for change in entity_changes(prompt["entities"], knowledge["entities"])
        if change["kind"] == "span"
    }
    before, after = _by_pair(prompt, moved), _by_pair(knowledge, {})
    changes = []
    for pair in sorted({*before, *after}):
        old, new = before.get(pair), after.get(pair)
        if old is None or new is None:
            changes.append({"kind": "added" if old is None else "removed", "prompt": old, "knowledge": new})
        elif old["relation"] != new["relation"]:
            changes.append({"kind": "relation", "prompt": old, "knowledge": new})
    return changes


def _key(entity: dict) -> tuple[int, int, str]:
    return *_span(entity), entity["type"]


def _overlap(one: dict, other: dict) -> int:
    """How many characters two entities share."""
    return max(0, min(one["end"], other["end"]) - max(one["start"], other["start"]))


def _span(entity: dict) -> tuple[int, int]:
    return entity["start"], entity["end"]


def _by_pair(view: dict, moved: dict[tuple[int, int], tuple[int, int]]) -> dict[tuple, dict]:
    """The relations of a post by the spans of their two entities, in the other view's words where they moved."""
    pairs = {}
    for relation in view["relations"]:
        head, tail = (_span(view["entities"][relation[side]]) for side in ("head", "tail"))
        pairs[moved.get(head, head), moved.get(tail, tail)] = {**relation, "head": head, "tail": tail}
    return pairs

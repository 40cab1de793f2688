"""Knowledge on demand: a language model is asked only about the posts on which the text-only model is uncertain."""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import concatenate_datasets

from modeling_cotpd.data.entities import gold_entities
from modeling_cotpd.data.posts import Post, post_of_record
from modeling_cotpd.data.prepared import read_prepared, write_prepared
from modeling_cotpd.data.schema import COT_COLUMNS, label_names_of, labels_of, make_split, task_of
from modeling_cotpd.data.values import cut
from modeling_cotpd.errors import DataError, KnowledgeError, SettingError
from modeling_cotpd.files import read_object, write_json, write_json_lines
from modeling_cotpd.inference.predictor import Predictor, Progress
from modeling_cotpd.inference.run import chunks, part_path, probable, read_part
from modeling_cotpd.inference.triples import NO_RELATION
from modeling_cotpd.knowledge.explanation import ElicitationPlan, elicit_posts, estimate_posts
from modeling_cotpd.knowledge.runner import Asking
from modeling_cotpd.training.results import THRESHOLD_FILE

KNOWN = "has_knowledge"
MEASURE = "expected number of wrong labels"

Explain = Callable[[Sequence[Post]], Iterable[tuple[dict, str]]]
"""Takes posts; yields for each its knowledge columns, and why they are missing (empty when they are not)."""


class KnowledgeOnDemand:
    """Reads posts as text alone, and the most uncertain ones again with knowledge.

    A post that has knowledge columns or glosses of its own is read with them. Of the others, the ones with the largest
    uncertainty are explained by a language model first. Where it gives no answer, the text-only prediction stays.

    Args:
        student (`Predictor`): Reads the text alone.
        reader (`Predictor`): Reads with knowledge; may be the same model.
        explain (`Callable`): Explains posts, such as `Explainer(plan, store)`.
        share (`float`, *optional*): The share of the posts without knowledge to ask about.
        threshold (`float`, *optional*): Ask about posts whose uncertainty is larger. Give one of the two.

    Raises:
        SettingError: Both or none of share and threshold are given, a share is not between 0 and 1, or the models are
            of different tasks or the reader was trained without knowledge.

    Example:

    ```python
    >>> predict = KnowledgeOnDemand(student, reader, Explainer(plan, "answers.sqlite"), share=0.2)  # doctest: +SKIP
    >>> predict(posts)[0]["view"]  # doctest: +SKIP
    'knowledge'
    ```
    """

    def __init__(
        self,
        student: Predictor,
        reader: Predictor,
        explain: Explain,
        *,
        share: float | None = None,
        threshold: float | None = None,
    ):
        if (share is None) == (threshold is None):
            raise SettingError("Give either a share or a threshold.", place="--ask-teacher, --threshold")
        if share is not None and not 0 <= share <= 1:
            raise SettingError(f"A share is between 0 and 1, got {share}.", place="--ask-teacher")
        check_reader(student, reader)
        self.student, self.reader, self.explain = student, reader, explain
        self.share, self.threshold = share, threshold

    def __call__(self, posts: Sequence[Post]) -> list[dict]:
        """Predict on posts; with a share, it is a share of these.

        Returns:
            `list[dict]`: Rows as of `Predictor` with `uncertainty`, `view` (`"prompt"` or `"knowledge"`, which one
            answered), `asked`, and `knowledge` (the columns that were read) or `unexplained` (why the language model
            has no answer).
        """
        rows = self.student(posts, uncertainty=True)
        known = np.array([has_knowledge(post.columns) for post in posts], dtype=bool)
        uncertainty = np.array([row["uncertainty"] for row in rows])
        return self.read_again(posts, rows, ~known & self.choose(np.where(known, -1.0, uncertainty)))

    def choose(self, uncertainty: np.ndarray) -> np.ndarray:
        """Which posts to ask about by their uncertainty; a negative one means that a post needs no answer."""
        if self.threshold is not None:
            return uncertainty > self.threshold
        chosen = np.zeros(len(uncertainty), dtype=bool)
        count = round((self.share or 0.0) * int((uncertainty >= 0).sum()))
        chosen[np.argsort(-uncertainty, kind="stable")[:count]] = True
        return chosen

    def read_again(self, posts: Sequence[Post], rows: Sequence[dict], chosen: np.ndarray) -> list[dict]:
        """Read the chosen posts, and those that have knowledge, in the knowledge view."""
        results = [{**row, "view": "prompt", "asked": bool(ask)} for row, ask in zip(rows, chosen, strict=True)]
        places = [place for place, post in enumerate(posts) if has_knowledge(post.columns)]
        read = [posts[place] for place in places]
        uncertain = [place for place in range(len(posts)) if chosen[place]]
        explained = self.explain([posts[place] for place in uncertain])
        for place, (columns, problem) in zip(uncertain, explained, strict=True):
            if columns:
                post = posts[place]
                places.append(place)
                read.append(replace(post, columns={**post.columns, **columns}))
            else:
                results[place]["unexplained"] = problem
        for place, post, row in zip(places, read, self.reader(read, "knowledge"), strict=True):
            kept = {name: value for name, value in post.columns.items() if name != "image"}
            uncertainty, asked = rows[place]["uncertainty"], bool(chosen[place])
            results[place] = row | {"uncertainty": uncertainty, "view": "knowledge", "asked": asked, "knowledge": kept}
        return results


def has_knowledge(columns: Mapping[str, Any]) -> bool:
    """Return whether the columns of a post hold explanations."""
    return any(columns.get(name) for name in ("glosses", *COT_COLUMNS))


@dataclass(frozen=True)
class Explainer:
    """Explains posts with a language model. An answer is stored when it arrives, and not asked for again."""

    plan: ElicitationPlan
    store: str | os.PathLike
    asking: Asking = field(default_factory=Asking)

    def __call__(self, posts: Sequence[Post]) -> Iterator[tuple[dict, str]]:
        """As `Explain`."""
        missing = "The language model was not asked."
        left = len(posts)
        try:
            for explanation in elicit_posts(posts, self.plan, self.store, self.asking):
                columns: dict = {name: text for name, text in explanation.columns().items() if text}
                if explanation.glosses:
                    columns["glosses"] = explanation.glosses
                reasons = [f"{grain}: {a.status} {a.reason}".strip() for grain, a in explanation.problems().items()]
                yield columns, "; ".join(reasons)
                left -= 1
        except KnowledgeError as error:
            missing = str(error)
        for _ in range(left):
            yield {}, missing


def on_demand_plan(reader: Predictor, settings, prompts: dict) -> ElicitationPlan:
    """Ask for what a model's knowledge view reads: glosses for the inline placement, else its columns."""
    names = reader.knowledge.knowledge_columns
    grains = tuple(name.removeprefix("cot_") for name in COT_COLUMNS if name in names)
    nouns = "list" if reader.knowledge.placement == "inline" else "text"
    return ElicitationPlan(settings, prompts, grains, nouns=nouns)


@dataclass(frozen=True)
class SecondPass:
    """Ranks the posts of a whole run by uncertainty, and reads the most uncertain ones again, or estimates the cost.

    `explainer` is whom `demand` asks; `output` and `min_score` are those of the first pass; `say` prints lines.
    """

    demand: KnowledgeOnDemand
    explainer: Explainer
    posts: Callable[[], Iterator[Post]]
    output: Path
    min_score: float
    dry_run: bool
    say: Callable[[list[str]], None]

    def first(self, posts: Sequence[Post], on_progress: Progress | None = None) -> list[dict]:
        """What the first pass writes: text-only predictions with their uncertainty."""
        rows = self.demand.student(posts, uncertainty=True, on_progress=on_progress)
        return [{**row, KNOWN: has_knowledge(post.columns)} for post, row in zip(posts, rows, strict=True)]

    def __call__(self, sizes: list[int]) -> bool:
        """Rewrite the chunks, and return whether they are complete: not after a mere estimate.

        Raises:
            Interrupted: The run was interrupted while asking; finished chunks are kept.
        """
        asking = self.explainer.asking
        chosen = self.demand.choose(np.array([u for number in range(len(sizes)) for u in self._uncertainty(number)]))
        if self.dry_run:
            asked = (post for post, ask in zip(self.posts(), chosen, strict=True) if ask)
            found = estimate_posts(asked, self.explainer.plan, self.explainer.store, asking.again)
            counted = f"posts to ask about: {int(chosen.sum()):,} of {len(chosen):,}"
            self.say([counted, *found.lines(asking.price)])
            return False
        begin, counts = 0, Counter[str]()
        for number, posts in enumerate(chunks(self.posts())):
            path = part_path(self.output, number)
            rows = read_part(path)
            if rows and "view" not in rows[0]:
                plain = [{name: value for name, value in row.items() if name != KNOWN} for row in rows]
                rows = self.demand.read_again(posts, plain, chosen[begin : begin + len(posts)])
                rows = [probable(row, self.min_score) for row in rows]
                write_json_lines(path, rows)
            begin += len(posts)
            counts.update("unexplained" if "unexplained" in row else row["view"] for row in rows)
        self.say([f"read with knowledge: {counts['knowledge']:,}; text alone: {counts['prompt']:,}"])
        if count := counts["unexplained"]:
            self.say([f"without an explanation, so text alone: {count:,} (see unexplained)"])
        return True

    def _uncertainty(self, number: int) -> list[float]:
        """Of one chunk; negative for posts that need no answer."""
        rows = read_part(part_path(self.output, number))
        known = [row.get(KNOWN) or (row.get("view") == "knowledge" and not row["asked"]) for row in rows]
        return [-1.0 if skip else row["uncertainty"] for skip, row in zip(known, rows, strict=True)]


def check_reader(student: Predictor, reader: Predictor) -> None:
    """Raise a `SettingError` unless a model can read again, with knowledge, what another read as text alone."""
    if student.task != reader.task:
        message = f"The models are for {student.task} and {reader.task}."
        raise SettingError(message, place="--knowledge-model", fix="Name two of one.")
    if not reader.knowledge.sources:
        fix = "Name a model with a knowledge view."
        raise SettingError("The model was trained without knowledge.", place="--knowledge-model", fix=fix)


def view_counts(
    student: Predictor, reader: Predictor, dataset_dir: str | os.PathLike, name: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Uncertainty of the text-only view, and the counts of both views, per labelled post of a split.

    Returns:
        Uncertainty `(posts,)`, and for the prompt and the knowledge view the correct, predicted and gold entities (or
        relations other than `None`) `(posts, 3)`.
    """
    check_reader(student, reader)
    splits, _ = read_prepared(dataset_dir)
    if name not in splits:
        raise DataError(f"There is no split {name!r}.", place=str(dataset_dir), fix=f"There are {', '.join(splits)}.")
    split = splits[name]
    if task_of(split.features) != student.task:
        raise DataError(f"The data is for {task_of(split.features)}, the model for {student.task}.")
    split = split.select([index for index, label in enumerate(labels_of(split)) if label is not None])
    posts = [post_of_record(row) for row in split]
    if not any(post.columns for post in posts):
        fix = "Explain it first: cotpd elicit"
        raise DataError(f"The split {name!r} has no labelled posts with knowledge.", place=str(dataset_dir), fix=fix)
    names = label_names_of(split.features)
    gold = [_gold(row, names, student.task) for row in split]
    text, known = student(posts, uncertainty=True), reader(posts, "knowledge")
    uncertainty = np.array([row["uncertainty"] for row in text])
    return uncertainty, _counts(text, gold), _counts(known, gold)


def _gold(row: dict, names: list[str], task: str) -> set:
    if task == "mre":
        return {names[row["relation"]]} - {NO_RELATION}
    return set(gold_entities(row["tokens"], [names[tag] for tag in row["ner_tags"]]))


def _counts(rows: list[dict], gold: list[set]) -> np.ndarray:
    counts = []
    for row, wanted in zip(rows, gold, strict=True):
        if "relation" in row:
            found = {row["relation"]} - {NO_RELATION, None}
        else:
            found = {(entity["type"], entity["start"], entity["end"]) for entity in row["entities"]}
        counts.append((len(found & wanted), len(found), len(wanted)))
    return np.array(counts)


def f1_curve(prompt: np.ndarray, knowledge: np.ndarray, order: np.ndarray) -> np.ndarray:
    """F1 after asking about the first 0, 1, 2, ... posts in an order, from what `view_counts` returns.

    Example:
        >>> one, two = np.array([[0, 1, 1], [1, 1, 1]]), np.array([[1, 1, 1], [1, 1, 1]])
        >>> f1_curve(one, two, np.array([0, 1])).tolist()
        [0.5, 1.0, 1.0]
    """
    gain = np.cumsum((knowledge - prompt)[order], axis=0)
    counts = prompt.sum(0) + np.vstack([np.zeros((1, 3), dtype=gain.dtype), gain])
    return 2 * counts[:, 0] / np.maximum(1, counts[:, 1] + counts[:, 2])


def choose_threshold(
    uncertainty: np.ndarray, prompt: np.ndarray, knowledge: np.ndarray, gain: float = 0.9
) -> tuple[float, float]:
    """The largest threshold that keeps a share of the gain of asking about every post, and the share it asks about.

    Takes what `view_counts` returns of validation posts; `gain` is the share of the gain in F1.
    """
    order = np.argsort(-uncertainty, kind="stable")
    curve = f1_curve(prompt, knowledge, order)
    enough = np.flatnonzero(curve >= curve[0] + gain * (curve[-1] - curve[0]))
    count = int(enough[0])
    if count == 0:
        return float(uncertainty.max()), 0.0
    ranked = uncertainty[order]
    below = ranked[count] if count < len(ranked) else ranked[-1] - 1.0
    return float((ranked[count - 1] + below) / 2), count / len(uncertainty)


def write_threshold(model: str | os.PathLike, threshold: float, share: float, **further) -> Path:
    """Store a threshold with a model, for `cotpd predict --threshold stored`."""
    path = Path(model) / THRESHOLD_FILE
    write_json(path, {"measure": MEASURE, "threshold": threshold, "share": share, **further})
    return path


def stored_threshold(model: str | os.PathLike) -> float:
    """The threshold that is stored with a model."""
    path = Path(model) / THRESHOLD_FILE
    found = (read_object(path) or {}).get("threshold")
    if not isinstance(found, int | float):
        fix = "Choose one on validation data with: cotpd threshold MODEL --dataset-dir DATA"
        raise SettingError("No threshold is stored with this model.", place=str(path), fix=fix)
    return float(found)


def add_explained(predictions: str | os.PathLike, dataset_dir: str | os.PathLike, out: str | os.PathLike) -> int:
    """Write a prepared folder with the explained posts of a prediction file behind its training posts, unlabelled.

    Returns:
        How many posts were added. A post whose text is in the folder already, in any split, is left out.
    """
    splits, info = read_prepared(dataset_dir)
    if "train" not in splits or task_of(splits["train"].features) != "mner":
        raise DataError(
            "There is no training split for entities.", place=str(dataset_dir), fix="Name a prepared folder."
        )
    known = {" ".join(tokens) for split in splits.values() for tokens in split["tokens"]}
    rows: list[dict] = []
    with open(predictions, "rb") as lines:
        for row in map(json.loads, lines):
            tokens = [row["text"][start:end] for start, end in cut(row["text"])]
            if tokens and " ".join(tokens) not in known and has_knowledge(row.get("knowledge", {})):
                known.add(" ".join(tokens))
                rows.append({"id": f"asked-{len(rows)}", "tokens": tokens, "ner_tags": None, **row["knowledge"]})
    if not rows:
        raise DataError(
            "The file has no explained posts that are new.", place=str(predictions), fix="Predict with --ask-teacher."
        )
    added = make_split(rows, "mner", info.label_names, str(predictions)).cast(splits["train"].features)
    joined = {**splits, "train": concatenate_datasets([splits["train"], added])}
    note = f"{len(rows)} unlabelled posts explained on demand"
    write_prepared(joined, replace(info, knowledge="; ".join(filter(None, (info.knowledge, note)))), out)
    return len(rows)

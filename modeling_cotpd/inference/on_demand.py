"""Knowledge on demand: a language model is asked only about the posts on which the text-only model is uncertain."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from modeling_cotpd.data.posts import Post
from modeling_cotpd.data.schema import COT_COLUMNS
from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.files import write_json
from modeling_cotpd.inference.predictor import Predictor
from modeling_cotpd.knowledge.explanation import ElicitationPlan, elicit_posts
from modeling_cotpd.knowledge.post import Post as AskedPost
from modeling_cotpd.knowledge.runner import Asking

THRESHOLD_FILE = "on_demand.json"
MEASURE = "expected number of wrong labels"

Explain = Callable[[Sequence[Post]], Iterable[tuple[dict, str]]]
"""Takes posts; yields for each its knowledge columns, and why they are missing (empty when they are not)."""


class KnowledgeOnDemand:
    """Reads posts as text alone, and those that are worth it again with knowledge.

    A post that has knowledge columns or glosses of its own is read with them. Of the others, the ones with the largest
    uncertainty are explained by a language model first. Where it gives no answer, the text-only prediction stays.

    Args:
        student (`Predictor`): Reads the text alone.
        reader (`Predictor`): Reads with knowledge; may be the same model.
        explain (`Callable`): Explains posts, such as `explain_with(plan, store)`.
        share (`float`, *optional*): The share of the posts without knowledge to ask about.
        threshold (`float`, *optional*): Ask about posts whose uncertainty is larger. Give one of the two.

    Raises:
        SettingError: Both or none of share and threshold are given, a share is not between 0 and 1, or the models are
            of different tasks or the reader was trained without knowledge.

    Example:

    ```python
    >>> predict = KnowledgeOnDemand(student, reader, explain_with(plan, "answers.sqlite"), share=0.2)  # doctest: +SKIP
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
        if student.task != reader.task:
            raise SettingError(
                f"The models are for {student.task} and {reader.task}.",
                place="--knowledge-model",
                fix="Name two of one.",
            )
        if not reader.knowledge.sources:
            raise SettingError(
                "The model was trained without knowledge.",
                place="--knowledge-model",
                fix="Name a model with a knowledge view.",
            )
        self.student, self.reader, self.explain = student, reader, explain
        self.share, self.threshold = share, threshold

    def __call__(self, posts: Sequence[Post]) -> list[dict]:
        """Predict on posts; with a share, it is a share of these.

        Returns:
            `list[dict]`: Rows as of `Predictor` with `uncertainty`, `view` (`"prompt"` or `"knowledge"`, which one
            answered), `asked`, and `knowledge` (the columns that were read) or `unexplained` (why the language
                model has no answer).
        """
        rows = self.student(posts, uncertainty=True)
        return self.read_again(posts, rows, self.choose(posts, rows))

    def choose(self, posts: Sequence[Post], rows: Sequence[dict]) -> np.ndarray:
        """Which posts to ask about, `(posts,)` of bool."""
        known = np.array([has_knowledge(post) for post in posts], dtype=bool)
        uncertainty = np.array([row["uncertainty"] for row in rows])
        return ~known & self.choose_among(np.where(known, -1.0, uncertainty))

    def choose_among(self, uncertainty: np.ndarray) -> np.ndarray:
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
        places, read = [], []
        for place, post in enumerate(posts):
            if has_knowledge(post):
                places.append(place)
                read.append(post)
        asked = [place for place in range(len(posts)) if chosen[place]]
        for place, (columns, problem) in zip(asked, self.explain([posts[place] for place in asked]), strict=True):
            if columns:
                post = posts[place]
                places.append(place)
                read.append(Post(post.id, post.text, post.place, post.head, post.tail, {**post.columns, **columns}))
            else:
                results[place]["unexplained"] = problem
        for place, post, row in zip(places, read, self.reader(read, "knowledge"), strict=True):
            kept = {name: value for name, value in post.columns.items() if name != "image"}
            results[place] = {
                **row,
                "uncertainty": rows[place]["uncertainty"],
                "view": "knowledge",
                "asked": bool(chosen[place]),
                "knowledge": kept,
            }
        return results


def has_knowledge(post: Post) -> bool:
    """Return whether a post has explanations of its own."""
    return any(post.columns.get(name) for name in ("glosses", *COT_COLUMNS))


def explain_with(plan: ElicitationPlan, store: str | os.PathLike, asking: Asking | None = None) -> Explain:
    """Return a function that explains posts with a language model. Answers are stored when they arrive.

    Args:
        plan (`ElicitationPlan`): Which model is asked, and what.
        store (`str` or `os.PathLike`): The response store; an answer in it is not asked for again.
        asking (`Asking`, *optional*): Concurrency and progress.
    """

    def explain(posts: Sequence[Post]) -> Iterable[tuple[dict, str]]:
        missing = "The language model was not asked."
        left = len(posts)
        try:
            for explanation in elicit_posts(as_asked(posts), plan, store, asking):
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

    return explain


def as_asked(posts: Iterable[Post]) -> Iterable[AskedPost]:
    """Posts in the form that elicitation takes."""
    for number, post in enumerate(posts):
        yield AskedPost(f"{number}", post.text, post.columns.get("caption", ""), post.columns.get("image", ""))


def on_demand_plan(reader: Predictor, settings, prompts: dict) -> ElicitationPlan:
    """Ask for what a model's knowledge view reads: glosses for the inline placement, else its columns."""
    names = reader.knowledge.knowledge_columns
    grains = tuple(name.removeprefix("cot_") for name in COT_COLUMNS if name in names)
    nouns = "list" if reader.knowledge.placement == "inline" else "text"
    return ElicitationPlan(settings, prompts, grains, nouns=nouns)


def f1_curve(prompt: np.ndarray, knowledge: np.ndarray, order: np.ndarray) -> np.ndarray:
    """F1 after asking about the first 0, 1, 2, ... posts.

    Args:
        prompt, knowledge (`np.ndarray` of shape `(posts, 3)`): Per post the correct, predicted and gold entities of
            each view.
        order (`np.ndarray` of shape `(posts,)`): The posts in the order in which they are asked about.

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

    Args:
        uncertainty (`np.ndarray` of shape `(posts,)`): Of validation posts.
        prompt, knowledge (`np.ndarray` of shape `(posts, 3)`): As for `f1_curve`.
        gain (`float`, *optional*, defaults to 0.9): The share of the gain in F1.
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
    """Read the threshold that is stored with a model.

    Raises:
        SettingError: There is none.
    """
    path = Path(model) / THRESHOLD_FILE
    try:
        return float(json.loads(path.read_text("utf-8"))["threshold"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingError(
            "No threshold is stored with this model.",
            place=str(path),
            fix="Choose one on validation data with: cotpd threshold MODEL --dataset-dir DATA",
        ) from error

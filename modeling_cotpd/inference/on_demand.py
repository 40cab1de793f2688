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

from modeling_cotpd.data.posts import Post, PostFile
from modeling_cotpd.data.prepared import read_prepared, write_prepared
from modeling_cotpd.data.schema import COT_COLUMNS, make_split, task_of
from modeling_cotpd.data.values import cut
from modeling_cotpd.errors import DataError, KnowledgeError, SettingError
from modeling_cotpd.files import write_json_lines
from modeling_cotpd.inference.predictor import Predictor, Progress
from modeling_cotpd.inference.run import all_posts, chunks, part_path, probable, read_part
from modeling_cotpd.inference.threshold import check_reader
from modeling_cotpd.knowledge.explanation import ElicitationPlan, elicit_posts, estimate_posts
from modeling_cotpd.knowledge.runner import Asking

KNOWN = "has_knowledge"

Explain = Callable[[Sequence[Post]], Iterable[tuple[dict, str]]]
"""Takes posts; yields for each its knowledge columns, and why they are missing (empty when they are not)."""


class KnowledgeOnDemand:
    """Reads posts as text alone, and the most uncertain ones again with knowledge.

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
        return self.read_again(posts, rows, self.choose(posts, rows))

    def choose(self, posts: Sequence[Post], rows: Sequence[dict]) -> np.ndarray:
        """Which posts to ask about, `(posts,)` of bool."""
        known = np.array([has_knowledge(post.columns) for post in posts], dtype=bool)
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
        places = [place for place, post in enumerate(posts) if has_knowledge(post.columns)]
        read = [posts[place] for place in places]
        asked = [place for place in range(len(posts)) if chosen[place]]
        for place, (columns, problem) in zip(asked, self.explain([posts[place] for place in asked]), strict=True):
            if columns:
                post = posts[place]
                places.append(place)
                read.append(replace(post, columns={**post.columns, **columns}))
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


def has_knowledge(columns: Mapping[str, Any]) -> bool:
    """Return whether the columns of a post hold explanations."""
    return any(columns.get(name) for name in ("glosses", *COT_COLUMNS))


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
            for explanation in elicit_posts(posts, plan, store, asking):
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


def on_demand_plan(reader: Predictor, settings, prompts: dict) -> ElicitationPlan:
    """Ask for what a model's knowledge view reads: glosses for the inline placement, else its columns."""
    names = reader.knowledge.knowledge_columns
    grains = tuple(name.removeprefix("cot_") for name in COT_COLUMNS if name in names)
    nouns = "list" if reader.knowledge.placement == "inline" else "text"
    return ElicitationPlan(settings, prompts, grains, nouns=nouns)


class DryRun(Exception):
    """Ends a run before anything is sent."""


@dataclass
class SecondPass:
    """Ranks the posts of a whole run by uncertainty, and reads the most uncertain ones again.

    Args:
        demand (`KnowledgeOnDemand`): Chooses and reads.
        plan (`ElicitationPlan`), store (`Path`), asking (`Asking`): Whom, what and how to ask.
        files (`Sequence[PostFile]`), task (`str`), output (`Path`), text_column (`str`), min_score
            (`float`): Those of the first pass.
        dry_run (`bool`): Estimate the cost and stop.
    """

    demand: KnowledgeOnDemand
    plan: ElicitationPlan
    store: Path
    asking: Asking
    files: Sequence[PostFile]
    task: str
    output: Path
    text_column: str
    min_score: float
    dry_run: bool
    counts: Counter = field(default_factory=Counter, init=False)
    lines: list[str] = field(default_factory=list, init=False)

    def first(self, posts: Sequence[Post], on_progress: Progress | None = None) -> list[dict]:
        """What the first pass writes: text-only predictions with their uncertainty."""
        rows = self.demand.student(posts, uncertainty=True, on_progress=on_progress)
        return [{**row, KNOWN: has_knowledge(post.columns)} for post, row in zip(posts, rows, strict=True)]

    def __call__(self, sizes: list[int]) -> None:
        """Rewrite the chunks.

        Raises:
            DryRun: After the estimate.
            Interrupted: The run was interrupted while asking; finished chunks are kept.
        """
        uncertainty = np.array([u for number in range(len(sizes)) for u in self._uncertainty(number)])
        chosen = self.demand.choose_among(uncertainty)
        if self.dry_run:
            asked = (post for post, ask in zip(self._posts(), chosen, strict=True) if ask)
            self.lines = [f"posts to ask about: {int(chosen.sum()):,} of {len(chosen):,}"]
            self.lines += estimate_posts(asked, self.plan, self.store, self.asking.again).lines(self.asking.price)
            raise DryRun
        begin = 0
        for number, posts in enumerate(chunks(self._posts())):
            path = part_path(self.output, number)
            rows = read_part(path)
            if rows and "view" not in rows[0]:
                plain = [{name: value for name, value in row.items() if name != KNOWN} for row in rows]
                rows = self.demand.read_again(posts, plain, chosen[begin : begin + len(posts)])
                rows = [probable(row, self.min_score) for row in rows]
                write_json_lines(path, rows)
            begin += len(posts)
            self.counts.update("unexplained" if "unexplained" in row else row["view"] for row in rows)

    def report(self) -> list[str]:
        """What was asked and read, in words."""
        if self.lines:
            return self.lines
        lines = [f"read with knowledge: {self.counts['knowledge']:,}; text alone: {self.counts['prompt']:,}"]
        if self.counts["unexplained"]:
            lines.append(f"without an explanation, so text alone: {self.counts['unexplained']:,} (see unexplained)")
        return lines

    def _posts(self) -> Iterator[Post]:
        return all_posts(self.files, self.task, self.text_column)

    def _uncertainty(self, number: int) -> list[float]:
        """Of one chunk; negative for posts that need no answer."""
        rows = read_part(part_path(self.output, number))
        known = [row.get(KNOWN) or (row.get("view") == "knowledge" and not row["asked"]) for row in rows]
        return [-1.0 if skip else row["uncertainty"] for skip, row in zip(known, rows, strict=True)]


def add_explained(predictions: str | os.PathLike, dataset_dir: str | os.PathLike, out: str | os.PathLike) -> int:
    """Add the explained posts of a prediction file to a training split, without labels.

    Args:
        predictions (`str` or `os.PathLike`): What `cotpd predict` with knowledge on demand wrote, for entities.
        dataset_dir (`str` or `os.PathLike`): A prepared folder.
        out (`str` or `os.PathLike`): A new prepared folder. Its training split has the labelled posts first.

    Returns:
        How many posts were added. A post whose text is in the folder already, in any split, is left out.

    Raises:
        DataError: The folder is for relations or has no training split, or the file has no explained posts.
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

"""The summarizer: explanations that are over the student's budget, and only those, are told shorter by the teacher."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.knowledge.answer import ANSWERED
from modeling_cotpd.knowledge.elicit import all_posts, count_posts, write_columns
from modeling_cotpd.knowledge.estimate import Price
from modeling_cotpd.knowledge.explanation import GRAINS
from modeling_cotpd.knowledge.files import json_line, writing
from modeling_cotpd.knowledge.job import Job, Talk, walk
from modeling_cotpd.knowledge.post import Post, PostFile, find_post_files
from modeling_cotpd.knowledge.progress import ProgressBar
from modeling_cotpd.knowledge.prompt import Prompt
from modeling_cotpd.knowledge.request import Request
from modeling_cotpd.knowledge.runner import Progress, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore
from modeling_cotpd.knowledge.teacher import TeacherSettings

WORDS_PER_PIECE = 0.6
"""How many words of a summary to ask for per word piece of the budget. English has about 1.3 pieces to a word, posts
full of names and hashtags more, and models overrun the number that they were told."""


@dataclass(frozen=True)
class SummaryPlan:
    """What is too long, and whom to ask for something shorter.

    Args:
        settings (`TeacherSettings`): Whom to ask.
        prompt (`Prompt`): The prompt `summarize`, with the fields `words` and `explanation`.
        budgets (`dict[str, int]`): Grain to the most word pieces it may have; a grain that is not named is left alone.
        count (`Callable[[str], int]`): Number of word pieces of a text, without special tokens.

    Raises:
        SettingError: A grain is unknown or a budget is below 10.
    """

    settings: TeacherSettings
    prompt: Prompt
    budgets: dict[str, int]
    count: Callable[[str], int]

    def __post_init__(self):
        for grain, budget in self.budgets.items():
            if grain not in GRAINS:
                raise SettingError(f"{grain!r} is not a grain.", place="budget", fix=f"Use {', '.join(GRAINS)}.")
            if budget < 10:
                raise SettingError(f"{budget} word pieces hold no sentence.", place=f"budget of {grain}")

    def too_long(self, post: Post) -> dict[str, int]:
        """Grain to number of word pieces, of the grains over their budget."""
        texts = post.knowledge
        lengths = {grain: self.count(texts[grain]) for grain in self.budgets if texts.get(grain)}
        return {grain: length for grain, length in lengths.items() if length > self.budgets[grain]}


def count_with(tokenizer: str) -> Callable[[str], int]:
    """A counter of word pieces from a tokenizer's folder or name.

    Raises:
        SettingError: There is no such tokenizer.
    """
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise SettingError(f"This tokenizer can not be loaded: {error}", place="tokenizer") from None
    return lambda text: len(loaded(text, add_special_tokens=False, verbose=False)["input_ids"])


def summary_jobs(posts: Iterable[Post], plan: SummaryPlan) -> Iterator[Job]:
    """One job per post; its result is a `dict[str, Answer]` of the grains that are over their budget."""
    for post in posts:
        yield Job(post.id, partial(shorten, post, plan))


def shorten(post: Post, plan: SummaryPlan) -> Talk:
    """The requests for one post, one per grain that is too long."""
    result = {}
    for grain in plan.too_long(post):
        words = str(int(plan.budgets[grain] * WORDS_PER_PIECE))
        question = plan.prompt.fill(
            words=words, explanation=post.knowledge[grain], text=post.text, caption=post.caption
        )
        result[grain] = yield Request(
            endpoint=plan.settings.endpoint,
            purpose="summarize",
            prompt=plan.prompt.tag,
            body=plan.settings.body([{"role": "user", "content": question}]),
        )
    return result


@dataclass
class Summarized:
    """What a run left behind.

    Args:
        progress (`Progress`): What was asked in this run.
        outcomes (`Counter`): `(grain, outcome)`: `summarized`, `still too long` (taken, and cut later by the views),
            `not shorter` (the summary was no shorter, the explanation stays), or the status of what is no answer (the
            explanation stays).
        problems (`int`): Grains of posts whose explanation stays although it is too long.
        marks (`Path`): JSON Lines that name every grain of every post that was too long, and what became of it.
    """

    progress: Progress = field(default_factory=Progress)
    outcomes: Counter = field(default_factory=Counter)
    problems: int = 0
    marks: Path = Path()


def summarize(
    source: str | os.PathLike,
    out: str | os.PathLike,
    store: str | os.PathLike,
    plan: SummaryPlan,
    *,
    concurrency: int = 16,
    again: Iterable[str] = (),
    price: Price | None = None,
) -> Summarized:
    """Copy a prepared folder with every explanation over its budget told shorter.

    `OUT/summarized.jsonl` marks every changed or too long explanation with its length before and after, and
    `dataset.json` says that and with what it was summarized.

    Args:
        source: A prepared folder with chain-of-thought columns.
        out: The new prepared folder.
        store: The response store's file.
        plan (`SummaryPlan`): What is too long, and whom to ask.
        concurrency (`int`): Requests under way at once.
        again (`Iterable[str]`): Statuses of stored answers to ask again; failed ones always are.
        price (`Price`, *optional*): For the progress bar.

    Raises:
        DataError: `source` is no prepared folder, or `out` is not empty.
    """
    _, info = read_prepared(source)
    out, files, result = Path(out), find_post_files(source), Summarized()
    if out.exists() and any(out.iterdir()):
        raise DataError("The output folder is not empty.", place=str(out), fix="Name a new folder or empty this one.")
    with ResponseStore(store) as opened:
        with ProgressBar(count_posts(files, None), "posts", price) as bar:
            jobs = summary_jobs(all_posts(files, None), plan)
            result.progress = run_jobs(
                jobs, plan.settings, opened, concurrency=concurrency, again=again, on_change=bar.update
            )
        columns: dict[str, dict[str, list[str]]] = {}
        marks: list[dict] = []
        for file in files:
            columns[file.name] = _shortened(file, plan, opened, result, marks)
    if result.progress.stopped:
        return result
    origin = f"{info.knowledge}; over budget {plan.budgets} summarized by {plan.settings.model}, {plan.prompt.tag}"
    shortened = {"teacher": plan.settings.model, "shortened": "over budget", "prompts": {"summarize": plan.prompt.tag}}
    write_columns(source, out, columns, origin, [*info.provenance.get("knowledge", []), shortened])
    result.marks = out / "summarized.jsonl"
    with writing(result.marks) as lines:
        lines.writelines(json_line(mark) for mark in marks)
    return result


def _shortened(
    file: PostFile, plan: SummaryPlan, store: ResponseStore, result: Summarized, marks: list[dict]
) -> dict[str, list[str]]:
    columns: dict[str, list[str]] = {f"cot_{grain}": [] for grain in GRAINS}
    for post in file.posts():
        texts = {grain: post.knowledge.get(grain, "") for grain in GRAINS}
        lengths = plan.too_long(post)
        for grain, answer in walk(shorten(post, plan), lambda request: store.get(request.key)).items():
            before, after = lengths[grain], plan.count(answer.text.strip())
            if answer.status != ANSWERED:
                outcome, after = answer.status, before
            elif after >= before:
                outcome, after = "not shorter", before
            else:
                outcome = "summarized" if after <= plan.budgets[grain] else "still too long"
                texts[grain] = answer.text.strip()
            result.outcomes[grain, outcome] += 1
            result.problems += after == before
            mark = {"split": file.name, "id": post.id, "grain": grain, "outcome": outcome, "reason": answer.reason}
            marks.append({**mark, "pieces_before": before, "pieces_after": after})
        for grain in GRAINS:
            columns[f"cot_{grain}"].append(texts[grain])
    return columns

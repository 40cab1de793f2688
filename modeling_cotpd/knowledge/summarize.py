"""The summarizer: explanations that are over the student's budget, and only those, are shortened by the model."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from modeling_cotpd.data.posts import Post, PostFile, count_posts, find_post_files, read_posts
from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.errors import SettingError, check_at_least, check_choice
from modeling_cotpd.files import require_empty, write_json_lines
from modeling_cotpd.knowledge.answer import ANSWERED, Answer
from modeling_cotpd.knowledge.elicit import by_file, write_columns
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.explanation import GRAINS
from modeling_cotpd.knowledge.prompt import Prompt
from modeling_cotpd.knowledge.request import Conversation, Job
from modeling_cotpd.knowledge.runner import Asking, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore

WORDS_PER_PIECE = 0.6
"""Words of a summary to ask for per subword token of the budget. English has about 1.3 tokens to a word, posts full
of names and hashtags more, and models write more words than they are asked for."""
LEAST_BUDGET = 10
"""Fewer subword tokens hold no sentence."""


@dataclass(frozen=True)
class SummaryPlan:
    """Which model shortens with which prompt, the most subword tokens of each grain, and how to `count` them."""

    settings: EndpointSettings
    prompt: Prompt
    budgets: dict[str, int]
    count: Callable[[str], int]

    def __post_init__(self):
        for grain, budget in self.budgets.items():
            check_choice(grain, GRAINS, "budget")
            check_at_least(budget, LEAST_BUDGET, f"budget of {grain}")

    def too_long(self, post: Post) -> dict[str, int]:
        """Return grain to number of subword tokens, of the grains over their budget."""
        texts = {grain: post.columns.get(f"cot_{grain}") for grain in self.budgets}
        lengths = {grain: self.count(text) for grain, text in texts.items() if text}
        return {grain: length for grain, length in lengths.items() if length > self.budgets[grain]}


def count_with(tokenizer: str) -> Callable[[str], int]:
    """Return a counter of subword tokens from a tokenizer's folder or name."""
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise SettingError(f"This tokenizer cannot be loaded: {error}", place="tokenizer") from None
    return lambda text: len(loaded(text, add_special_tokens=False, verbose=False)["input_ids"])


def summary_jobs(files: Iterable[PostFile], plan: SummaryPlan) -> Iterator[Job]:
    """Yield one job per post, named after its file; its result is the post and an `Answer` per grain over budget."""
    for file in files:
        for post in read_posts(file):
            yield Job(file.name, partial(_shorten, post, plan))


def _shorten(post: Post, plan: SummaryPlan) -> Conversation:
    answers: dict[str, Answer] = {}
    for grain in plan.too_long(post):
        words = str(int(plan.budgets[grain] * WORDS_PER_PIECE))
        known = {"explanation": post.columns[f"cot_{grain}"], "caption": post.columns.get("caption", "")}
        question = plan.prompt.fill(words=words, text=post.text, **known)
        messages = [{"role": "user", "content": question}]
        answers[grain] = yield plan.settings.request("summarize", plan.prompt.tag, messages)
    return post, answers


@dataclass
class Summarized:
    """The result of a run.

    `outcomes` counts `(grain, outcome)`: `summarized`, `still too long` (taken, and truncated later by the views),
    `not shorter`, or the status of what is no answer; with these two the explanation stays, and is one of the
    `problems`. `marks` is the JSON Lines file of all of them.
    """

    outcomes: Counter = field(default_factory=Counter)
    problems: int = 0
    marks: Path = Path()


def summarize(
    source: str | os.PathLike,
    out: str | os.PathLike,
    store: str | os.PathLike,
    plan: SummaryPlan,
    asking: Asking | None = None,
) -> Summarized:
    """Copy a prepared folder with every explanation over its budget shortened.

    `OUT/summarized.jsonl` lists every changed or too long explanation with its length before and after, and
    `dataset.json` says with which model it was summarized.
    """
    _, info = read_prepared(source)
    asking, out, files = asking or Asking(), require_empty(out), find_post_files(source)
    result = Summarized()
    columns: dict[str, dict[str, list[str]]] = {}
    marks: list[dict] = []
    jobs, total = summary_jobs(files, plan), count_posts(files)
    with (
        ResponseStore(store) as opened,
        closing(run_jobs(jobs, plan.settings, opened, asking, total=total)) as results,
    ):
        for file, shortened in by_file(files, results):
            texts: dict[str, list[str]] = {grain: [] for grain in GRAINS}
            for post, answers in shortened:
                for grain, values in texts.items():
                    values.append(post.columns.get(f"cot_{grain}", ""))
                for grain, answer in answers.items():
                    mark, text = _outcome(post, grain, answer, plan)
                    texts[grain][-1] = text
                    result.outcomes[grain, mark["outcome"]] += 1
                    result.problems += mark["pieces_after"] == mark["pieces_before"]
                    marks.append({"split": file.name, **mark})
            columns[file.name] = {f"cot_{grain}": values for grain, values in texts.items()}
    origin = f"{info.knowledge}; over budget {plan.budgets} summarized by {plan.settings.model}, {plan.prompt.tag}"
    made = {"teacher": plan.settings.model, "shortened": "over budget", "prompts": {"summarize": plan.prompt.tag}}
    write_columns(source, out, columns, origin, [*info.provenance.get("knowledge", []), made])
    result.marks = out / "summarized.jsonl"
    write_json_lines(result.marks, marks)
    return result


def _outcome(post: Post, grain: str, answer: Answer, plan: SummaryPlan) -> tuple[dict, str]:
    """The mark of one explanation that was too long, and the text that the column gets."""
    text, summary = post.columns[f"cot_{grain}"], answer.text.strip()
    before, after = plan.count(text), plan.count(summary)
    if answer.status != ANSWERED:
        outcome, after = answer.status, before
    elif after >= before:
        outcome, after = "not shorter", before
    else:
        outcome, text = "summarized" if after <= plan.budgets[grain] else "still too long", summary
    about = {"id": post.id, "grain": grain, "outcome": outcome, "reason": answer.reason}
    return {**about, "pieces_before": before, "pieces_after": after}, text

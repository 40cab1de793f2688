"""Elicitation: from posts to chain-of-thought columns."""

import itertools
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from modeling_cotpd.data.prepared import read_prepared, write_prepared
from modeling_cotpd.errors import DataError
from modeling_cotpd.knowledge.answer import ANSWERED, CUT, FAILED, MISSING, SKIPPED, WAITING
from modeling_cotpd.knowledge.estimate import Price
from modeling_cotpd.knowledge.explanation import GRAINS, Plan, explain, explanation_jobs
from modeling_cotpd.knowledge.files import json_line, writing
from modeling_cotpd.knowledge.job import walk
from modeling_cotpd.knowledge.post import Post, PostFile, find_post_files, is_prepared
from modeling_cotpd.knowledge.progress import ProgressBar
from modeling_cotpd.knowledge.runner import Progress, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore


@dataclass
class Elicited:
    """What a run left behind.

    Args:
        progress (`Progress`): What was asked in this run.
        statuses (`Counter`): `(grain, status)` over all posts, earlier runs included.
        problems (`Path`): JSON Lines of every grain of every post that has no real answer, with the reason.
        written (`list[Path]`): The files or the folder that hold the knowledge.
        seconds (`float`): How long asking took.
    """

    progress: Progress
    statuses: Counter = field(default_factory=Counter)
    problems: Path = Path()
    written: list[Path] = field(default_factory=list)
    seconds: float = 0.0

    def number(self, *statuses: str) -> int:
        """Over all grains and posts, how many have one of these statuses."""
        return sum(count for (_, status), count in self.statuses.items() if status in statuses)

    @property
    def unasked(self) -> int:
        """Requests that failed, wait in a batch or were never asked: running again can help."""
        return self.number(FAILED, WAITING, MISSING)

    @property
    def unusable(self) -> int:
        """Paid answers that were empty, refused or cut: running again does not help."""
        return self.statuses.total() - self.number(ANSWERED, SKIPPED) - self.unasked


def all_posts(files: Iterable[PostFile], limit: int | None) -> Iterator[Post]:
    """The posts of all files, the first `limit` of each."""
    return itertools.chain.from_iterable(file.posts(limit) for file in files)


def count_posts(files: Iterable[PostFile], limit: int | None) -> int:
    """How many posts `all_posts` gives."""
    return sum(len(file) if limit is None else min(limit, len(file)) for file in files)


def elicit(
    source: str | os.PathLike,
    out: str | os.PathLike,
    store: str | os.PathLike,
    plan: Plan,
    *,
    splits: Iterable[str] = (),
    limit: int | None = None,
    concurrency: int = 16,
    again: Iterable[str] = (),
    ask: bool = True,
    json_lines: bool = False,
    keep_cut: bool = False,
    partial: bool = False,
    price: Price | None = None,
) -> Elicited:
    """Ask the teacher for what the store lacks, then write the knowledge of all posts.

    Args:
        source: A prepared folder, or posts as `find_post_files` takes them.
        out: A new prepared folder when `source` is one, else a folder for `knowledge.NAME.jsonl` with the fields
            `id`, `noun`, `sentence`, `multimodality`, and `knowledge.provenance.json`, which `cotpd prepare` reads
            too. `OUT.problems.jsonl` beside it lists what has no real answer.
        store: The response store's file.
        plan (`Plan`): Whom and what to ask.
        splits (`Iterable[str]`): Splits or shards to ask about; all by default.
        limit (`int`, *optional*): Only the first posts of every file.
        concurrency (`int`): Requests under way at once.
        again (`Iterable[str]`): Statuses of stored answers to ask again; failed ones always are.
        ask (`bool`): `False` writes what is stored and asks nothing.
        json_lines (`bool`): Write JSON Lines also for a prepared folder.
        keep_cut (`bool`): Take answers that reached the token limit for answers.
        partial (`bool`): Write a prepared folder even though requests failed or are missing.
        price (`Price`, *optional*): For the progress bar.

    Raises:
        DataError: The posts can not be read, or `out` is not empty.
        KnowledgeError: The endpoint declines everything, or the store can not be used.
    """
    out, files = Path(out), find_post_files(source, splits)
    prepared = is_prepared(source) and not json_lines
    if prepared and out.exists() and any(out.iterdir()):
        raise DataError("The output folder is not empty.", place=str(out), fix="Name a new folder or empty this one.")
    result = Elicited(Progress(), problems=out.with_name(f"{out.name}.problems.jsonl"))
    with ResponseStore(store) as opened:
        if ask:
            begin = time.monotonic()
            jobs = explanation_jobs(all_posts(files, limit), plan)
            with ProgressBar(count_posts(files, limit), "posts", price) as bar:
                result.progress = run_jobs(
                    jobs, plan.settings, opened, concurrency=concurrency, again=again, on_change=bar.update
                )
            result.seconds = time.monotonic() - begin
        writer = _Writer(opened, plan, result, keep_cut)
        with writing(result.problems) as problems:
            if prepared:
                columns = {file.name: writer.columns(file, limit, problems) for file in files}
            else:
                for file in files:
                    path = out / f"knowledge.{file.name}.jsonl"
                    with writing(path) as lines:
                        for post, knowledge, marks in writer.knowledge(file, limit, problems):
                            lines.write(json_line({"id": post.id, **knowledge, **marks}))
                    result.written.append(path)
                with writing(out / "knowledge.provenance.json") as made:
                    made.write(json.dumps(plan.provenance(), indent=2, ensure_ascii=False) + "\n")
    if prepared and (partial or not result.unasked):
        write_columns(source, out, columns, plan.describe(), [plan.provenance()], plan.grains)
        result.written.append(out)
    return result


class _Writer:
    """Walks the posts a second time, now through the store alone."""

    def __init__(self, store: ResponseStore, plan: Plan, result: Elicited, keep_cut: bool):
        self.store, self.plan, self.result = store, plan, result
        self.usable = (ANSWERED, CUT) if keep_cut else (ANSWERED,)

    def knowledge(self, file: PostFile, limit: int | None, problems) -> Iterator[tuple[Post, dict, dict]]:
        """Post, grain to text, and marks such as `{"cut": ["noun"]}`; grains not in the plan keep their text."""
        for post in file.posts(limit):
            knowledge = {grain: post.knowledge.get(grain, "") for grain in GRAINS}
            marks: dict[str, list[str]] = {}
            answers = walk(explain(post, self.plan), lambda request: self.store.get(request.key))
            for grain, answer in answers.items():
                self.result.statuses[grain, answer.status] += 1
                knowledge[grain] = answer.text.strip() if answer.status in self.usable else ""
                if answer.status in self.usable and not answer.answered:
                    marks.setdefault(answer.status, []).append(grain)
                elif answer.status not in (*self.usable, SKIPPED):
                    row = {"split": file.name, "id": post.id, "grain": grain, "status": answer.status}
                    problems.write(json_line({**row, "reason": answer.reason}))
            yield post, knowledge, marks

    def columns(self, file: PostFile, limit: int | None, problems) -> dict[str, list[str]]:
        """The chain-of-thought columns of one split; rows after `limit` keep what they have."""
        columns: dict[str, list[str]] = {f"cot_{grain}": [] for grain in GRAINS}
        for _, knowledge, _ in self.knowledge(file, limit, problems):
            for grain in GRAINS:
                columns[f"cot_{grain}"].append(knowledge[grain])
        if limit is not None:
            for post in itertools.islice(file.posts(), limit, None):
                for grain in GRAINS:
                    columns[f"cot_{grain}"].append(post.knowledge.get(grain, ""))
        return columns


def write_columns(
    source: str | os.PathLike,
    out: str | os.PathLike,
    columns: dict[str, dict[str, list[str]]],
    origin: str,
    made: list[dict],
    grains: Iterable[str] = GRAINS,
) -> None:
    """Copy a prepared folder with new chain-of-thought columns.

    Args:
        source: The prepared folder.
        out: The new one.
        columns (`dict[str, dict[str, list[str]]]`): Per split, column name to values; other splits stay as they are.
        origin (`str`): Where the columns are from, for `DatasetInfo.knowledge`.
        made (`list[dict]`): How they were made, for `DatasetInfo.provenance`.
        grains (`Iterable[str]`): Those that `origin` speaks of; the others keep their earlier origin.
    """
    splits, info = read_prepared(source)
    for name, values in columns.items():
        split, features = splits[name], splits[name].features
        split = split.remove_columns(list(values))
        for column, texts in values.items():
            split = split.add_column(column, texts)
        splits[name] = split.select_columns(list(features)).cast(features)
    earlier = info.knowledge
    info.knowledge = origin if set(columns) == set(splits) else f"{', '.join(columns)}: {origin}"
    if set(columns) != set(splits):
        made = [{**each, "splits": list(columns)} for each in made]
    if earlier and (set(grains) != set(GRAINS) or set(columns) != set(splits)):
        info.knowledge += f"; the rest: {earlier}"
        made = [*made, *info.provenance.get("knowledge", [])]
    info.provenance = {**info.provenance, "knowledge": made}
    write_prepared(dict(splits), info, out)

"""Elicitation of whole files and folders: from posts to chain-of-thought columns."""

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, TypeVar

from datasets import Dataset

from modeling_cotpd.data.glosses import parse_noun_list
from modeling_cotpd.data.posts import Post, PostFile, count_posts, find_post_files, read_posts
from modeling_cotpd.data.prepared import METADATA_FILE, read_prepared, write_prepared
from modeling_cotpd.data.schema import COT_COLUMNS
from modeling_cotpd.errors import DataError
from modeling_cotpd.files import atomic_write, json_line, require_empty, write_json, write_json_lines
from modeling_cotpd.knowledge.answer import CUT, FAILED, MISSING, WAITING
from modeling_cotpd.knowledge.estimate import seen_keys
from modeling_cotpd.knowledge.explanation import GRAINS, LIST, ElicitationPlan, Explanation, explain, usable
from modeling_cotpd.knowledge.request import Job
from modeling_cotpd.knowledge.runner import Asking, Progress, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore

GLOSSES = "glosses"
Result = TypeVar("Result")


@dataclass
class Elicited:
    """The result of a run: what was asked, statuses by `(grain, status)` with earlier runs, and what was written.

    `problems` is the JSON Lines file of what has no usable answer.
    """

    progress: Progress
    keep_cut: bool = False
    statuses: Counter = field(default_factory=Counter)
    problems: Path = Path()
    written: list[Path] = field(default_factory=list)

    @property
    def unasked(self) -> int:
        """Requests that failed, wait in a batch or were never sent: running again can help."""
        return self._number((FAILED, WAITING, MISSING))

    @property
    def unusable(self) -> int:
        """Answers that are empty, refused, cut or unparsable: running again does not help."""
        return self.statuses.total() - self._number(usable(self.keep_cut)) - self.unasked

    def _number(self, statuses: Iterable[str]) -> int:
        return sum(count for (_, status), count in self.statuses.items() if status in statuses)

    def by_grain(self) -> dict[str, dict[str, int]]:
        """Return the numbers by grain and status."""
        table: dict[str, dict[str, int]] = {}
        for (grain, status), count in sorted(self.statuses.items()):
            table.setdefault(grain, {})[status] = count
        return table


def elicit(
    source: str | os.PathLike,
    out: str | os.PathLike,
    store: str | os.PathLike,
    plan: ElicitationPlan,
    asking: Asking | None = None,
    *,
    splits: Iterable[str] = (),
    limit: int | None = None,
    json_lines: bool = False,
    keep_cut: bool = False,
    partial_folder: bool = False,
) -> Elicited:
    """Ask for what the store lacks, and write the knowledge of all posts.

    Args:
        source (`str` or `os.PathLike`): A prepared folder, or posts as `find_post_files` takes them.
        out (`str` or `os.PathLike`): A new prepared folder when `source` is one, else a folder for
            `knowledge.NAME.jsonl` with the fields `id`, `noun`, `sentence`, `multimodality` (and `glosses`, when nouns
            are asked for as a list), and `knowledge.provenance.json`, which `cotpd prepare` reads too.
            `OUT.problems.jsonl` beside it lists what has no usable answer.
        store (`str` or `os.PathLike`): The response store's file.
        plan (`ElicitationPlan`): Which model is asked, and what.
        asking (`Asking`, *optional*): How to ask.
        splits (`Iterable[str]`, *optional*): Splits or shards to ask about; all by default.
        limit (`int`, *optional*): Only the first posts of every file.
        json_lines (`bool`, *optional*): Write JSON Lines also for a prepared folder.
        keep_cut (`bool`, *optional*): Use answers that reached the token limit.
        partial_folder (`bool`, *optional*): Write a prepared folder even though requests failed or are missing.

    Raises:
        DataError: The posts cannot be read, or two different ones share an id.
        SettingError: `out` is not empty.
        KnowledgeError: The endpoint declines everything, or the store cannot be used.
    """
    asking, out, files = asking or Asking(), Path(out), find_post_files(source, splits=tuple(splits))
    prepared = (Path(source) / METADATA_FILE).is_file() and not json_lines
    if prepared:
        require_empty(out)
    else:
        out.mkdir(parents=True, exist_ok=True)
    check_ids(files, limit)
    result = Elicited(asking.progress, keep_cut, problems=out.with_name(f"{out.name}.problems.jsonl"))
    jobs = (Job(file.name, partial(explain, post, plan)) for file in files for post in first_posts([file], limit))
    total = count_posts(files) if limit is None else None
    columns: dict[str, dict[str, list]] = {}
    with (
        ResponseStore(store) as opened,
        # Requests under way end before the store is closed, also when a file cannot be written.
        closing(run_jobs(jobs, plan.settings, opened, asking, total=total)) as explained,
        atomic_write(result.problems) as problems,
    ):
        for file, explanations in by_file(files, explained):
            reported = _report(file.name, explanations, result, problems)
            if not prepared:
                result.written.append(out / f"knowledge.{file.name}.jsonl")
                write_json_lines(result.written[-1], (_row(each, plan, keep_cut) for each in reported))
                continue
            later = read_posts(file) if limit is not None else ()  # rows after `limit` keep what they have
            kept = map(Explanation, itertools.islice(later, limit, None))
            rows = [_columns(each, plan, keep_cut) for each in itertools.chain(reported, kept)]
            names = _columns(Explanation(Post("", "")), plan, keep_cut)
            columns[file.name] = {name: [row[name] for row in rows] for name in names}
        if not prepared:
            write_json(out / "knowledge.provenance.json", plan.provenance())
    if prepared and (partial_folder or not result.unasked):
        write_columns(source, out, columns, plan.describe(), [plan.provenance()], plan.grains)
        result.written.append(out)
    return result


def first_posts(files: Iterable[PostFile], limit: int | None = None) -> Iterator[Post]:
    """Yield the posts of all files, the first `limit` of each."""
    return itertools.chain.from_iterable(itertools.islice(read_posts(file), limit) for file in files)


def check_ids(files: Iterable[PostFile], limit: int | None = None) -> None:
    """Raise a `DataError` where an id of a file stands for two posts, whose answers could not be joined."""
    for file in files:
        with seen_keys() as is_new:
            for post in first_posts([file], limit):
                new_id = is_new(f"id {post.id}")
                if is_new(repr((post.id, post.text, sorted(post.columns.items())))) and not new_id:
                    message = f"The id {post.id!r} is used for two posts."
                    raise DataError(message, place=post.place, fix="Give every post its own id.")


def by_file(
    files: list[PostFile], results: Iterable[tuple[str, Result]]
) -> Iterator[tuple[PostFile, Iterable[Result]]]:
    """Yield every file with the results of the jobs that are named after it, which come in the order of the files."""
    groups = itertools.groupby(results, key=itemgetter(0))
    name, group = next(groups, (None, iter(())))
    for file in files:
        if name == file.name:
            yield file, map(itemgetter(1), group)
            name, group = next(groups, (None, iter(())))
        else:
            yield file, ()


def _report(
    name: str, explanations: Iterable[Explanation], result: Elicited, problems: IO[str]
) -> Iterator[Explanation]:
    """Count statuses and list problems on the way."""
    for explanation in explanations:
        result.statuses.update((grain, answer.status) for grain, answer in explanation.answers.items())
        for grain, answer in explanation.problems(result.keep_cut).items():
            row = {"split": name, "id": explanation.post.id, "grain": grain, "status": answer.status}
            problems.write(json_line({**row, "reason": answer.reason}))
        yield explanation


def _columns(explanation: Explanation, plan: ElicitationPlan, keep_cut: bool) -> dict[str, Any]:
    """Column to value; grains that are not in the plan keep their text."""
    earlier = {column: explanation.post.columns.get(column, "") for column in COT_COLUMNS}
    columns: dict[str, Any] = {**earlier, **explanation.columns(keep_cut)}
    if plan.nouns == LIST:
        noun = explanation.answers.get("noun")
        columns[GLOSSES] = explanation.glosses if noun is not None and noun.usable_text(keep_cut) else []
    return columns


def _row(explanation: Explanation, plan: ElicitationPlan, keep_cut: bool) -> dict:
    columns = _columns(explanation, plan, keep_cut)
    row = {"id": explanation.post.id} | {name.removeprefix("cot_"): value for name, value in columns.items()}
    cut = [grain for grain, answer in explanation.answers.items() if answer.status == CUT and keep_cut]
    return {**row, "cut": cut} if cut else row


def write_columns(
    source: str | os.PathLike,
    out: str | os.PathLike,
    columns: dict[str, dict[str, list]],
    origin: str,
    made: list[dict],
    grains: Iterable[str] = GRAINS,
) -> None:
    """Copy a prepared folder with new chain-of-thought columns.

    Args:
        columns (`dict[str, dict[str, list]]`): Per split, column name to values; other splits stay as they are.
        origin (`str`), made (`list[dict]`): Where the columns are from and how they were made, for `DatasetInfo`.
        grains (`Iterable[str]`, *optional*): Those that `origin` describes; the others keep their earlier origin.
    """
    splits, info = read_prepared(source)
    for name, values in columns.items():
        old = splits[name].to_dict()
        if "cot_noun" in values:
            given: Iterable[list[dict]] = values.get(GLOSSES) or itertools.repeat([])
            nouns = zip(given, values["cot_noun"], old["cot_noun"], old[GLOSSES], strict=False)
            glosses = [new or (kept if noun == was else parse_noun_list(noun)) for new, noun, was, kept in nouns]
            values = {**values, GLOSSES: glosses}
        splits[name] = Dataset.from_dict({**old, **values}, features=splits[name].features)
    earlier = info.knowledge
    info.knowledge = origin if set(columns) == set(splits) else f"{', '.join(columns)}: {origin}"
    if set(columns) != set(splits):
        made = [{**each, "splits": list(columns)} for each in made]
    if earlier and (set(grains) != set(GRAINS) or set(columns) != set(splits)):
        info.knowledge += f"; the rest: {earlier}"
        made = [*made, *info.provenance.get("knowledge", [])]
    info.provenance = {**info.provenance, "knowledge": made}
    write_prepared(dict(splits), info, out)

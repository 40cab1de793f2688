"""The whole augmentation of a prepared folder."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset, concatenate_datasets

from modeling_cotpd.augmentation.entity_list import WrittenList, list_jobs, teacher_names
from modeling_cotpd.augmentation.outcome import ACCEPTED, REJECTED, UNASKED, Outcome
from modeling_cotpd.augmentation.plan import AugmentPlan
from modeling_cotpd.augmentation.posts import TRAIN, TrainingPosts
from modeling_cotpd.augmentation.source import EntitySource
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import AUGMENTATION_COLUMNS, features_for, make_split
from modeling_cotpd.errors import DataError, KnowledgeError
from modeling_cotpd.knowledge.answer import Answer
from modeling_cotpd.knowledge.estimate import Estimate, Price, estimate_from_store
from modeling_cotpd.knowledge.files import json_line, writing
from modeling_cotpd.knowledge.job import Job, walk
from modeling_cotpd.knowledge.progress import ProgressBar
from modeling_cotpd.knowledge.request import Request
from modeling_cotpd.knowledge.runner import Progress, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore


@dataclass
class Augmented:
    """What a run left behind.

    Args:
        progress (`Progress`): What was asked in this run.
        outcomes (`Counter`): `(kind, status, reason)` over all wanted samples.
        notes (`Counter`): `(kind, note)` of accepted samples: captions and knowledge that could not be kept.
        rejects (`Path`): JSON Lines of every sample that was not accepted, with the reason.
        lists (`dict[str, WrittenList]`): Type to the names that the teacher wrote.
        written (`list[Path]`): The folder; empty while requests lack an answer.
        seconds (`float`): How long asking took.
    """

    progress: Progress = field(default_factory=Progress)
    outcomes: Counter = field(default_factory=Counter)
    notes: Counter = field(default_factory=Counter)
    rejects: Path = Path()
    lists: dict[str, WrittenList] = field(default_factory=dict)
    written: list[Path] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def unasked(self) -> int:
        """Wanted samples that lack an answer."""
        return sum(count for (_, status, _), count in self.outcomes.items() if status == UNASKED)

    def summary(self) -> dict[str, dict]:
        """Per kind: samples wanted, accepted, rejected by reason, without an answer, and notes on the accepted."""
        table: dict[str, dict] = {}
        for (kind, status, reason), count in sorted(self.outcomes.items(), key=lambda item: (item[0][0], -item[1])):
            of_kind = table.setdefault(kind, {"wanted": 0, ACCEPTED: 0, REJECTED: {}, UNASKED: 0, "notes": {}})
            of_kind["wanted"] += count
            if status == REJECTED:
                of_kind[REJECTED][reason] = count
            else:
                of_kind[status] += count
        for (kind, note), count in sorted(self.notes.items()):
            table[kind]["notes"][note] = count
        return table


def estimates(
    posts: TrainingPosts, plan: AugmentPlan, store: str | os.PathLike, again: Iterable[str] = ()
) -> Estimate:
    """What a run would ask at most: as if every sample whose answers are not stored yet were accepted."""
    source, lists = posts.names, Estimate()
    if plan.lists_entities:
        jobs = list(list_jobs(posts.entity_types, plan, posts.known))
        lists = estimate_from_store(jobs, store, plan.teacher, again)
        stored = _walk_lists(jobs, store) if not lists.requests else None
        names = {kind: written.names for kind, written in stored.items()} if stored else {}
        placeholders = {kind: [f"Name {number}" for number in range(plan.times + 9)] for kind in posts.entity_types}
        source = teacher_names(names or placeholders, posts.manner)
    result = estimate_from_store(posts.jobs(plan, source), store, plan.teacher, again)
    result.requests = lists.requests + result.requests
    result.stored += lists.stored
    result.prompt_tokens += lists.prompt_tokens
    result.completion_tokens += lists.completion_tokens
    result.most_completion_tokens += lists.most_completion_tokens
    result.measured |= lists.measured
    return result


def augment(
    posts: TrainingPosts,
    out: str | os.PathLike,
    store: str | os.PathLike,
    plan: AugmentPlan,
    *,
    only_new: bool = False,
    concurrency: int = 16,
    again: Iterable[str] = (),
    ask: bool = True,
    partial_folder: bool = False,
    price: Price | None = None,
) -> Augmented:
    """Ask the teacher for what the store lacks, then write the augmented folder.

    The folder's training split has the original posts, then the accepted ones, with the columns `parent`, `kind` and
    `teacher`, which are empty for originals; the other splits are as they were. `OUT.rejects.jsonl` beside it lists
    what was not accepted, `OUT.entities.jsonl` the names that the teacher wrote.

    Args:
        posts (`TrainingPosts`): What to augment.
        out: The new prepared folder.
        store: The response store's file; not made when nobody is asked.
        plan (`AugmentPlan`): What to make.
        only_new (`bool`): Leave the original posts out of the training split.
        concurrency (`int`): Requests under way at once.
        again (`Iterable[str]`): Statuses of stored answers to ask again; failed ones always are.
        ask (`bool`): `False` writes what is stored and asks nothing.
        partial_folder (`bool`): Write the folder even though samples lack an answer.
        price (`Price`, *optional*): For the progress bar.

    Raises:
        DataError: `out` is not empty, or not one sample was accepted with `only_new`.
        KnowledgeError: The endpoint declines everything, the store can not be used, or the teacher wrote no name.
    """
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise DataError("The output folder is not empty.", place=str(out), fix="Name a new folder or empty this one.")
    result = Augmented(rejects=out.with_name(f"{out.name}.rejects.jsonl"))
    if not plan.needs_teacher:
        outcomes = [walk(job.start(), _nobody) for job in posts.jobs(plan, posts.names)]
    else:
        with ResponseStore(store) as opened:
            begin = time.monotonic()
            asking = _Asking(plan, opened, result, concurrency, tuple(again), price, ask)
            source = asking.entity_source(posts, out) if plan.lists_entities else posts.names
            number = len(posts.wanted) * len(plan.text_kinds) if plan.times else 0
            asking.run(lambda: posts.jobs(plan, source), number, "conversations")
            result.seconds = time.monotonic() - begin
            outcomes = [walk(job.start(), lambda request: opened.get(request.key)) for job in posts.jobs(plan, source)]
    accepted = [outcome for each in outcomes for outcome in _counted(each, result) if outcome.status == ACCEPTED]
    with writing(result.rejects) as lines:
        for outcome in (outcome for each in outcomes for outcome in each if outcome.status != ACCEPTED):
            lines.write(json_line({name: value for name, value in vars(outcome).items() if name not in _UNTOLD}))
    if partial_folder or not result.unasked:
        _write(posts, accepted, plan, result, out, only_new)
        result.written.append(out)
    return result


_UNTOLD = ("row", "notes")


def _nobody(request: Request) -> Answer:
    raise AssertionError(f"a plan without a teacher asks for {request.purpose}")


def _counted(outcomes: list[Outcome], result: Augmented) -> list[Outcome]:
    for outcome in outcomes:
        result.outcomes[outcome.kind, outcome.status, outcome.reason] += 1
        if outcome.status == ACCEPTED:
            result.notes.update((outcome.kind, note) for note in outcome.notes)
    return outcomes


@dataclass
class _Asking:
    plan: AugmentPlan
    store: ResponseStore
    result: Augmented
    concurrency: int
    again: tuple[str, ...]
    price: Price | None
    ask: bool

    def run(self, jobs: Callable[[], Iterable[Job]], number: int, unit: str) -> None:
        """Ask for what jobs lack, and add up what was asked."""
        if not self.ask:
            return
        with ProgressBar(number, unit, self.price) as bar:
            progress = run_jobs(
                jobs(),
                self.plan.teacher,
                self.store,
                concurrency=self.concurrency,
                again=self.again,
                on_change=bar.update,
            )
        total = self.result.progress
        total.jobs += progress.jobs
        total.asked += progress.asked
        total.stored += progress.stored
        total.prompt_tokens += progress.prompt_tokens
        total.completion_tokens += progress.completion_tokens
        total.stopped |= progress.stopped

    def entity_source(self, posts: TrainingPosts, out: Path) -> EntitySource:
        """The teacher's list, asked for, and written beside the output."""
        jobs = list(list_jobs(posts.entity_types, self.plan, posts.known))
        self.run(lambda: jobs, len(jobs), "lists")
        lists = self.result.lists
        for job in jobs:
            written = lists[job.id] = walk(job.start(), lambda request: self.store.get(request.key))
            if written.unasked:
                raise KnowledgeError(
                    f"The list of {job.id} entities has no answer ({written.why_short}).",
                    fix="Run the same command again.",
                )
            if not written.names:
                raise KnowledgeError(
                    f"The teacher wrote no usable {job.id} entity: {written.why_short}.",
                    fix="Take another teacher, or --entity-source in-domain.",
                )
        with writing(out.with_name(f"{out.name}.entities.jsonl")) as lines:
            lines.writelines(json_line({"type": kind, "name": name}) for kind in lists for name in lists[kind].names)
        return teacher_names({kind: written.names for kind, written in lists.items()}, posts.manner)


def _walk_lists(jobs: list[Job], store: str | os.PathLike) -> dict[str, WrittenList]:
    with ResponseStore(store) as opened:
        return {job.id: walk(job.start(), lambda request: opened.get(request.key)) for job in jobs}


def _write(
    posts: TrainingPosts, accepted: list[Outcome], plan: AugmentPlan, result: Augmented, out: Path, only_new: bool
) -> None:
    task, names = posts.info.task, posts.info.label_names
    features = features_for(task, names)
    rows = []
    for outcome in accepted:
        assert outcome.row is not None
        place = f"{outcome.kind} {outcome.time} of {outcome.parent}"
        rows.append({**outcome.row, "id": f"{outcome.parent}+{outcome.kind}{outcome.time}", "place": place})
    if only_new and not rows:
        raise DataError("No sample was accepted, so nothing is left to train on.", place=str(result.rejects))
    new = make_split(rows, task, names, "augmentation")
    origins = ([each.parent for each in accepted], [each.kind for each in accepted], [plan.teacher_name] * len(rows))
    parts = [_with_origin(new, origins)]
    if not only_new:
        original = posts.splits[TRAIN].select_columns(list(features)).cast(features)
        blank = [""] * len(original)
        parts.insert(0, _with_origin(original, (blank, blank, blank)))
    info = DatasetInfo(**vars(posts.info))
    info.augmentation = {
        **plan.describe(),
        "parents": len(posts.wanted),
        "originals": 0 if only_new else len(posts.samples),
        "source_splits": posts.info.splits,
        "summary": result.summary(),
    }
    if result.lists:
        info.augmentation["entities_written"] = {kind: len(each.names) for kind, each in result.lists.items()}
    splits = {name: split for name, split in posts.splits.items() if name != TRAIN}
    write_prepared({TRAIN: concatenate_datasets(parts), **splits}, info, out)


def _with_origin(split: Dataset, values: tuple[list[str], ...]) -> Dataset:
    for name, column in zip(AUGMENTATION_COLUMNS, values, strict=True):
        split = split.add_column(name, column)
    return split

"""The whole augmentation of a prepared folder."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset, concatenate_datasets

from modeling_cotpd.augmentation.candidate import ACCEPTED, REJECTED, UNASKED, Candidate
from modeling_cotpd.augmentation.entity_list import WrittenList, list_jobs, teacher_names
from modeling_cotpd.augmentation.plan import AugmentPlan
from modeling_cotpd.augmentation.posts import TRAIN, TrainingPosts
from modeling_cotpd.augmentation.source import EntitySource
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import AUGMENTATION_COLUMNS, features_for, make_split
from modeling_cotpd.errors import DataError, KnowledgeError
from modeling_cotpd.files import atomic_write, json_line, require_empty
from modeling_cotpd.knowledge.answer import Answer
from modeling_cotpd.knowledge.estimate import Estimate, estimate
from modeling_cotpd.knowledge.request import Job, Request, replay_all
from modeling_cotpd.knowledge.runner import Asking, Progress, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore


@dataclass
class Augmented:
    """The result of a run.

    Args:
        progress (`Progress`): What was asked in this run.
        outcomes (`Counter`): `(kind, status, reason)` over all wanted samples.
        notes (`Counter`): `(kind, note)` of accepted samples: captions and knowledge that could not be kept.
        rejects (`Path`): JSON Lines of every sample that was not accepted, with the reason.
        lists (`dict[str, WrittenList]`): Type to the names that the teacher wrote.
        written (`list[Path]`): The folder; empty while requests lack an answer.
    """

    progress: Progress = field(default_factory=Progress)
    outcomes: Counter = field(default_factory=Counter)
    notes: Counter = field(default_factory=Counter)
    rejects: Path = Path()
    lists: dict[str, WrittenList] = field(default_factory=dict)
    written: list[Path] = field(default_factory=list)

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
    """Return what a run would ask at most: as if every sample whose answers are not stored yet were accepted."""
    source, lists = posts.names, Estimate()
    if plan.lists_entities:
        jobs = list(list_jobs(posts.entity_types, plan, posts.known))
        lists = estimate(jobs, store, plan.endpoint, again)
        names = {kind: [f"Name {number}" for number in range(plan.times + 9)] for kind in posts.entity_types}
        if not lists.requests:
            with ResponseStore(store) as opened:
                stored = dict(replay_all(jobs, lambda request: opened.get(request.key)))
            names = {kind: written.names for kind, written in stored.items()}
        source = teacher_names(names, posts.tokenization)
    result = estimate(posts.jobs(plan, source), store, plan.endpoint, again)
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
    asking: Asking | None = None,
    *,
    only_new: bool = False,
    partial_folder: bool = False,
) -> Augmented:
    """Ask for what the store lacks, and write the augmented folder.

    The folder's training split has the original posts, then the accepted ones, with the columns `parent`, `kind` and
    `teacher`, which are empty for originals; the other splits are as they were. `OUT.rejects.jsonl` beside it lists
    what was not accepted, `OUT.entities.jsonl` the names that the model wrote.

    Args:
        posts (`TrainingPosts`): What to augment.
        out (`str` or `os.PathLike`): The new prepared folder.
        store (`str` or `os.PathLike`): The response store's file; not made when no model is asked.
        plan (`AugmentPlan`): What to make.
        asking (`Asking`, *optional*): How to ask.
        only_new (`bool`, *optional*): Leave the original posts out of the training split.
        partial_folder (`bool`, *optional*): Write the folder even though samples lack an answer.

    Raises:
        SettingError: `out` is not empty.
        DataError: Not one sample was accepted with `only_new`.
        KnowledgeError: The endpoint declines everything, the store cannot be used, or the model wrote no name.
    """
    asking, out = asking or Asking(), require_empty(out)
    result = Augmented(asking.progress, rejects=out.with_name(f"{out.name}.rejects.jsonl"))
    if not plan.needs_teacher:
        finished = list(replay_all(posts.jobs(plan, posts.names), _no_model))
    else:
        with ResponseStore(store) as opened:
            source = _entity_source(posts, out, plan, opened, asking, result) if plan.lists_entities else posts.names
            total = len(posts.wanted) * len(plan.text_kinds) if plan.times else 0
            jobs = posts.jobs(plan, source)
            finished = list(run_jobs(jobs, plan.endpoint, opened, asking, total=total, unit="conversations"))
    candidates = [candidate for _, each in finished for candidate in each]
    accepted = [candidate for candidate in candidates if candidate.status == ACCEPTED]
    result.outcomes.update((each.kind, each.status, each.reason) for each in candidates)
    result.notes.update((each.kind, note) for each in accepted for note in each.notes)
    with atomic_write(result.rejects) as lines:
        for candidate in candidates:
            if candidate.status != ACCEPTED:
                row = {name: value for name, value in vars(candidate).items() if name not in ("row", "notes")}
                lines.write(json_line(row))
    if partial_folder or not result.unasked:
        _write(posts, accepted, plan, result, out, only_new)
        result.written.append(out)
    return result


def _no_model(request: Request) -> Answer:
    raise AssertionError(f"a plan that asks no model asks for {request.purpose}")


def _entity_source(
    posts: TrainingPosts, out: Path, plan: AugmentPlan, store: ResponseStore, asking: Asking, result: Augmented
) -> EntitySource:
    """The list that the model writes, asked for, and written beside the output."""
    jobs: list[Job] = list(list_jobs(posts.entity_types, plan, posts.known))
    for kind, written in run_jobs(jobs, plan.endpoint, store, asking, total=len(jobs), unit="lists"):
        result.lists[kind] = written
        if written.unasked:
            raise KnowledgeError(
                f"The list of {kind} entities has no answer ({written.why_short}).", fix="Run the same command again."
            )
        if not written.names:
            raise KnowledgeError(
                f"The model wrote no usable {kind} entity: {written.why_short}.",
                fix="Take another model, or --entity-source in-domain.",
            )
    names = {kind: written.names for kind, written in result.lists.items()}
    with atomic_write(out.with_name(f"{out.name}.entities.jsonl")) as lines:
        lines.writelines(json_line({"type": kind, "name": name}) for kind in names for name in names[kind])
    return teacher_names(names, posts.tokenization)


def _write(
    posts: TrainingPosts, accepted: list[Candidate], plan: AugmentPlan, result: Augmented, out: Path, only_new: bool
) -> None:
    task, names = posts.info.task, posts.info.label_names
    features = features_for(task, names)
    rows = []
    for candidate in accepted:
        assert candidate.row is not None
        place = f"{candidate.kind} {candidate.time} of {candidate.parent}"
        rows.append({**candidate.row, "id": f"{candidate.parent}+{candidate.kind}{candidate.time}", "place": place})
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

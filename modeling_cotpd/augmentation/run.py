"""The whole augmentation of a prepared folder."""

import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from datasets import concatenate_datasets

from modeling_cotpd.augmentation.entity import replace_entities
from modeling_cotpd.augmentation.plan import ACCEPTED, ENTITY, REJECTED, STYLE, UNASKED, AugmentPlan, Candidate
from modeling_cotpd.augmentation.sample import fold, read_sample
from modeling_cotpd.augmentation.sources import EntitySource, WrittenList, list_jobs, teacher_names, training_names
from modeling_cotpd.augmentation.style import Lexicon, restyle
from modeling_cotpd.augmentation.tokenization import find_tokenization
from modeling_cotpd.data.prepared import read_prepared, sample_rows, write_prepared
from modeling_cotpd.data.schema import AUGMENTATION_COLUMNS, LABEL_COLUMNS, features_for, gold_labels, make_split
from modeling_cotpd.errors import DataError, KnowledgeError
from modeling_cotpd.files import require_empty, write_json_lines
from modeling_cotpd.knowledge.answer import MISSING, Answer
from modeling_cotpd.knowledge.estimate import Estimate, estimate
from modeling_cotpd.knowledge.request import Job, replay_all
from modeling_cotpd.knowledge.runner import Asking, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore

TRAIN = "train"


class TrainingPosts:
    """The posts of a prepared folder that are augmented, and what is learned from them.

    Args:
        folder (`str` or `os.PathLike`): The prepared folder.
        limit (`int`, *optional*): Only the first training posts are augmented; the others stay as they are.
        max_train_samples (`int`, *optional*), sample_seed (`int`): Keep a random sample of the training posts, the
            same that a training run draws with these settings; the others are neither kept nor learned from.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        limit: int | None = None,
        max_train_samples: int | None = None,
        sample_seed: int = 0,
    ):
        self.splits, self.info = read_prepared(folder)
        if TRAIN not in self.splits:
            raise DataError("There is no training split.", place=str(folder))
        train, task = self.splits[TRAIN], self.info.task
        if AUGMENTATION_COLUMNS[0] in train.features:
            raise DataError("The training split was augmented before.", place=str(folder), fix="Augment the original.")
        if max_train_samples is not None and max_train_samples < len(train):
            train = self.splits[TRAIN] = sample_rows(train, max_train_samples, sample_seed)
        rows = ({**row, LABEL_COLUMNS[task]: gold} for row, gold in zip(train, gold_labels(train), strict=True))
        self.samples = [read_sample(row, task) for row in rows]
        self.wanted = self.samples[:limit]
        self.tokenization = find_tokenization(train["tokens"])
        self.names = training_names(self.samples)
        self.types = self.names.types()
        self.lexicon = Lexicon(self.samples)

    def jobs(self, plan: AugmentPlan, source: EntitySource) -> Iterator[Job]:
        """One job per post and kind, whose result is a list of `Candidate`."""
        for sample in self.wanted if plan.times else ():
            if STYLE in plan.text_kinds:
                yield Job(sample.id, partial(restyle, sample, plan, self.tokenization, self.lexicon))
            if ENTITY in plan.text_kinds:
                yield Job(sample.id, partial(replace_entities, sample, plan, source, self.types))

    def list_jobs(self, plan: AugmentPlan) -> list[Job]:
        """One job per entity type, whose result is a `WrittenList` of names that the training posts do not have."""
        known = frozenset(fold(sample.key(mention)) for sample in self.samples for mention in sample.mentions)
        types = {kind for kind, _ in self.names.names}
        if self.info.task == "mner":
            types = {name[2:] for name in self.info.label_names if name != "O"}
        return list(list_jobs(types, plan, known))


@dataclass
class Augmented:
    """The result of a run: `(kind, status, reason)` of all wanted samples, `(kind, note)` of the accepted ones.

    `rejects` is the JSON Lines file of what was not accepted; `written` is empty while requests lack an answer.
    """

    outcomes: Counter = field(default_factory=Counter)
    notes: Counter = field(default_factory=Counter)
    rejects: Path = Path()
    lists: dict[str, WrittenList] = field(default_factory=dict)
    written: list[Path] = field(default_factory=list)

    @property
    def unasked(self) -> int:
        """The number of wanted samples that lack an answer."""
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
    source, jobs = posts.names, list[Job]()
    if plan.lists_entities:
        jobs = posts.list_jobs(plan)
        names = {job.id: [f"Name {number}" for number in range(plan.times + 9)] for job in jobs}
        if not estimate(jobs, store, plan.endpoint, again).requests:
            with ResponseStore(store) as opened:
                stored = dict(replay_all(jobs, lambda request: opened.get(request.key)))
            names = {kind: written.names for kind, written in stored.items()}
        source = teacher_names(names, posts.tokenization)
    return estimate(itertools.chain(jobs, posts.jobs(plan, source)), store, plan.endpoint, again)


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
    what was not accepted, `OUT.entities.jsonl` the names that the model wrote. `only_new` leaves the original posts
    out; `partial_folder` writes the folder even though samples lack an answer.
    """
    asking, out = asking or Asking(), require_empty(out)
    result = Augmented(rejects=out.with_name(f"{out.name}.rejects.jsonl"))
    if not plan.needs_teacher:
        finished = list(replay_all(posts.jobs(plan, posts.names), lambda request: Answer(MISSING)))
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
    names = ("parent", "kind", "time", "status", "reason", "detail", "text")
    rejected = (each for each in candidates if each.status != ACCEPTED)
    write_json_lines(result.rejects, ({name: getattr(each, name) for name in names} for each in rejected))
    if partial_folder or not result.unasked:
        _write(posts, accepted, plan, result, out, only_new)
        result.written.append(out)
    return result


def _entity_source(
    posts: TrainingPosts, out: Path, plan: AugmentPlan, store: ResponseStore, asking: Asking, result: Augmented
) -> EntitySource:
    """The names that the model writes; `OUT.entities.jsonl` lists them."""
    jobs = posts.list_jobs(plan)
    for kind, written in run_jobs(jobs, plan.endpoint, store, asking, total=len(jobs), unit="lists"):
        result.lists[kind] = written
        if written.unasked:
            message = f"The list of {kind} entities has no answer ({written.why_short})."
            raise KnowledgeError(message, fix="Run the same command again.")
        if not written.names:
            message = f"The model wrote no usable {kind} entity: {written.why_short}."
            raise KnowledgeError(message, fix="Take another model, or --entity-source in-domain.")
    names = {kind: written.names for kind, written in result.lists.items()}
    listed = ({"type": kind, "name": name} for kind in names for name in names[kind])
    write_json_lines(out.with_name(f"{out.name}.entities.jsonl"), listed)
    return teacher_names(names, posts.tokenization)


def _write(
    posts: TrainingPosts, accepted: list[Candidate], plan: AugmentPlan, result: Augmented, out: Path, only_new: bool
) -> None:
    task, names = posts.info.task, posts.info.label_names
    features = features_for(task, names)
    rows = []
    for each in accepted:
        place = f"{each.kind} {each.time} of {each.parent}"
        rows.append({**each.row, "id": f"{each.parent}+{each.kind}{each.time}", "place": place})
    if only_new and not rows:
        raise DataError("No sample was accepted, so nothing is left to train on.", place=str(result.rejects))
    original = posts.splits[TRAIN].select_columns(list(features)).cast(features)
    original = original.select(range(0 if only_new else len(original)))
    train = concatenate_datasets([original, make_split(rows, task, names, "augmentation")])
    origins = [(each.parent, each.kind, plan.teacher_name) for each in accepted]
    for number, column in enumerate(AUGMENTATION_COLUMNS):
        train = train.add_column(column, [""] * len(original) + [origin[number] for origin in origins])
    augmentation = {
        **plan.describe(),
        "parents": len(posts.wanted),
        "originals": len(original),
        "source_splits": posts.info.splits,
        "summary": result.summary(),
    }
    if result.lists:
        augmentation["entities_written"] = {kind: len(each.names) for kind, each in result.lists.items()}
    write_prepared({**posts.splits, TRAIN: train}, replace(posts.info, augmentation=augmentation), out)

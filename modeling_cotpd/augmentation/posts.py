"""The posts of a prepared folder that are augmented."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from modeling_cotpd.augmentation.candidate import ENTITY, STYLE
from modeling_cotpd.augmentation.entity import replace_entities
from modeling_cotpd.augmentation.lexicon import Lexicon
from modeling_cotpd.augmentation.names import fold
from modeling_cotpd.augmentation.plan import AugmentPlan
from modeling_cotpd.augmentation.sample import read_sample
from modeling_cotpd.augmentation.source import EntitySource, training_names
from modeling_cotpd.augmentation.style import restyle
from modeling_cotpd.augmentation.tokenization import find_tokenization
from modeling_cotpd.data.prepared import read_prepared, sample_rows
from modeling_cotpd.data.schema import AUGMENTATION_COLUMNS
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.knowledge.request import Job

TRAIN = "train"


class TrainingPosts:
    """The posts of a prepared folder that are augmented, and what is learned from them.

    Args:
        folder: The prepared folder.
        split (`str`): Must be `"train"`.
        limit (`int`, *optional*): Only the first training posts are augmented; the others stay as they are.
        max_train_samples (`int`, *optional*), sample_seed (`int`): Keep a random sample of the training posts, the
            same that a training run draws with these settings; the others are neither kept nor learned from.

    Raises:
        SettingError: Another split than training is asked for.
        DataError: The folder cannot be read, has no training split, or was augmented before.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        split: str = TRAIN,
        limit: int | None = None,
        max_train_samples: int | None = None,
        sample_seed: int = 0,
    ):
        if split != TRAIN:
            raise SettingError(
                f"The split {split!r} is not augmented: scores would count posts that no person wrote.",
                place="split",
                fix="Only the training split is.",
            )
        self.folder = Path(folder)
        self.splits, self.info = read_prepared(folder)
        if TRAIN not in self.splits:
            raise DataError("There is no training split.", place=str(folder))
        if AUGMENTATION_COLUMNS[0] in self.splits[TRAIN].features:
            raise DataError(
                "The training split was augmented before.", place=str(folder), fix="Augment the original folder."
            )
        if max_train_samples is not None and max_train_samples < len(self.splits[TRAIN]):
            self.splits[TRAIN] = sample_rows(self.splits[TRAIN], max_train_samples, sample_seed)
        train, names = self.splits[TRAIN], self.info.label_names
        self.samples = [read_sample(_with_label_names(row, self.info.task, names), self.info.task) for row in train]
        self.wanted = self.samples[:limit]
        self.tokenization = find_tokenization(train["tokens"])
        self.names = training_names(self.samples)
        self.types = self.names.types()
        self.lexicon = Lexicon(self.samples)

    @property
    def entity_types(self) -> set[str]:
        """The types of entities."""
        if self.info.task == "mner":
            return {name[2:] for name in self.info.label_names if name != "O"}
        return {kind for kind, _ in self.names.names}

    @property
    def known(self) -> frozenset[str]:
        """`fold` of all names in the training posts."""
        return frozenset(fold(sample.key(mention)) for sample in self.samples for mention in sample.mentions)

    def jobs(self, plan: AugmentPlan, source: EntitySource) -> Iterator[Job]:
        """One job per post and kind, whose result is a list of `Candidate`."""
        for sample in self.wanted if plan.times else ():
            if STYLE in plan.text_kinds:
                yield Job(sample.id, partial(restyle, sample, plan, self.tokenization, self.lexicon))
            if ENTITY in plan.text_kinds:
                yield Job(sample.id, partial(replace_entities, sample, plan, source, self.types))


def _with_label_names(row: dict, task: str, names: list[str]) -> dict:
    if task == "mner":
        tags = row["ner_tags"]
        return {**row, "ner_tags": None if tags is None else [names[tag] for tag in tags]}
    return {**row, "relation": None if row["relation"] is None else names[row["relation"]]}

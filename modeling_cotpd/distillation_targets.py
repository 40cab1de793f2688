"""Frozen teachers: what finished models say of the training rows, computed once and stored.

In the two-view loss the knowledge view teaches while it learns. A finished model is a target that does not move,
several of them make a better one, and the student then reads the text alone in training, too.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset, concatenate_datasets
from datasets.fingerprint import Hasher

from modeling_cotpd.collator import CoTPDCollator
from modeling_cotpd.data.schema import label_names_of, task_of
from modeling_cotpd.data.views import ViewBuilder, ViewSettings
from modeling_cotpd.encoders import is_cotpd_checkpoint, load_finished_model, load_tokenizer, resolve_encoder
from modeling_cotpd.errors import SettingError
from modeling_cotpd.modeling_cotpd import CoTPDPreTrainedModel

TARGET_COLUMN = "target_log_probs"
TEACHER_VIEWS = ("knowledge", "prompt")


@dataclass(frozen=True)
class TeacherReading:
    """How frozen teachers read the training rows.

    Args:
        view (`str`, *optional*, defaults to `"knowledge"`): Whose distribution is the target: the knowledge view's, or
            the prompt view's, which needs no knowledge.
        knowledge_columns (`tuple[str, ...]`): The columns of the knowledge view, in order.
        max_length (`int`, *optional*, defaults to 512): The most pieces of a knowledge view.
        batch_size (`int`, *optional*, defaults to 64): Rows read at once; it does not change the targets.
        device (`str`, *optional*, defaults to `"cpu"`): Where the teachers run.
        bf16 (`bool`, *optional*, defaults to `False`): Run them in bfloat16 under autocast.

    Raises:
        SettingError: The view is unknown, or the knowledge view has no columns to read.
    """

    view: str = "knowledge"
    knowledge_columns: tuple[str, ...] = ()
    max_length: int = 512
    batch_size: int = 64
    device: str = "cpu"
    bf16: bool = False

    def __post_init__(self):
        if self.view not in TEACHER_VIEWS:
            raise SettingError(f"distill_from_view must be one of {', '.join(TEACHER_VIEWS)}, got {self.view!r}.")
        if self.view == "knowledge" and not self.knowledge_columns:
            raise SettingError(
                "distill_from reads the knowledge view, but knowledge_columns is empty.",
                fix="Name the columns that the teachers were trained with, or give distill_from_view=prompt.",
            )


def add_targets(
    features: Dataset,
    split: Dataset,
    teachers: Sequence[str],
    model_class: type[CoTPDPreTrainedModel],
    reading: TeacherReading,
    hub: dict[str, Any],
) -> Dataset:
    """Features with the column `target_log_probs`: the logarithm of the teachers' mean distribution.

    Word by word for MNER, so a teacher may be built on another encoder with another tokenizer; one per row for MRE. A
    word of which a teacher's tokenizer keeps nothing has an empty list and is not compared.

    Args:
        features (`Dataset`): The student's features of the split.
        split (`Dataset`): The records, in the same order, with the knowledge that the teachers read.
        teachers (`Sequence[str]`): Folders or Hub names of finished models of the same task and labels.
        model_class (`type`): The class of those models.
        reading (`TeacherReading`): How they read.
        hub (`dict`): `revision`, `cache_dir`, `trust_remote_code` for loading.

    Raises:
        SettingError: A teacher is no finished model, is of the other task, or has other labels.
    """
    task, labels = task_of(split.features), label_names_of(split.features)
    members = [load_teacher(name, model_class, task, labels, reading, hub) for name in teachers]
    state = (split._fingerprint, repr(reading), [fingerprint(member.model) for member in members])
    targets = split.map(
        MeanDistribution(members),
        batched=True,
        batch_size=16 * reading.batch_size,
        remove_columns=split.column_names,
        new_fingerprint=Hasher.hash(state),
        desc=f"Targets of {len(members)} frozen teachers",
    )
    return concatenate_datasets([features, targets], axis=1)


@dataclass
class Teacher:
    """A finished model that reads rows in its own pieces."""

    model: CoTPDPreTrainedModel
    builder: ViewBuilder
    collator: CoTPDCollator
    reading: TeacherReading

    @torch.no_grad()
    def probabilities(self, batch: dict[str, list]) -> list[torch.Tensor | list[torch.Tensor | None]]:
        """Per row one distribution `(C,)`, or one per word and `None` for a word without pieces."""
        columns = self.builder(batch)
        rows = [{name: column[index] for name, column in columns.items()} for index in range(len(batch["id"]))]
        found: list = [None] * len(rows)
        order = sorted(range(len(rows)), key=lambda index: -rows[index]["length"])
        for begin in range(0, len(order), self.reading.batch_size):
            chosen = order[begin : begin + self.reading.batch_size]
            for index, distribution in zip(chosen, self._read([rows[index] for index in chosen]), strict=True):
                places = rows[index].get("first_pieces")
                if places is not None:
                    distribution = [None if place < 0 else distribution[place] for place in places]
                found[index] = distribution
        return found

    def _read(self, rows: list[dict]) -> torch.Tensor:
        inputs = {name: value.to(self.reading.device) for name, value in self.collator(rows).items()}
        for name in ("labels", "distillation_mask"):
            inputs.pop(name)
        with torch.autocast(torch.device(self.reading.device).type, torch.bfloat16, enabled=self.reading.bf16):
            outputs = self.model(**inputs)
        logits = outputs.logits if self.reading.view == "prompt" else outputs.knowledge_logits
        return logits.float().softmax(-1).cpu()


@dataclass
class MeanDistribution:
    """Maps records to the logarithm of the teachers' mean distribution."""

    teachers: list[Teacher]

    def __call__(self, batch: dict[str, list]) -> dict[str, list]:
        read = [teacher.probabilities(batch) for teacher in self.teachers]
        return {TARGET_COLUMN: [self._mean(row) for row in zip(*read, strict=True)]}

    def _mean(self, members: tuple) -> list:
        if isinstance(members[0], torch.Tensor):
            return log_mean(members)
        words = zip(*members, strict=True)
        return [[] if any(member is None for member in word) else log_mean(word) for word in words]


def log_mean(distributions: Sequence[torch.Tensor]) -> list[float]:
    """The logarithm of the mean of distributions `(C,)`; finite, so that 0 times it is 0 in the KL term."""
    return torch.stack(tuple(distributions)).mean(0).clamp_min(torch.finfo(torch.float32).tiny).log().tolist()


def load_teacher(
    name: str,
    model_class: type[CoTPDPreTrainedModel],
    task: str,
    label_names: Sequence[str],
    reading: TeacherReading,
    hub: dict[str, Any],
) -> Teacher:
    """A finished model with its tokenizer, ready to read.

    Raises:
        SettingError: It is no finished model, is of the other task, or has other labels.
    """
    source = resolve_encoder(name)
    if not is_cotpd_checkpoint(source, **hub):
        raise SettingError(
            "distill_from names a plain encoder, not a finished CoTPD model.",
            place=name,
            fix="Name folders of finished runs.",
        )
    model = load_finished_model(source, model_class, label_names, hub).eval().to(reading.device)
    tokenizer = load_tokenizer(source, **hub)
    base = model.get_base_model()
    views = ViewSettings(
        reading.knowledge_columns if reading.view == "knowledge" else (),
        min(reading.max_length, base.max_positions or reading.max_length),
        base.max_text_length,
    )
    return Teacher(model, ViewBuilder(tokenizer, task, views), CoTPDCollator(tokenizer.pad_token_id), reading)


def fingerprint(model: CoTPDPreTrainedModel) -> str:
    """sha256 of a model's weights, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

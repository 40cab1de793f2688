"""Frozen teachers: the distributions of finished models over the labels of training rows, computed once and stored.

In the two-view loss the knowledge view is trained together with its student. A finished model is a constant target,
and the mean of several is a better one. The student then reads the text alone in training too.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset, concatenate_datasets
from datasets.fingerprint import Hasher

from modeling_cotpd.data.schema import label_names_of, task_of
from modeling_cotpd.data.views import ViewBuilder, ViewSettings
from modeling_cotpd.data.words import inside_labels
from modeling_cotpd.encoder_cotpd import resolve_encoder
from modeling_cotpd.errors import SettingError
from modeling_cotpd.modeling_cotpd import CoTPDPreTrainedModel
from modeling_cotpd.training.collator import CoTPDCollator
from modeling_cotpd.training.pretrained import (
    check_tokenizer,
    is_cotpd_checkpoint,
    load_finished_model,
    load_tokenizer,
)
from modeling_cotpd.training.tasks import TASKS

TARGET_COLUMN = "target_log_probs"
STUDENT_COLUMNS = {"offsets": "student_offsets", "distillation_mask": "student_mask"}
TEACHER_VIEWS = ("knowledge", "prompt")


@dataclass(frozen=True)
class TargetSettings:
    """How frozen teachers read the training rows; the knowledge stands where it stood when they were trained.

    Args:
        view (`str`, *optional*, defaults to `"knowledge"`): Whose distribution is the target: the knowledge view's, or
            the prompt view's, which needs no knowledge.
        knowledge_columns (`tuple[str, ...]`): The columns of the knowledge view, in order.
        max_length (`int`, *optional*, defaults to 512): The most subword tokens of a knowledge view.
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
    settings: TargetSettings,
    hub: dict[str, Any],
) -> Dataset:
    """Features with the column `target_log_probs`: the logarithm of the teachers' mean distribution.

    Per subword token of the student for MNER, matched by characters, so a teacher may be built on another encoder
    with another tokenizer; one per row for MRE. A token without a word, or of which a teacher's tokenizer keeps
    nothing, has an empty list and is not compared.

    Args:
        features (`Dataset`): The student's features of the split.
        split (`Dataset`): The records, in the same order, with the knowledge that the teachers read.
        teachers (`Sequence[str]`): Folders or Hub names of finished models of the same task and labels.
        model_class (`type`): The class of those models.
        settings (`TargetSettings`): How they read.
        hub (`dict`): `revision`, `cache_dir`, `trust_remote_code` for loading.

    Raises:
        SettingError: A teacher is no finished model, is of the other task, or has other labels.
    """
    task, labels = task_of(split.features), label_names_of(split.features)
    members = [load_teacher(name, model_class, task, labels, settings, hub) for name in teachers]
    rows = split
    if task == "mner":  # where the student's tokens stand
        aligned = features.select_columns(["offsets", "distillation_mask"]).rename_columns(STUDENT_COLUMNS)
        rows = concatenate_datasets([split, aligned], axis=1)
    weights = [weights_hash(member.model) for member in members]
    state = (split._fingerprint, features._fingerprint, repr(settings), weights)
    targets = rows.map(
        MeanDistribution(members, inside_labels(labels)),
        batched=True,
        batch_size=16 * settings.batch_size,
        remove_columns=rows.column_names,
        new_fingerprint=Hasher.hash(state),
        desc=f"Targets of {len(members)} frozen teachers",
    )
    return concatenate_datasets([features, targets], axis=1)


@dataclass
class FrozenTeacher:
    """A finished model that reads rows in its own subword tokens."""

    model: CoTPDPreTrainedModel
    builder: ViewBuilder
    collator: CoTPDCollator
    settings: TargetSettings

    @torch.no_grad()
    def probabilities(self, batch: dict[str, list]) -> list[tuple[list[list[int]] | None, torch.Tensor]]:
        """Per row the characters of the teacher's tokens, `None` for MRE, and its distributions `(n, C)` or `(C,)`."""
        columns = self.builder(batch)
        rows = [{name: column[index] for name, column in columns.items()} for index in range(len(batch["id"]))]
        found: list = [None] * len(rows)
        order = sorted(range(len(rows)), key=lambda index: -rows[index]["length"])
        for begin in range(0, len(order), self.settings.batch_size):
            chosen = order[begin : begin + self.settings.batch_size]
            for index, distribution in zip(chosen, self._read([rows[index] for index in chosen]), strict=True):
                found[index] = (rows[index].get("offsets"), distribution)
        return found

    def _read(self, rows: list[dict]) -> torch.Tensor:
        inputs = {name: value.to(self.settings.device) for name, value in self.collator(rows).items()}
        for name in ("labels", "distillation_mask"):
            inputs.pop(name)
        with torch.autocast(torch.device(self.settings.device).type, torch.bfloat16, enabled=self.settings.bf16):
            outputs = self.model(**inputs)
        logits = outputs.logits if self.settings.view == "prompt" else outputs.knowledge_logits
        return logits.float().softmax(-1).cpu()


@dataclass
class MeanDistribution:
    """Maps records to the logarithm of the teachers' mean distribution; `inside` is what `inside_labels` returns."""

    teachers: list[FrozenTeacher]
    inside: list[int]

    def __call__(self, batch: dict[str, list]) -> dict[str, list]:
        read = [teacher.probabilities(batch) for teacher in self.teachers]
        rows: list[list] = []
        for index, members in enumerate(zip(*read, strict=True)):
            if "student_offsets" not in batch:
                rows.append(log_mean([distribution for _, distribution in members]))
                continue
            offsets, mask = batch["student_offsets"][index], batch["student_mask"][index]
            matched = [align_distributions(offsets, own or (), found, self.inside) for own, found in members]
            tokens = zip(mask, zip(*matched, strict=True), strict=True)
            rows.append([log_mean(token) if compared and None not in token else [] for compared, token in tokens])
        return {TARGET_COLUMN: rows}


def align_distributions(
    offsets: Sequence[Sequence[int]],
    teacher_offsets: Sequence[Sequence[int]],
    distributions: torch.Tensor,
    inside: Sequence[int],
) -> list[torch.Tensor | None]:
    """Give each of the student's subword tokens a distribution of the teacher's token that holds its first character.

    Where the teacher's token begins earlier, the student's continues it, so what the teacher gives to `B-X` counts
    for `I-X`.

    Args:
        offsets, teacher_offsets (`Sequence`): Characters of the student's and of the teacher's tokens.
        distributions (`torch.Tensor` of shape `(n, C)`): The teacher's, at least one per token.
        inside (`Sequence[int]`): Per label the one that continues it.

    Returns:
        `list[torch.Tensor | None]`: Per token of the student a distribution `(C,)`, or `None`.
    """
    if [*map(list, offsets)] == [*map(list, teacher_offsets)]:
        return list(distributions[: len(offsets)])
    holders: dict[int, int] = {}
    for place, (start, end) in enumerate(teacher_offsets):
        for character in range(start, end):
            holders.setdefault(character, place)
    found: list[torch.Tensor | None] = []
    for start, end in offsets:
        holder = holders.get(start) if start < end else None
        if holder is None:
            found.append(None)
        elif teacher_offsets[holder][0] == start:
            found.append(distributions[holder])
        else:
            moved = torch.zeros_like(distributions[holder])
            found.append(moved.index_add(0, torch.tensor(inside), distributions[holder]))
    return found


def log_mean(distributions: Sequence[torch.Tensor]) -> list[float]:
    """The logarithm of the mean of distributions `(C,)`; finite, so that 0 times it is 0 in the KL term."""
    return torch.stack(tuple(distributions)).mean(0).clamp_min(torch.finfo(torch.float32).tiny).log().tolist()


def load_teacher(
    name: str,
    model_class: type[CoTPDPreTrainedModel],
    task: str,
    label_names: Sequence[str],
    settings: TargetSettings,
    hub: dict[str, Any],
) -> FrozenTeacher:
    """A finished model of the same task and labels with its tokenizer, ready to read."""
    source = resolve_encoder(name)
    if not is_cotpd_checkpoint(source, **hub):
        message = "distill_from names a plain encoder, not a finished CoTPD model."
        raise SettingError(message, place=name, fix="Name folders of finished runs.")
    model = load_finished_model(source, model_class, label_names, **hub).to(settings.device)
    tokenizer = load_tokenizer(source, **hub)
    check_tokenizer(tokenizer, model, TASKS[task], name)
    if task == "mner":
        model.read_words(None)  # the student learns a distribution for every subword token
    base = model.get_base_model()
    views = ViewSettings(
        settings.knowledge_columns if settings.view == "knowledge" else (),
        min(settings.max_length, base.max_positions or settings.max_length),
        base.max_text_length,
        model.config.knowledge_placement,
    )
    builder = ViewBuilder(tokenizer, task, views, label_names)
    return FrozenTeacher(model, builder, CoTPDCollator(tokenizer.pad_token_id), settings)


def weights_hash(model: CoTPDPreTrainedModel) -> str:
    """sha256 of a model's weights, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

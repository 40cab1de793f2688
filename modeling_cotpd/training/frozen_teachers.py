"""Frozen teachers: the distributions of finished models over the labels of training rows, computed once and stored.

In the two-view loss the knowledge view is trained together with its student. A finished model is a constant target,
and the mean of several is a better one. The student then reads the text alone in training too.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from datasets import Dataset, concatenate_datasets
from datasets.fingerprint import Hasher

from modeling_cotpd.data.schema import label_names_of
from modeling_cotpd.data.views import ViewBuilder
from modeling_cotpd.data.words import inside_labels
from modeling_cotpd.encoder_cotpd import resolve_encoder
from modeling_cotpd.errors import SettingError
from modeling_cotpd.modeling_cotpd import CoTPDPreTrainedModel
from modeling_cotpd.training.arguments import DataArguments, ModelArguments
from modeling_cotpd.training.collator import CoTPDCollator
from modeling_cotpd.training.pretrained import (
    check_tokenizer,
    hub_arguments,
    is_cotpd_checkpoint,
    load_finished_model,
    load_tokenizer,
    views_within,
)
from modeling_cotpd.training.tasks import Task
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

STUDENT_COLUMNS = {"offsets": "student_offsets", "distillation_mask": "student_mask"}


def add_targets(
    features: Dataset,
    split: Dataset,
    task: Task,
    model_args: ModelArguments,
    data_args: DataArguments,
    args: CoTPDTrainingArguments,
) -> Dataset:
    """Features with the column `target_log_probs`: the logarithm of the mean distribution of `distill_from`.

    Per subword token of the student for MNER, matched by characters, so a teacher may be built on another encoder
    with another tokenizer; one per row for MRE. A token without a word, or of which a teacher's tokenizer keeps
    nothing, has an empty list and is not compared. The knowledge stands where it stood when the teachers were trained.
    """
    labels = label_names_of(split.features)
    teachers = [
        load_teacher(name, task, labels, model_args, data_args, args) for name in model_args.distill_from or ()
    ]
    rows = split
    if task.name == "mner":  # where the student's tokens stand
        aligned = features.select_columns(list(STUDENT_COLUMNS)).rename_columns(STUDENT_COLUMNS)
        rows = concatenate_datasets([split, aligned], axis=1)
    weights = [weights_hash(teacher.model) for teacher in teachers]
    settings = [(repr(teacher.builder.settings), teacher.view, teacher.bf16) for teacher in teachers]
    targets = rows.map(
        MeanDistribution(teachers, inside_labels(labels)),
        batched=True,
        batch_size=16 * args.per_device_eval_batch_size,
        remove_columns=rows.column_names,
        new_fingerprint=Hasher.hash((split._fingerprint, features._fingerprint, settings, weights)),
        desc=f"Targets of {len(teachers)} frozen teachers",
    )
    return concatenate_datasets([features, targets], axis=1)


@dataclass
class FrozenTeacher:
    """A finished model that reads rows in its own subword tokens, and whose `view` gives the targets."""

    model: CoTPDPreTrainedModel
    builder: ViewBuilder
    collator: CoTPDCollator
    view: str
    batch_size: int
    bf16: bool

    @torch.no_grad()
    def probabilities(self, batch: dict[str, list]) -> list[tuple[list[list[int]] | None, torch.Tensor]]:
        """Per row the characters of the teacher's tokens, `None` for MRE, and its distributions `(n, C)` or `(C,)`."""
        columns = self.builder(batch)
        rows = [{name: column[index] for name, column in columns.items()} for index in range(len(batch["id"]))]
        found: list = [None] * len(rows)
        order = sorted(range(len(rows)), key=lambda index: -rows[index]["length"])
        for begin in range(0, len(order), self.batch_size):
            chosen = order[begin : begin + self.batch_size]
            for index, distribution in zip(chosen, self._read([rows[index] for index in chosen]), strict=True):
                found[index] = (rows[index].get("offsets"), distribution)
        return found

    def _read(self, rows: list[dict]) -> torch.Tensor:
        inputs = {name: value.to(self.model.device) for name, value in self.collator(rows).items()}
        for name in ("labels", "distillation_mask"):
            inputs.pop(name)
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.bf16):
            outputs = self.model(**inputs)
        logits = outputs.logits if self.view == "prompt" else outputs.knowledge_logits
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
        return {"target_log_probs": rows}


def align_distributions(
    offsets: Sequence[Sequence[int]],
    teacher_offsets: Sequence[Sequence[int]],
    distributions: torch.Tensor,
    inside: Sequence[int],
) -> list[torch.Tensor | None]:
    """Give each of the student's subword tokens a distribution of the teacher's token that holds its first character.

    Where the teacher's token begins earlier, the student's continues it, so what the teacher gives to `B-X` counts
    for `I-X`. `inside` names per label the one that continues it.

    Args:
        offsets, teacher_offsets (`Sequence`): Characters of the student's and of the teacher's tokens.
        distributions (`torch.Tensor` of shape `(n, C)`): The teacher's, at least one per token.

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
    task: Task,
    label_names: Sequence[str],
    model_args: ModelArguments,
    data_args: DataArguments,
    args: CoTPDTrainingArguments,
) -> FrozenTeacher:
    """A finished model of the same task and labels with its tokenizer, ready to read."""
    source, hub = resolve_encoder(name), hub_arguments(model_args)
    if not is_cotpd_checkpoint(source, **hub):
        message = "distill_from names a plain encoder, not a finished CoTPD model."
        raise SettingError(message, place=name, fix="Name folders of finished runs.")
    model = load_finished_model(source, task.model_class, label_names, **hub).to(args.device)
    tokenizer = load_tokenizer(source, **hub)
    check_tokenizer(tokenizer, model, task, name)
    if task.name == "mner":
        model.read_words(None)  # the student learns a distribution for every subword token
    columns = data_args.knowledge_columns if model_args.distill_from_view == "knowledge" else ()
    views = views_within(model, columns, data_args.max_length, model.config.knowledge_placement)
    return FrozenTeacher(
        model,
        ViewBuilder(tokenizer, task.name, views, label_names),
        CoTPDCollator(tokenizer.pad_token_id),
        model_args.distill_from_view,
        args.per_device_eval_batch_size,
        args.bf16,
    )


def weights_hash(model: CoTPDPreTrainedModel) -> str:
    """sha256 of a model's weights, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()

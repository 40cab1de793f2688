"""Batches of sequences of like length, and a long text as overlapping stretches."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from transformers import PreTrainedModel

from modeling_cotpd.data.views import KnowledgeView
from modeling_cotpd.errors import SettingError
from modeling_cotpd.training.collator import pad_rows, pad_tokens

UNBOUNDED_LENGTH = 512
"""Pieces read at once by an encoder whose positions are unbounded; ours, as long as the views in training."""


@dataclass(frozen=True)
class BatchSettings:
    """How much goes through the model at once; neither changes a prediction.

    Args:
        batch_size (`int`, *optional*, defaults to 32): The most sequences in a batch.
        max_batch_tokens (`int`, *optional*): The most pieces in a batch, padding included. `None`: no limit.

    Raises:
        SettingError: One is below 1.
    """

    batch_size: int = 32
    max_batch_tokens: int | None = None

    def __post_init__(self):
        for name in ("batch_size", "max_batch_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} must be at least 1, got {value}.")


def batches_by_length(lengths: Sequence[int], settings: BatchSettings) -> Iterator[list[int]]:
    """Indices of sequences of like length, longest first, so that a batch that does not fit shows at once."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        tokens = lengths[batch[0]] * (len(batch) + 1) if batch else 0
        if batch and (
            len(batch) == settings.batch_size
            or (settings.max_batch_tokens is not None and tokens > settings.max_batch_tokens)
        ):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


@dataclass(frozen=True)
class Stretch:
    """A part of a text that the model reads at once.

    Args:
        row (`int`): Which text.
        begin, end (`int`): The pieces that are read.
        own_begin, own_end (`int`): The pieces whose predictions count: those that stand nearer to the middle of this
            stretch than to that of its neighbours.
    """

    row: int
    begin: int
    end: int
    own_begin: int
    own_end: int


def stretches(row: int, length: int, room: int) -> list[Stretch]:
    """A text of `length` pieces as stretches of at most `room` that overlap by a quarter; nothing is left out.

    The last stretch ends with the text and is as long as the others, so it may overlap by more.
    """
    if length <= room:
        return [Stretch(row, 0, length, 0, length)]
    step = max(1, room - room // 4)
    begins = [*range(0, length - room, step), length - room]
    borders = [(after + before + room) // 2 for before, after in pairwise(begins)]
    return [
        Stretch(row, begin, begin + room, own_begin, own_end)
        for begin, own_begin, own_end in zip(begins, [0, *borders], [*borders, length], strict=True)
    ]


def run_batches(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    settings: BatchSettings,
    pad_token_id: int,
    extra: dict[str, Sequence[Sequence[int]]] | None = None,
    knowledge: Sequence[KnowledgeView] | None = None,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Run sequences through the model; yields (index, labels, scores), the best label and its probability.

    Args:
        model (`PreTrainedModel`): Maps `input_ids` and `attention_mask` to `logits`.
        sequences (`Sequence[Sequence[int]]`): Subword tokens with special tokens.
        extra (`dict[str, Sequence]`, *optional*): Further inputs of equal length for every sequence, such as
            `marker_positions`.
        knowledge (`Sequence[KnowledgeView]`, *optional*): The knowledge view of each sequence. When given, labels and
            scores are those of the knowledge view.
    """
    device = model.device
    lengths = [len(view.input_ids) for view in knowledge] if knowledge else [len(sequence) for sequence in sequences]
    for batch in batches_by_length(lengths, settings):
        inputs = pad_tokens([sequences[index] for index in batch], pad_token_id)
        inputs |= {name: torch.tensor([rows[index] for index in batch]) for name, rows in (extra or {}).items()}
        if knowledge is not None:
            views = [knowledge[index] for index in batch]
            padded = pad_tokens([view.input_ids for view in views], pad_token_id)
            inputs |= {f"knowledge_{name}": tensor for name, tensor in padded.items()}
            width = inputs["input_ids"].shape[1]
            inputs["knowledge_text_positions"] = pad_rows([view.text_positions for view in views], 0, width)
        with torch.inference_mode():
            output = model(**{name: tensor.to(device) for name, tensor in inputs.items()})
            logits = output.logits if knowledge is None else output.knowledge_logits
            best = logits.float().softmax(-1).max(-1)
        labels, scores = best.indices.cpu().numpy(), best.values.cpu().numpy()
        for place, index in enumerate(batch):
            yield index, labels[place], scores[place]

"""Batches of features of similar length, and a long text as overlapping windows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from transformers import PreTrainedModel

from modeling_cotpd.errors import SettingError
from modeling_cotpd.training.collator import CoTPDCollator

CPU_BATCH_TOKENS = 384
"""Subword tokens in a batch on a CPU, by default: larger batches leave its caches and hold more padding."""
UNBOUNDED_LENGTH = 512
"""Subword tokens read at once by an encoder without a limit: as many as the views have in training."""


@dataclass(frozen=True)
class BatchSettings:
    """How much goes through the model at once; neither setting changes a prediction.

    Args:
        batch_size (`int`, *optional*, defaults to 32): The maximum number of sequences in a batch.
        max_batch_tokens (`int`, *optional*): The maximum number of subword tokens in a batch, padding included.
            `None`: 384 on a CPU, no limit elsewhere.

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
    """Indices of sequences of similar length, longest first, so that a batch that does not fit fails at once."""
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
class Window:
    """A part of a text that the model reads at once.

    Args:
        row (`int`): Which text.
        begin, end (`int`): The subword tokens that are read.
        own_begin, own_end (`int`): The subword tokens whose predictions are kept: those that are nearer to the middle
            of this window than to that of its neighbours.
    """

    row: int
    begin: int
    end: int
    own_begin: int
    own_end: int


def text_windows(row: int, begins_word: Sequence[bool], room: int) -> list[Window]:
    """Split a text into windows of at most `room` subword tokens that overlap by about a quarter.

    Windows begin and end between words, unless a word is longer than an eighth of `room`. The last window ends with
    the text and is about as long as the others.

    Args:
        row (`int`): Which text.
        begins_word (`Sequence[bool]`): Per subword token whether it is the first of a word.
        room (`int`): The maximum length of a window.
    """
    length = len(begins_word)
    if length <= room:
        return [Window(row, 0, length, 0, length)]

    def border(place: int, lowest: int) -> int:
        """The last beginning of a word in [lowest, place], or `place` itself."""
        return next((p for p in range(place, lowest - 1, -1) if begins_word[p]), place)

    bounds, begin = [], 0
    while begin + room < length:
        end = border(begin + room, begin + room - room // 8)
        bounds.append((begin, end))
        begin = border(end - room // 4, end - room // 4 - room // 8)
    first = length - room
    bounds.append((next((p for p in range(first, begin + 1) if begins_word[p]), begin), length))
    borders = [
        border((after + before) // 2, after + (before - after) // 4) for (_, before), (after, _) in pairwise(bounds)
    ]
    return [
        Window(row, begin, end, own_begin, own_end)
        for (begin, end), own_begin, own_end in zip(bounds, [0, *borders], [*borders, length], strict=True)
    ]


def run_batches(
    model: PreTrainedModel, features: Sequence[dict], settings: BatchSettings, pad_token_id: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Run features through the model; yields (index, labels, scores), the best label and its probability.

    Args:
        model (`PreTrainedModel`): Returns `logits`, and `knowledge_logits` where features have a knowledge view.
        features (`Sequence[dict]`): `input_ids` and, for relations, `marker_positions`; with `knowledge_input_ids` and
            `knowledge_text_positions`, labels and scores are those of the knowledge view.
        settings (`BatchSettings`): How much goes through the model at once.
        pad_token_id (`int`): The tokenizer's.
    """
    collate = CoTPDCollator(pad_token_id)
    if settings.max_batch_tokens is None and model.device.type == "cpu":
        settings = replace(settings, max_batch_tokens=CPU_BATCH_TOKENS)
    lengths = [len(row.get("knowledge_input_ids", row["input_ids"])) for row in features]
    for batch in batches_by_length(lengths, settings):
        inputs = collate([features[index] for index in batch])
        with torch.inference_mode():
            output = model(**{name: tensor.to(model.device) for name, tensor in inputs.items()})
            logits = output.knowledge_logits if "knowledge_input_ids" in inputs else output.logits
            best = logits.float().softmax(-1).max(-1)
        labels, scores = best.indices.cpu().numpy(), best.values.cpu().numpy()
        for place, index in enumerate(batch):
            yield index, labels[place], scores[place]

"""Batches of features, each view padded on the right to its own longest row."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch


@dataclass
class CoTPDCollator:
    """Pads the features of both tasks; what a feature lacks, the batch lacks.

    Args:
        pad_token_id (`int`): The tokenizer's.
        pad_to_multiple_of (`int`, *optional*): Lengths are rounded up to it; 8 suits tensor cores.

    A batch has `input_ids`, `attention_mask`, `labels` and `distillation_mask` (where the views are compared: MNER
    `(B, n)`, the tokens of words; MRE `(B,)`, every row), for relation extraction `marker_positions`,
    `knowledge_input_ids` and `knowledge_attention_mask` when the features have a knowledge view, with
    `knowledge_text_positions` when the knowledge stands within the text, and `target_log_probs` (MNER `(B, n, C)`, MRE
    `(B, C)`) when they have the targets of frozen teachers.

    Example:

    ```python
    >>> from modeling_cotpd.training.collator import CoTPDCollator
    >>> rows = [{"input_ids": [2, 7, 3], "labels": [-100, 1, -100], "distillation_mask": [0, 1, 0]}]
    >>> CoTPDCollator(pad_token_id=0)(rows)["distillation_mask"]
    tensor([[0, 1, 0]])
    ```
    """

    pad_token_id: int
    pad_to_multiple_of: int | None = None

    def __call__(self, features: list[dict]) -> dict[str, torch.Tensor]:
        batch = self._padded(features, "")
        length = batch["input_ids"].shape[1]
        if "marker_positions" in features[0]:
            batch["marker_positions"] = torch.tensor([row["marker_positions"] for row in features])
            if "labels" in features[0]:
                batch["labels"] = torch.tensor([row["labels"] for row in features])
                batch["distillation_mask"] = torch.ones(len(features), dtype=torch.long)
        elif "labels" in features[0]:
            batch["labels"] = pad_rows([row["labels"] for row in features], -100, length)
            batch["distillation_mask"] = pad_rows([row["distillation_mask"] for row in features], 0, length)
        if "target_log_probs" in features[0]:
            self._add_targets(batch, features)
        if "knowledge_input_ids" in features[0]:
            batch |= self._padded(features, "knowledge_")
        if "knowledge_text_positions" in features[0]:
            positions = [row["knowledge_text_positions"] for row in features]
            batch["knowledge_text_positions"] = pad_rows(positions, 0, length)
        return batch

    def _add_targets(self, batch: dict[str, torch.Tensor], features: list[dict]) -> None:
        """Put the targets where the views are compared; a position without a target is not compared."""
        if "marker_positions" in batch:
            batch["target_log_probs"] = torch.tensor([row["target_log_probs"] for row in features])
            return
        classes = max((len(target) for row in features for target in row["target_log_probs"]), default=1)
        batch["target_log_probs"] = torch.zeros((*batch["labels"].shape, classes))
        for index, row in enumerate(features):
            for place, target in enumerate(row["target_log_probs"]):
                if target:
                    batch["target_log_probs"][index, place] = torch.tensor(target)
                else:
                    batch["distillation_mask"][index, place] = 0

    def _padded(self, features: list[dict], prefix: str) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask` `(B, n)` of one view."""
        rows = [row[f"{prefix}input_ids"] for row in features]
        length = max(map(len, rows))
        length += -length % (self.pad_to_multiple_of or 1)
        mask = np.arange(length) < np.fromiter(map(len, rows), dtype=np.int64)[:, None]
        return {
            f"{prefix}input_ids": pad_rows(rows, self.pad_token_id, length),
            f"{prefix}attention_mask": torch.from_numpy(mask.astype(np.int64)),
        }


def pad_rows(rows: Sequence[Sequence[int]], value: int, length: int) -> torch.Tensor:
    """Rows of numbers as a tensor `(B, length)`, filled up with a value on the right."""
    padded = np.full((len(rows), length), value, dtype=np.int64)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return torch.from_numpy(padded)

"""Batches of features, each view padded on the right to its own longest row."""

from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence


@dataclass
class CoTPDCollator:
    """Pads the features of both tasks; what a feature lacks, the batch lacks.

    Args:
        pad_token_id (`int`): The tokenizer's.
        pad_to_multiple_of (`int`, *optional*): Lengths are rounded up to it; 8 suits tensor cores.

    A batch has `input_ids`, `attention_mask`, `labels` and `distillation_mask` (where the views are compared: MNER
    `(B, n)`, the first pieces; MRE `(B,)`, every row), for relation extraction `marker_positions`, and
    `knowledge_input_ids`, `knowledge_attention_mask` when the features have a knowledge view, and `target_log_probs`
    (MNER `(B, n, C)`, MRE `(B, C)`) when they have the targets of frozen teachers.

    Example:

    ```python
    >>> from modeling_cotpd.collator import CoTPDCollator
    >>> rows = [{"input_ids": [2, 7, 3], "labels": [-100, 1, -100], "first_pieces": [1]}]
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
            batch["labels"] = torch.tensor([row["labels"] for row in features])
            batch["distillation_mask"] = torch.ones(len(features), dtype=torch.long)
        else:
            batch["labels"] = torch.full((len(features), length), -100)
            batch["distillation_mask"] = torch.zeros((len(features), length), dtype=torch.long)
            for index, row in enumerate(features):
                batch["labels"][index, : len(row["labels"])] = torch.tensor(row["labels"])
                batch["distillation_mask"][index, [place for place in row["first_pieces"] if place >= 0]] = 1
        if "target_log_probs" in features[0]:
            self._add_targets(batch, features)
        if "knowledge_input_ids" in features[0]:
            batch |= self._padded(features, "knowledge_")
        return batch

    def _add_targets(self, batch: dict[str, torch.Tensor], features: list[dict]) -> None:
        """Put the targets where the views are compared; a word that has no target is not compared."""
        if "marker_positions" in batch:
            batch["target_log_probs"] = torch.tensor([row["target_log_probs"] for row in features])
            return
        classes = max((len(target) for row in features for target in row["target_log_probs"]), default=1)
        batch["target_log_probs"] = torch.zeros((*batch["labels"].shape, classes))
        for index, row in enumerate(features):
            for place, target in zip(row["first_pieces"], row["target_log_probs"], strict=True):
                if place >= 0 and target:
                    batch["target_log_probs"][index, place] = torch.tensor(target)
                elif place >= 0:
                    batch["distillation_mask"][index, place] = 0

    def _padded(self, features: list[dict], prefix: str) -> dict[str, torch.Tensor]:
        rows = [torch.tensor(row[f"{prefix}input_ids"]) for row in features]
        ids = pad_sequence(rows, batch_first=True, padding_value=self.pad_token_id)
        if self.pad_to_multiple_of:
            extra = -ids.shape[1] % self.pad_to_multiple_of
            ids = torch.nn.functional.pad(ids, (0, extra), value=self.pad_token_id)
        lengths = torch.tensor([len(row) for row in rows])
        mask = (torch.arange(ids.shape[1]) < lengths.unsqueeze(1)).long()
        return {f"{prefix}input_ids": ids, f"{prefix}attention_mask": mask}

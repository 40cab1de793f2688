"""From a label and a score per piece to entities, as the stock pipeline's aggregation strategy "first" does it."""

from collections.abc import Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase


class EntityReader:
    """Groups pieces into words and words into entities.

    It gives what `pipeline("token-classification", aggregation_strategy="first")` gives, many times faster: a word
    takes label and score of its first piece; words of one type make an entity until a `B-` begins another; an entity's
    score is the mean over its words. One thing differs: spans neither begin nor end with white space, which some
    tokenizers count to the word behind it.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): A fast tokenizer.
        label_names (`Sequence[str]`): Names in id order.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, label_names: Sequence[str]):
        self.unknown = tokenizer.unk_token_id
        # A tokenizer that marks continuing pieces ("##s") tells its words; else white space does
        marks = bool(getattr(tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None))
        self.piece_lengths = (
            [len(piece) for piece in tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))] if marks else None
        )
        self.begins = [name.startswith("B-") for name in label_names]
        self.kinds = [name[2:] if name.startswith(("B-", "I-")) else name for name in label_names]
        self.types = [name.split("-", 1)[-1] for name in label_names]

    def __call__(
        self,
        text: str,
        pieces: Sequence[int],
        offsets: Sequence[tuple[int, int]],
        labels: np.ndarray,
        scores: np.ndarray,
    ) -> list[dict]:
        """Entities of one text, in order.

        Args:
            text (`str`): The text that was tokenized.
            pieces (`Sequence[int]`): Piece ids, without special tokens.
            offsets (`Sequence[tuple[int, int]]`): Characters of every piece.
            labels, scores (`np.ndarray` of shape `(n,)`): The best label of every piece and its probability.

        Returns:
            `list[dict]`: `start`, `end` (characters, end excluded), `type`, `score`, and `text`, what stands there.
        """
        if not len(pieces) or all(self.types[label] == "O" for label in np.unique(labels)):
            return []
        groups: list[list[int]] = []  # [kind's label, first piece, last piece, places of the words' first pieces ...]
        for index, (piece, (start, end)) in enumerate(zip(pieces, offsets, strict=True)):
            if index and self._continues(text, piece, start, end):
                groups[-1][2] = index
                continue
            label = int(labels[index])
            if groups and not self.begins[label] and self.kinds[label] == self.kinds[groups[-1][0]]:
                groups[-1][2] = index
                groups[-1].append(index)
            else:
                groups.append([label, index, index, index])
        return [self._entity(text, offsets, scores, group) for group in groups if self.types[group[0]] != "O"]

    def _continues(self, text: str, piece: int, start: int, end: int) -> bool:
        """Whether a piece continues the word before it."""
        if piece == self.unknown:
            return False
        if self.piece_lengths is not None:
            return self.piece_lengths[piece] != end - start
        return start > 0 and " " not in text[start - 1 : start + 1]

    def _entity(self, text: str, offsets: Sequence[tuple[int, int]], scores: np.ndarray, group: list[int]) -> dict:
        label, first, last, *words = group
        start, end = offsets[first][0], offsets[last][1]
        mention = text[start:end]
        if mention.strip():
            start += len(mention) - len(mention.lstrip())
            end -= len(mention) - len(mention.rstrip())
        return {
            "start": start,
            "end": end,
            "type": self.types[label],
            "score": round(float(scores[words].mean()), 6),
            "text": text[start:end],
        }

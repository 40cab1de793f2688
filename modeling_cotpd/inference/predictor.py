"""Predictions for lists of posts, from the text alone: entities, or the relation of two entities."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.batches import UNBOUNDED_LENGTH, BatchSettings, run_batches, stretches
from modeling_cotpd.inference.entities import EntityReader
from modeling_cotpd.inference.posts import Post
from modeling_cotpd.markers_cotpd import insert_markers, marker_ids, pieces_of_span, special_affixes
from modeling_cotpd.pipeline_cotpd import window

SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


class Predictor:
    """What both tasks share: tokenization, and how much the model reads at once.

    Args:
        model (`PreTrainedModel`): The model, or its ONNX form, in evaluation mode.
        tokenizer (`PreTrainedTokenizerBase`): Its fast tokenizer.
        settings (`BatchSettings`, *optional*): How much goes through the model at once.
        max_length (`int`, *optional*): The most pieces that are read at once, special tokens included. By default as
            many as the tokenizer's `model_max_length` says, or 512 where it says nothing.

    Raises:
        SettingError: The tokenizer is a slow one, or `max_length` is more than the model reads or leaves no room.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        settings: BatchSettings | None = None,
        max_length: int | None = None,
    ):
        if not tokenizer.is_fast:
            raise SettingError(f"{type(tokenizer).__name__} is a slow tokenizer and knows no character offsets.")
        self.model, self.tokenizer = model, tokenizer
        self.settings = settings or BatchSettings()
        self.label_names = [model.config.id2label[index] for index in range(model.config.num_labels)]
        self.prefix, self.suffix = special_affixes(tokenizer)
        limit = tokenizer.model_max_length
        bounded = limit < 1_000_000  # transformers writes a very large number where there is no limit
        if max_length is not None and bounded and max_length > limit:
            raise SettingError(f"max_length is {max_length}, but the model reads at most {limit} pieces.")
        self.max_length = max_length or (limit if bounded else UNBOUNDED_LENGTH)
        self.room = self.max_length - len(self.prefix) - len(self.suffix)
        if self.room < 8:
            raise SettingError(f"max_length={self.max_length} leaves {self.room} pieces for text; it needs 8.")

    def __call__(self, posts: Sequence[Post]) -> list[dict]:
        """One result per post, in their order."""
        raise NotImplementedError

    def _tokenize(self, posts: Sequence[Post]) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
        """Pieces and their characters. A lone surrogate, which is no character, is read as U+FFFD: also one long."""
        if not posts:
            return [], []
        encoded = self.tokenizer(
            [post.text.translate(SURROGATES) if not post.text.isascii() else post.text for post in posts],
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            return_offsets_mapping=True,
            split_special_tokens=True,
            verbose=False,
        )
        return encoded["input_ids"], encoded["offset_mapping"]


class EntityPredictor(Predictor):
    """Entities of posts. A post longer than the model reads is read in overlapping stretches, to its end.

    Example:

    ```python
    >>> predict = EntityPredictor(model, tokenizer)  # doctest: +SKIP
    >>> predict([Post("1", "Maya moved to Harlow", "here")])  # doctest: +SKIP
    [{'id': '1', 'text': 'Maya moved to Harlow', 'entities': [{'start': 0, 'end': 4, 'type': 'PER', ...}, ...]}]
    ```
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        settings: BatchSettings | None = None,
        max_length: int | None = None,
    ):
        super().__init__(model, tokenizer, settings, max_length)
        self.reader = EntityReader(tokenizer, self.label_names)

    def __call__(self, posts: Sequence[Post]) -> list[dict]:
        pieces, offsets = self._tokenize(posts)
        parts = [part for row, ids in enumerate(pieces) if ids for part in stretches(row, len(ids), self.room)]
        sequences = [[*self.prefix, *pieces[part.row][part.begin : part.end], *self.suffix] for part in parts]
        labels = [np.zeros(len(ids), dtype=np.int64) for ids in pieces]
        scores = [np.zeros(len(ids), dtype=np.float32) for ids in pieces]
        for index, part_labels, part_scores in run_batches(
            self.model, sequences, self.settings, self.tokenizer.pad_token_id
        ):
            part = parts[index]
            shift = len(self.prefix) - part.begin
            own, read = slice(part.own_begin, part.own_end), slice(part.own_begin + shift, part.own_end + shift)
            labels[part.row][own] = part_labels[read]
            scores[part.row][own] = part_scores[read]
        return [
            {
                "id": post.id,
                "text": post.text,
                "entities": self.reader(post.text, pieces[row], offsets[row], labels[row], scores[row]),
            }
            for row, post in enumerate(posts)
        ]


class RelationPredictor(Predictor):
    """The relation between two entities of each post. Of a post longer than the model reads, it reads the pieces
    around the two entities.

    A post whose entities lie further apart than the model reads gets no relation but a `problem` that says so.
    """

    def __call__(self, posts: Sequence[Post]) -> list[dict]:
        pieces, offsets = self._tokenize(posts)
        markers = marker_ids(self.tokenizer)
        results: list[dict[str, Any]] = []
        sequences: list[list[int]] = []
        positions: list[list[int]] = []
        owners: list[int] = []
        for row, post in enumerate(posts):
            result = {"id": post.id, "text": post.text, "head": post.head, "tail": post.tail, "relation": None}
            results.append(result | {"score": None})
            if post.head is None or post.tail is None:
                raise SettingError("A relation needs two entities.", place=post.place, fix="Read the posts for mre.")
            head, tail = (pieces_of_span(offsets[row], *span) for span in (post.head, post.tail))
            try:
                begin, end = window(
                    len(pieces[row]), min(head[0], tail[0]), max(head[1], tail[1]), self.room - len(markers)
                )
            except ValueError as error:
                results[row]["problem"] = str(error)
                continue
            marked, places = insert_markers(
                pieces[row][begin:end],
                (head[0] - begin, head[1] - begin),
                (tail[0] - begin, tail[1] - begin),
                markers,
            )
            owners.append(row)
            sequences.append([*self.prefix, *marked, *self.suffix])
            positions.append([place + len(self.prefix) for place in places])
        for index, label, score in run_batches(
            self.model, sequences, self.settings, self.tokenizer.pad_token_id, {"marker_positions": positions}
        ):
            results[owners[index]] |= {
                "relation": self.label_names[int(label)],
                "score": round(float(score), 6),
            }
        return results

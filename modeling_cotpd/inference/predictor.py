"""Predictions for lists of posts: entities, or the relation of two entities, from the text alone or with knowledge."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modeling_cotpd.data.entities import EntityReader
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS
from modeling_cotpd.data.views import Knowledge, KnowledgeView, ViewBuilder, ViewSettings
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.attention import PromptAttention, attention_over_words
from modeling_cotpd.inference.batches import UNBOUNDED_LENGTH, BatchSettings, run_batches, stretches
from modeling_cotpd.inference.onnx_model import OnnxStudent
from modeling_cotpd.inference.posts import Post
from modeling_cotpd.markers_cotpd import insert_markers, pieces_of_span
from modeling_cotpd.pipeline_cotpd import window

VIEWS = ("prompt", "knowledge")


class Predictor:
    """What both tasks share: tokenization, and how much the model reads at once.

    Args:
        model (`PreTrainedModel`): The model, or its ONNX form, in evaluation mode.
        tokenizer (`PreTrainedTokenizerBase`): Its fast tokenizer.
        settings (`BatchSettings`, *optional*): How much goes through the model at once.
        max_length (`int`, *optional*): The most pieces that are read at once, special tokens included. By default as
            many as the tokenizer's `model_max_length` says, or 512 where it says nothing.
        knowledge (`ViewSettings`, *optional*): The columns that the knowledge view reads, and its length.

    Raises:
        SettingError: The tokenizer is a slow one, or `max_length` is more than the model reads or leaves no room.
    """

    task: str

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        settings: BatchSettings | None = None,
        max_length: int | None = None,
        knowledge: ViewSettings | None = None,
    ):
        self.model, self.tokenizer = model, tokenizer
        self.settings = settings or BatchSettings()
        self.knowledge = knowledge or ViewSettings(KNOWLEDGE_COLUMNS)
        self.label_names = [model.config.id2label[index] for index in range(model.config.num_labels)]
        positions = None if isinstance(model, OnnxStudent) else model.get_base_model().max_positions
        reachable = min(self.knowledge.max_length, positions or self.knowledge.max_length)
        self.builder = ViewBuilder(tokenizer, self.task, replace(self.knowledge, max_length=reachable))
        self.prefix, self.suffix = self.builder.prefix, self.builder.suffix
        limit = tokenizer.model_max_length
        bounded = limit < 1_000_000  # transformers writes a very large number where there is no limit
        if max_length is not None and bounded and max_length > limit:
            raise SettingError(f"max_length is {max_length}, but the model reads at most {limit} pieces.")
        self.max_length = max_length or (limit if bounded else UNBOUNDED_LENGTH)
        self.room = self.max_length - len(self.prefix) - len(self.suffix)
        if self.room < 8:
            raise SettingError(f"max_length={self.max_length} leaves {self.room} pieces for text; it needs 8.")

    def __call__(self, posts: Sequence[Post], view: str = "prompt") -> list[dict]:
        """One result per post, in their order.

        Args:
            posts (`Sequence[Post]`): The posts.
            view (`str`, *optional*, defaults to `"prompt"`): Read the text alone, or with `"knowledge"` the posts'
                knowledge too.
        """
        raise NotImplementedError

    def _tokenize(self, posts: Sequence[Post]) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
        """Subword tokens of every post and their characters; equal texts are tokenized once."""
        texts = {text: number for number, text in enumerate(dict.fromkeys(post.text for post in posts))}
        tokens, offsets = self.builder.tokenize(list(texts))
        numbers = [texts[post.text] for post in posts]
        return [tokens[n] for n in numbers], [offsets[n] for n in numbers]

    def _knowledge(
        self, posts: Sequence[Post], offsets: Sequence[Sequence[tuple[int, int]]], view: str
    ) -> list[Knowledge] | None:
        """What the knowledge view adds to each post; `None` for the prompt view."""
        if view == "prompt":
            return None
        if view not in VIEWS:
            raise SettingError(f"There is no view {view!r}.", fix=f"Use {' or '.join(VIEWS)}.")
        if isinstance(self.model, OnnxStudent):
            raise SettingError("An exported model has the prompt view alone.", fix="Use the PyTorch model.")
        return self.builder.knowledge([post.text for post in posts], offsets, [post.knowledge for post in posts])

    def attention(self, post: Post) -> PromptAttention | None:
        """Where the prompt's queries look in a post; of a post longer than the model reads, in what is read first.

        Args:
            post (`Post`): The post, for relations with its two entities.

        Returns:
            `None` for prompts that look nowhere (all but the conditional one), exported models, and empty posts.
        """
        (pieces,), (offsets,) = self._tokenize([post])
        if isinstance(self.model, OnnxStudent) or self.model.config.prompt_type != "conditional" or not pieces:
            return None
        begin, sequence, places, extra = self._first_read(post, pieces, offsets)
        inputs = {name: torch.tensor([row]).to(self.model.device) for name, row in extra.items()}
        inputs["input_ids"] = torch.tensor([sequence]).to(self.model.device)
        with torch.inference_mode():
            shares = self.model(**inputs, output_prompt_attentions=True).prompt_attentions[0].float().cpu().numpy()
        return attention_over_words(post.text, shares[:, places], offsets[begin : begin + len(places)])

    def _first_read(
        self, post: Post, pieces: list[int], offsets: list[tuple[int, int]]
    ) -> tuple[int, list[int], list[int], dict[str, list[int]]]:
        """The first piece that is read, the sequence, where the text's pieces stand in it, and further inputs."""
        raise NotImplementedError

    def _most(self, view: str) -> int:
        """The most pieces of a text, without special tokens, that a view can hold."""
        own = len(self.prefix) + len(self.suffix)
        return self.room if view == "prompt" else min(self.room, self.builder.settings.max_length - own)

    def _reach(self, length: int, view: str) -> int:
        """How many pieces of a text of `length` pieces are read at once.

        Of a text that the knowledge view can not hold whole, half as many as it holds, so that knowledge has room.
        """
        most = self._most(view)
        return most if view == "prompt" or length <= most else most // 2


class EntityPredictor(Predictor):
    """Entities of posts. A post longer than the model reads is read in overlapping stretches, to its end.

    Example:

    ```python
    >>> predict = EntityPredictor(model, tokenizer)  # doctest: +SKIP
    >>> predict([Post("1", "Maya moved to Harlow", "here")])  # doctest: +SKIP
    [{'id': '1', 'text': 'Maya moved to Harlow', 'entities': [{'start': 0, 'end': 4, 'type': 'PER', ...}, ...]}]
    ```
    """

    task = "mner"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        settings: BatchSettings | None = None,
        max_length: int | None = None,
        knowledge: ViewSettings | None = None,
    ):
        super().__init__(model, tokenizer, settings, max_length, knowledge)
        self.reader = EntityReader(self.label_names)

    def __call__(self, posts: Sequence[Post], view: str = "prompt") -> list[dict]:
        pieces, offsets = self._tokenize(posts)
        knowledge = self._knowledge(posts, offsets, view)
        parts = [
            part
            for row, ids in enumerate(pieces)
            if ids
            for part in stretches(row, len(ids), self._reach(len(ids), view))
        ]
        sequences = [[*self.prefix, *pieces[part.row][part.begin : part.end], *self.suffix] for part in parts]
        views = knowledge and [
            self.builder.lay_out(
                sequence,
                range(len(self.prefix), len(sequence) - len(self.suffix)),
                knowledge[part.row].within(part.begin, part.end),
            )
            for sequence, part in zip(sequences, parts, strict=True)
        ]
        labels = [np.zeros(len(ids), dtype=np.int64) for ids in pieces]
        scores = [np.zeros(len(ids), dtype=np.float32) for ids in pieces]
        for index, part_labels, part_scores in run_batches(
            self.model, sequences, self.settings, self.tokenizer.pad_token_id, knowledge=views
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
                "entities": self.reader(post.text, offsets[row], labels[row], scores[row]),
            }
            for row, post in enumerate(posts)
        ]

    def _first_read(
        self, post: Post, pieces: list[int], offsets: list[tuple[int, int]]
    ) -> tuple[int, list[int], list[int], dict[str, list[int]]]:
        count = min(len(pieces), self.room)
        sequence = [*self.prefix, *pieces[:count], *self.suffix]
        return 0, sequence, list(range(len(self.prefix), len(self.prefix) + count)), {}


class RelationPredictor(Predictor):
    """The relation between two entities of each post. Of a post longer than the model reads, it reads the pieces
    around the two entities.

    A post whose entities lie further apart than the model reads gets no relation but a `problem` that says so.
    """

    task = "mre"

    def __call__(self, posts: Sequence[Post], view: str = "prompt") -> list[dict]:
        pieces, offsets = self._tokenize(posts)
        knowledge = self._knowledge(posts, offsets, view)
        results: list[dict[str, Any]] = []
        sequences: list[list[int]] = []
        positions: list[list[int]] = []
        owners: list[int] = []
        views: list[KnowledgeView] | None = None if knowledge is None else []
        for row, post in enumerate(posts):
            result = {"id": post.id, "text": post.text, "head": post.head, "tail": post.tail, "relation": None}
            results.append(result | {"score": None})
            head, tail = (pieces_of_span(offsets[row], *span) for span in self._pair(post))
            try:
                begin, sequence, places = self._marked(pieces[row], head, tail, view)
            except ValueError as error:
                results[row]["problem"] = str(error)
                continue
            owners.append(row)
            sequences.append(sequence)
            positions.append(places)
            if views is not None:
                own = self._own_places(sequence)
                views.append(self.builder.lay_out(sequence, own, knowledge[row].within(begin, begin + len(own))))
        for index, label, score in run_batches(
            self.model, sequences, self.settings, self.tokenizer.pad_token_id, {"marker_positions": positions}, views
        ):
            results[owners[index]] |= {
                "relation": self.label_names[int(label)],
                "score": round(float(score), 6),
            }
        return results

    def _marked(
        self, pieces: list[int], head: tuple[int, int], tail: tuple[int, int], view: str
    ) -> tuple[int, list[int], list[int]]:
        """The first piece that is read around two entities, the sequence, and where its start markers stand.

        Raises:
            ValueError: The entities lie further apart than the model reads.
        """
        markers = self.builder.markers
        first, last = min(head[0], tail[0]), max(head[1], tail[1])
        room = self._reach(len(pieces) + len(markers), view) - len(markers)
        room = max(room, min(last - first, self._most(view) - len(markers)))
        begin, end = window(len(pieces), first, last, room)
        marked, places = insert_markers(
            pieces[begin:end], (head[0] - begin, head[1] - begin), (tail[0] - begin, tail[1] - begin), markers
        )
        return begin, [*self.prefix, *marked, *self.suffix], [place + len(self.prefix) for place in places]

    def _first_read(
        self, post: Post, pieces: list[int], offsets: list[tuple[int, int]]
    ) -> tuple[int, list[int], list[int], dict[str, list[int]]]:
        head, tail = (pieces_of_span(offsets, *span) for span in self._pair(post))
        begin, sequence, starts = self._marked(pieces, head, tail, "prompt")
        return begin, sequence, self._own_places(sequence), {"marker_positions": starts}

    def _own_places(self, sequence: list[int]) -> list[int]:
        """Where the text's own subword tokens stand in a sequence with special tokens and markers."""
        places = [place for place, token in enumerate(sequence) if token not in self.builder.markers]
        return places[len(self.prefix) : len(places) - len(self.suffix)]

    @staticmethod
    def _pair(post: Post) -> tuple[tuple[int, int], tuple[int, int]]:
        if post.head is None or post.tail is None:
            raise SettingError("A relation needs two entities.", place=post.place, fix="Read the posts for mre.")
        return post.head, post.tail

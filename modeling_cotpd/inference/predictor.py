"""Predictions for lists of posts: entities, or the relation of two entities, from the text alone or with knowledge."""

import copy
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from modeling_cotpd.data.entities import EntityReader
from modeling_cotpd.data.posts import Post
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, PAIR
from modeling_cotpd.data.views import Knowledge, ViewBuilder, ViewSettings
from modeling_cotpd.data.words import begins_word
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.batches import UNBOUNDED_LENGTH, BatchSettings, Window, run_batches, text_windows
from modeling_cotpd.inference.onnx_model import OnnxStudent
from modeling_cotpd.markers_cotpd import insert_markers, tokens_of_span
from modeling_cotpd.pipeline_cotpd import TooFarApart, span_of, window

VIEWS = ("prompt", "knowledge")

Progress = Callable[[float], None]


@dataclass(frozen=True)
class WordAttention:
    """How the N queries of a prompt share their attention over the words of a text.

    Args:
        spans (`list[tuple[int, int]]`): Characters of every word, white space apart.
        shares (`list[list[float]]`): N rows, one per query, of one number per word. What is missing from 1 went to
            special tokens and entity markers.
    """

    spans: list[tuple[int, int]]
    shares: list[list[float]]

    @property
    def mean(self) -> list[float]:
        """The mean over the queries, one number per word."""
        return [sum(column) / len(self.shares) for column in zip(*self.shares, strict=True)]


class Predictor:
    """What both tasks share: tokenization, and how much the model reads at once.

    Args:
        model (`PreTrainedModel`): The model, or its ONNX form, in evaluation mode.
        tokenizer (`PreTrainedTokenizerBase`): Its fast tokenizer.
        settings (`BatchSettings`, *optional*): How much goes through the model at once.
        max_length (`int`, *optional*): The maximum number of subword tokens that are read at once, special tokens
            included. Defaults to the tokenizer's `model_max_length`, or to 512 where it has none.
        knowledge (`ViewSettings`, *optional*): The columns that the knowledge view reads, their placement and its
            length.

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
        # a copy, because a stock pipeline in another thread sets truncation on the object that it shares
        tokenizer = copy.deepcopy(tokenizer)
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
            raise SettingError(f"max_length is {max_length}, but the model reads at most {limit} subword tokens.")
        self.max_length = max_length or (limit if bounded else UNBOUNDED_LENGTH)
        self.room = self.max_length - len(self.prefix) - len(self.suffix)
        if self.room < 8:
            raise SettingError(f"max_length={self.max_length} leaves {self.room} subword tokens for text; it needs 8.")

    def __call__(
        self,
        posts: Sequence[Post],
        view: str = "prompt",
        uncertainty: bool = False,
        on_progress: Progress | None = None,
    ) -> list[dict]:
        """Predict on posts.

        Args:
            posts (`Sequence[Post]`): The posts.
            view (`str`, *optional*, defaults to `"prompt"`): Read the text alone, or with `"knowledge"` the posts'
                knowledge too.
            uncertainty (`bool`, *optional*, defaults to `False`): Add `uncertainty` to each result: the expected
                number of wrong labels.
            on_progress (`Callable`, *optional*): Called with the share of the call that is done.

        Returns:
            `list[dict]`: One result per post, in their order.
        """
        tokens, offsets = self._tokenize(posts)
        knowledge = self._knowledge(posts, offsets, view)
        return self._predict(posts, tokens, offsets, knowledge, view, uncertainty, on_progress)

    def _predict(
        self,
        posts: Sequence[Post],
        tokens: list[list[int]],
        offsets: list[list[tuple[int, int]]],
        knowledge: list[Knowledge] | None,
        view: str,
        uncertainty: bool,
        on_progress: Progress | None,
    ) -> list[dict]:
        """Results of posts whose subword tokens and knowledge are known."""
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
        return self.builder.knowledge([post.text for post in posts], offsets, [post.columns for post in posts])

    def _features(self, sequence: list[int], places: Sequence[int], knowledge: Knowledge | None) -> dict[str, Any]:
        """Features of a sequence whose own subword tokens stand at `places`."""
        if knowledge is None:
            return {"input_ids": sequence}
        view = self.builder.lay_out(sequence, places, knowledge)
        return {
            "input_ids": sequence,
            "knowledge_input_ids": view.input_ids,
            "knowledge_text_positions": view.text_positions,
        }

    def _run(
        self, features: Sequence[dict], on_progress: Progress | None
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        results = run_batches(self.model, features, self.settings, self.tokenizer.pad_token_id)
        for done, result in enumerate(results, 1):
            yield result
            if on_progress is not None and done % self.settings.batch_size == 0:
                on_progress(done / len(features))

    def attention(self, post: Post) -> WordAttention | None:
        """Where the prompt's queries look in a post; of a post longer than the model reads, in the first window.

        Args:
            post (`Post`): The post, for relations with its two entities.

        Returns:
            `None` for prompts without attention (all but the conditional one), exported models, empty posts, and
            entities further apart than the model reads, which the prediction reports.
        """
        (tokens,), (offsets,) = self._tokenize([post])
        if isinstance(self.model, OnnxStudent) or self.model.config.prompt_type != "conditional" or not tokens:
            return None
        try:
            begin, features, places = self._first_window(post, tokens, offsets)
        except TooFarApart:
            return None
        inputs = {name: torch.tensor([row]).to(self.model.device) for name, row in features.items()}
        with torch.inference_mode():
            shares = self.model(**inputs, output_prompt_attentions=True).prompt_attentions[0].float().cpu().numpy()
        return attention_over_words(post.text, shares[:, places], offsets[begin : begin + len(places)])

    def _first_window(
        self, post: Post, tokens: list[int], offsets: list[tuple[int, int]]
    ) -> tuple[int, dict[str, Any], list[int]]:
        """The first subword token that is read, features, and where the text's subword tokens stand in them."""
        raise NotImplementedError

    def _maximum(self, view: str) -> int:
        """The maximum number of a text's subword tokens, without special tokens, in a view."""
        own = len(self.prefix) + len(self.suffix)
        return self.room if view == "prompt" else min(self.room, self.builder.settings.max_length - own)

    def _window_length(self, length: int, view: str) -> int:
        """How many subword tokens of a text of `length` are read at once.

        Of a text that the knowledge view cannot hold whole, half as many as it holds, so that knowledge has room.
        """
        maximum = self._maximum(view)
        return maximum if view == "prompt" or length <= maximum else maximum // 2


class EntityPredictor(Predictor):
    """Entities of posts. A post longer than the model reads is read in overlapping windows, to its end.

    A result has `id`, `text` and `entities`, each with `start`, `end` (characters), `type`, `score` and `text`; see
    `modeling_cotpd.data.entities.EntityReader`.

    Example:

    ```python
    >>> predict = EntityPredictor(model, tokenizer)  # doctest: +SKIP
    >>> predict([Post("1", "Maya moved to Harlow", "here")])  # doctest: +SKIP
    [{'id': '1', 'text': 'Maya moved to Harlow', 'entities': [{'start': 0, 'end': 4, 'type': 'PER', ...}, ...], ...}]
    ```
    """

    task = "mner"

    @cached_property
    def reader(self) -> EntityReader:
        """Reads entities from labels."""
        return EntityReader(self.label_names, self.model.config.word_prefixes)

    def _predict(self, posts, tokens, offsets, knowledge, view, uncertainty, on_progress) -> list[dict]:
        windows = [
            part
            for row, post in enumerate(posts)
            if tokens[row]
            for part in self._windows(row, post.text, offsets[row], view)
        ]
        features = []
        for part in windows:
            sequence = [*self.prefix, *tokens[part.row][part.begin : part.end], *self.suffix]
            places = range(len(self.prefix), len(sequence) - len(self.suffix))
            inside = knowledge and knowledge[part.row].within(part.begin, part.end)
            features.append(self._features(sequence, places, inside or None))
        labels = [np.zeros(len(ids), dtype=np.int64) for ids in tokens]
        scores = [np.zeros(len(ids), dtype=np.float32) for ids in tokens]
        for index, read_labels, read_scores in self._run(features, on_progress):
            part = windows[index]
            shift = len(self.prefix) - part.begin
            own, read = slice(part.own_begin, part.own_end), slice(part.own_begin + shift, part.own_end + shift)
            labels[part.row][own] = read_labels[read]
            scores[part.row][own] = read_scores[read]
        results: list[dict[str, Any]] = []
        for row, post in enumerate(posts):
            entities = self.reader(post.text, offsets[row], labels[row], scores[row])
            results.append({"id": post.id, "text": post.text, "entities": entities})
            if uncertainty:
                results[row]["uncertainty"] = round(float((1 - scores[row]).sum()), 6)
        return results

    def _windows(self, row: int, text: str, offsets: list[tuple[int, int]], view: str) -> list[Window]:
        room = self._window_length(len(offsets), view)
        if len(offsets) <= room:
            return [Window(row, 0, len(offsets), 0, len(offsets))]
        return text_windows(row, begins_word(text, offsets), room)

    def _first_window(
        self, post: Post, tokens: list[int], offsets: list[tuple[int, int]]
    ) -> tuple[int, dict[str, Any], list[int]]:
        count = self._windows(0, post.text, offsets, "prompt")[0].end
        sequence = [*self.prefix, *tokens[:count], *self.suffix]
        return 0, {"input_ids": sequence}, list(range(len(self.prefix), len(self.prefix) + count))


class RelationPredictor(Predictor):
    """The relation between two entities of each post. Of a post longer than the model reads, it reads the window
    around the two entities.

    A result has `id`, `text`, `head`, `tail`, `relation` and `score`. A post whose entities are further apart than the
    model reads has no relation but a `problem` that says so.
    """

    task = "mre"

    def _predict(self, posts, tokens, offsets, knowledge, view, uncertainty, on_progress) -> list[dict]:
        results: list[dict[str, Any]] = []
        features: list[dict[str, Any]] = []
        owners: list[int] = []
        for row, post in enumerate(posts):
            spans = pair_of(post)
            results.append({"id": post.id, "text": post.text, **spans, "relation": None, "score": None})
            head, tail = (tokens_of_span(offsets[row], *span) for span in spans.values())
            try:
                begin, sequence, markers = self._marked(tokens[row], head, tail, view)
            except TooFarApart as error:
                results[row]["problem"] = str(error)
                continue
            places = self._own_places(sequence)
            inside = knowledge and knowledge[row].within(begin, begin + len(places))
            owners.append(row)
            features.append(self._features(sequence, places, inside or None) | {"marker_positions": markers})
        for index, label, score in self._run(features, on_progress):
            results[owners[index]] |= {"relation": self.label_names[int(label)], "score": round(float(score), 6)}
        if uncertainty:
            for result in results:
                result["uncertainty"] = round(1 - (result["score"] or 0.0), 6)
        return results

    def _marked(
        self, tokens: list[int], head: tuple[int, int], tail: tuple[int, int], view: str
    ) -> tuple[int, list[int], list[int]]:
        """The first subword token read around two entities, the sequence, and where its start markers stand.

        Raises:
            TooFarApart: The entities are further apart than the model reads.
        """
        markers = self.builder.markers
        first, last = min(head[0], tail[0]), max(head[1], tail[1])
        room = self._window_length(len(tokens) + len(markers), view) - len(markers)
        room = max(room, min(last - first, self._maximum(view) - len(markers)))
        begin, end = window(len(tokens), first, last, room)
        marked, places = insert_markers(
            tokens[begin:end], (head[0] - begin, head[1] - begin), (tail[0] - begin, tail[1] - begin), markers
        )
        return begin, [*self.prefix, *marked, *self.suffix], [place + len(self.prefix) for place in places]

    def _first_window(
        self, post: Post, tokens: list[int], offsets: list[tuple[int, int]]
    ) -> tuple[int, dict[str, Any], list[int]]:
        head, tail = (tokens_of_span(offsets, *span) for span in pair_of(post).values())
        begin, sequence, markers = self._marked(tokens, head, tail, "prompt")
        return begin, {"input_ids": sequence, "marker_positions": markers}, self._own_places(sequence)

    def _own_places(self, sequence: list[int]) -> list[int]:
        """Where the text's own subword tokens stand in a sequence with special tokens and markers."""
        places = [place for place, token in enumerate(sequence) if token not in self.builder.markers]
        return places[len(self.prefix) : len(places) - len(self.suffix)]


def pair_of(post: Post) -> dict[str, tuple[int, int]]:
    """The characters of `head` and `tail` of a post.

    Raises:
        SettingError: One is missing, or is not a span of the text; see `pipeline_cotpd.span_of`.
    """
    spans = {}
    for side in PAIR:
        value = getattr(post, side)
        if value is None:
            message = f"A relation needs two entities; {side} is missing."
            raise SettingError(message, place=post.place, fix=f"Give {side}=(0, 4).")
        try:
            spans[side] = span_of(value, post.text, side)
        except ValueError as error:
            raise SettingError(str(error), place=post.place) from None
    return spans


def attention_over_words(text: str, attention: np.ndarray, offsets: Sequence[tuple[int, int]]) -> WordAttention | None:
    """Add attention over subword tokens up to words.

    Args:
        text (`str`): The post.
        attention (`np.ndarray` of shape `(N, n)`): Attention over the text's subword tokens, without special tokens.
        offsets (`Sequence[tuple[int, int]]`): Characters of each of the n tokens.

    Returns:
        `None` for a text that is white space only.

    Example:
        >>> import numpy as np
        >>> attention_over_words("Maya sings", np.array([[0.5, 0.25, 0.125]]), [(0, 4), (5, 9), (9, 10)]).shares
        [[0.5, 0.375]]
    """
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    if not spans:
        return None
    ends = [end for _, end in spans]
    # Some tokenizers count the space before a word to its first token: the word is the first that ends behind it
    words = [min(bisect_right(ends, start), len(ends) - 1) for start, _ in offsets]
    shares = np.zeros((len(attention), len(spans)))
    for place, word in enumerate(words):
        shares[:, word] += attention[:, place]
    return WordAttention(spans, shares.round(6).tolist())

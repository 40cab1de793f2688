"""From records to model features: word pieces, first-piece labels, entity markers, and the knowledge view [x; I; c].

A post's tokens are joined by single spaces and tokenized as one string, and pieces are matched to words by character
offsets. So a model sees in training exactly what it sees when a user passes the same post as a plain string, whatever
the tokenizer does at word boundaries.
"""

import logging
from dataclasses import dataclass

from datasets import Dataset
from datasets.fingerprint import Hasher
from transformers import PreTrainedTokenizerBase

from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, task_of
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.markers_cotpd import insert_markers, marker_ids, pieces_of_span, special_affixes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ViewSettings:
    """What the views contain.

    Args:
        knowledge_columns (`tuple[str, ...]`, *optional*, defaults to caption and the three chain-of-thought columns):
            The columns that the knowledge view appends to the text, in this order. Empty: no knowledge view.
        max_length (`int`, *optional*, defaults to 512): The most pieces of a knowledge view (Section 3.3).
        max_text_length (`int`, *optional*): The most pieces of a text, special tokens and markers included; the
            model's `max_text_length`. `None`: no limit but `max_length`.

    Raises:
        SettingError: An unknown column, or `max_length` below 8.
    """

    knowledge_columns: tuple[str, ...] = KNOWLEDGE_COLUMNS
    max_length: int = 512
    max_text_length: int | None = None

    def __post_init__(self):
        unknown = [name for name in self.knowledge_columns if name not in KNOWLEDGE_COLUMNS]
        if unknown:
            raise SettingError(
                f"knowledge_columns names the unknown column {unknown[0]!r}.",
                fix=f"Choose from {', '.join(KNOWLEDGE_COLUMNS)}.",
            )
        if self.max_length < 8:
            raise SettingError(f"max_length must be at least 8, got {self.max_length}.")


def share_budget(wanted: list[int], budget: int) -> list[int]:
    """Share a budget of pieces over columns: short columns stay whole, long ones are cut to the same length.

    Every column is offered an equal share; what a short column leaves is offered to the others again. Left-over single
    pieces go to the earlier columns.

    Example:
        >>> share_budget([10, 100, 100], 120)
        [10, 55, 55]
    """
    given = [0] * len(wanted)
    open_columns = [i for i in range(len(wanted)) if wanted[i] > 0]
    budget = max(0, budget)
    while open_columns and budget:
        share, rest = divmod(budget, len(open_columns))
        short = [i for i in open_columns if wanted[i] <= share]
        if not short:
            for order, i in enumerate(open_columns):
                given[i] = share + (order < rest)
            break
        for i in short:
            given[i] = wanted[i]
            budget -= wanted[i]
        open_columns = [i for i in open_columns if i not in short]
    return given


class ViewBuilder:
    """Turns records into features.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): A fast tokenizer; for relation extraction with the entity markers added.
        task (`str`): `"mner"` or `"mre"`.
        settings (`ViewSettings`): What the views contain.

    Raises:
        SettingError: The tokenizer is not a fast one: slow tokenizers know no character offsets.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, task: str, settings: ViewSettings):
        if not tokenizer.is_fast:
            raise SettingError(
                f"{type(tokenizer).__name__} is a slow tokenizer and knows no character offsets.",
                fix="Use an encoder that has a fast one.",
            )
        self.tokenizer, self.task, self.settings = tokenizer, task, settings
        self.prefix, self.suffix = special_affixes(tokenizer)
        self.markers = marker_ids(tokenizer) if task == "mre" else []

    def __call__(self, batch: dict[str, list]) -> dict[str, list]:
        """Features of a batch of records, column by column."""
        texts = [" ".join(tokens) for tokens in batch["tokens"]]
        encoded = self._pieces(texts, offsets=True)
        knowledge = {name: self._pieces(batch[name])["input_ids"] for name in self.settings.knowledge_columns}
        rows = []
        for index, tokens in enumerate(batch["tokens"]):
            record = {name: column[index] for name, column in batch.items()}
            pieces, offsets = encoded["input_ids"][index], encoded["offset_mapping"][index]
            row = self._text_features(record, word_spans(tokens), pieces, offsets)
            self._check_length(row, record["id"])
            if knowledge:
                columns = [knowledge[name][index] for name in knowledge]
                row["knowledge_input_ids"], row["cut_pieces"] = self._knowledge_view(row["input_ids"], columns)
            # what train_sampling_strategy: group_by_length sorts by
            row["length"] = len(row.get("knowledge_input_ids", row["input_ids"]))
            rows.append(row)
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _pieces(self, texts: list[str], offsets: bool = False) -> dict[str, list]:
        # split_special_tokens: a post that contains the characters "[SEP]" must not gain a real separator
        return self.tokenizer(
            texts,
            add_special_tokens=False,
            return_offsets_mapping=offsets,
            return_attention_mask=False,
            return_token_type_ids=False,
            split_special_tokens=True,
            verbose=False,
        )

    def _text_features(
        self, record: dict, spans: list[tuple[int, int]], pieces: list[int], offsets: list[tuple[int, int]]
    ) -> dict:
        shift = len(self.prefix)
        if self.task == "mre":
            head, tail = (
                pieces_of_span(offsets, spans[record[side]["start"]][0], spans[record[side]["end"] - 1][1])
                for side in ("head", "tail")
            )
            marked, positions = insert_markers(pieces, head, tail, self.markers)
            relation = record["relation"]
            return {
                "input_ids": [*self.prefix, *marked, *self.suffix],
                "marker_positions": [position + shift for position in positions],
                "labels": -100 if relation is None else relation,
            }
        input_ids = [*self.prefix, *pieces, *self.suffix]
        first_pieces = [-1 if place < 0 else place + shift for place in first_piece_of_words(offsets, spans)]
        labels = [-100] * len(input_ids)
        for place, tag in zip(first_pieces, record["ner_tags"] or (), strict=False):
            if place >= 0:
                labels[place] = tag
        return {"input_ids": input_ids, "first_pieces": first_pieces, "labels": labels}

    def _check_length(self, row: dict, row_id: str) -> None:
        limit = min(self.settings.max_length, self.settings.max_text_length or self.settings.max_length)
        if len(row["input_ids"]) > limit:
            raise DataError(
                f"The text has {len(row['input_ids'])} pieces; the model reads at most {limit} beside its prompt.",
                place=f"row {row_id!r}",
                fix="Split or shorten the post, raise max_length, or choose an encoder with more positions.",
            )

    def _knowledge_view(self, text: list[int], columns: list[list[int]]) -> tuple[list[int], list[int]]:
        """[x; I; c]: the whole text, then every column with the closing special tokens behind it."""
        separators = len(self.suffix) * sum(1 for pieces in columns if pieces)
        given = share_budget([len(pieces) for pieces in columns], self.settings.max_length - len(text) - separators)
        view = list(text)
        for pieces, count in zip(columns, given, strict=True):
            if count:
                view += [*pieces[:count], *self.suffix]
        return view, [len(pieces) - count for pieces, count in zip(columns, given, strict=True)]


def word_spans(tokens: list[str]) -> list[tuple[int, int]]:
    """Character spans of the tokens in the text that they give when joined by single spaces."""
    spans, start = [], 0
    for token in tokens:
        spans.append((start, start + len(token)))
        start += len(token) + 1
    return spans


def first_piece_of_words(offsets: list[tuple[int, int]], spans: list[tuple[int, int]]) -> list[int]:
    """The first piece of every word, -1 for a word of which the tokenizer keeps nothing.

    Some tokenizers count the space before a word to its first piece, so a piece belongs to the first word that its
    characters touch.
    """
    first = [-1] * len(spans)
    word = 0
    for place, (start, end) in enumerate(offsets):
        while word < len(spans) and spans[word][1] <= start:
            word += 1
        if word < len(spans) and end > spans[word][0] and first[word] < 0:
            first[word] = place
    return first


def build_features(
    split: Dataset, tokenizer: PreTrainedTokenizerBase, settings: ViewSettings, num_proc: int | None = None
) -> Dataset:
    """Features of a whole split, computed once and cached on disk; what was cut is counted and logged.

    Args:
        split (`Dataset`): Records (see `modeling_cotpd.data.schema`).
        tokenizer (`PreTrainedTokenizerBase`): A fast tokenizer, with entity markers for relation extraction.
        settings (`ViewSettings`): What the views contain.
        num_proc (`int`, *optional*): Processes.

    Returns:
        Columns `input_ids`, `labels`, `first_pieces` (MNER) or `marker_positions` (MRE), `knowledge_input_ids` when
        there are knowledge columns, and `length`, the number of pieces of the longest view.

    Raises:
        DataError: A text is longer than the model can read; the message names the row.
    """
    if not len(split):
        raise DataError("The split has no rows.", fix="Check the source file.")
    builder = ViewBuilder(tokenizer, task_of(split.features), settings)
    # the tokenizer object hashes differently after use; what it does is in its serialized form
    state = (split._fingerprint, tokenizer.backend_tokenizer.to_str(), repr(settings))
    features = split.map(
        builder,
        batched=True,
        remove_columns=split.column_names,
        num_proc=num_proc,
        new_fingerprint=Hasher.hash(state),
        desc="Word pieces",
    )
    if settings.knowledge_columns:
        cut = [sum(column) for column in zip(*features["cut_pieces"], strict=True)]
        rows = sum(1 for row in features["cut_pieces"] if any(row))
        if rows:
            counts = ", ".join(f"{name} {n}" for name, n in zip(settings.knowledge_columns, cut, strict=True))
            logger.warning(
                "%d of %d knowledge views were cut to %d pieces; pieces cut: %s. Summarize long knowledge with "
                "`cotpd knowledge summarize` to keep it.", rows, len(features), settings.max_length, counts,
            )  # fmt: skip
        features = features.remove_columns("cut_pieces")
    return features

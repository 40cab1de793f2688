"""From records to model features: subword tokens, labels, entity markers, and the knowledge view [x; I; c].

A post's tokens are joined by single spaces and tokenized as one string, and subword tokens are matched to words by
character offsets. Training and inference share this module, so a model sees the same tokens in both.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from datasets import Dataset
from datasets.fingerprint import Hasher
from transformers import PreTrainedTokenizerBase

from modeling_cotpd.data.glosses import find_glosses, glosses_of
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, PAIR, label_names_of, task_of
from modeling_cotpd.data.words import encode, token_labels, word_spans, words_of_tokens
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.markers_cotpd import insert_markers, marker_ids, special_affixes, tokens_of_span

logger = logging.getLogger(__name__)

PLACEMENTS = ("appended", "inline")
MAX_GLOSS_TOKENS = 32
"""The most subword tokens of one gloss in a text. The published ones have about four."""


def check_columns(names: Sequence[str]) -> None:
    """Raise a `SettingError` for a name that is no knowledge column, or comes twice."""
    if unknown := [name for name in names if name not in KNOWLEDGE_COLUMNS]:
        fix = f"Choose from {', '.join(KNOWLEDGE_COLUMNS)}, or 'none' (in Python an empty tuple)."
        raise SettingError(f"knowledge_columns names the unknown column {unknown[0]!r}.", fix=fix)
    if len(set(names)) < len(names):
        raise SettingError(f"knowledge_columns names a column twice: {', '.join(names)}.", fix="Name each once.")


@dataclass(frozen=True)
class ViewSettings:
    """What the views contain.

    Args:
        knowledge_columns (`tuple[str, ...]`, *optional*, defaults to caption and the three chain-of-thought columns):
            The columns that the knowledge view reads, in this order. Empty: no knowledge view.
        max_length (`int`, *optional*, defaults to 512): The most subword tokens of a knowledge view (Section 3.3).
        max_text_length (`int`, *optional*): The most subword tokens of a text, special tokens and markers included;
            the model's `max_text_length`. `None`: no limit but `max_length`.
        placement (`str`, *optional*, defaults to `"appended"`): Where knowledge stands. `"appended"`: every column
            behind the text, as in the paper. `"inline"`: of the column `cot_noun`, each gloss behind its mention in
            the text (K-BERT, arXiv 1909.07606, and typed entity markers, arXiv 2102.01373, are precedents); the other
            columns behind the text.

    Raises:
        SettingError: An unknown column or placement, `inline` without `cot_noun`, or `max_length` below 8.
    """

    knowledge_columns: tuple[str, ...] = KNOWLEDGE_COLUMNS
    max_length: int = 512
    max_text_length: int | None = None
    placement: str = "appended"

    def __post_init__(self):
        check_columns(self.knowledge_columns)
        if self.max_length < 8:
            raise SettingError(f"max_length must be at least 8, got {self.max_length}.")
        if self.placement not in PLACEMENTS:
            raise SettingError(f"knowledge_placement must be one of {', '.join(PLACEMENTS)}, got {self.placement!r}.")
        if self.placement == "inline" and self.knowledge_columns and "cot_noun" not in self.knowledge_columns:
            raise SettingError(
                "knowledge_placement=inline reads the glosses of cot_noun, which knowledge_columns lacks.",
                fix="Add cot_noun to knowledge_columns, or use knowledge_placement=appended.",
            )

    @property
    def sources(self) -> tuple[str, ...]:
        """What the knowledge view adds to the text: the glosses, when they stand within it, and columns behind it."""
        return (("glosses",) if self.placement == "inline" else ()) + self.appended_columns

    @property
    def appended_columns(self) -> tuple[str, ...]:
        """The columns that stand behind the text."""
        return tuple(name for name in self.knowledge_columns if self.placement == "appended" or name != "cot_noun")


@dataclass(frozen=True)
class Insertion:
    """A gloss of the text's subword tokens [first, last), as subword tokens of its own."""

    first: int
    last: int
    tokens: list[int]


@dataclass(frozen=True)
class Knowledge:
    """What the knowledge view adds to one text: glosses at their mentions, and columns behind the text."""

    insertions: list[Insertion]
    columns: list[list[int]]

    def within(self, begin: int, end: int) -> "Knowledge":
        """The same for the text's subword tokens [begin, end), counted from `begin`."""
        inside = [item for item in self.insertions if item.first >= begin and item.last <= end]
        return Knowledge([Insertion(i.first - begin, i.last - begin, i.tokens) for i in inside], self.columns)


@dataclass(frozen=True)
class KnowledgeView:
    """A knowledge view: subword tokens, where the text's tokens stand in it, and how many tokens were cut of what each
    of `ViewSettings.sources` adds."""

    input_ids: list[int]
    text_positions: list[int]
    cut: list[int]


def share_budget(wanted: list[int], budget: int) -> list[int]:
    """Share a budget of subword tokens over columns: short columns stay whole, long ones are cut to the same length.

    Left-over single tokens go to the earlier columns.

    Example:
        >>> share_budget([10, 100, 100], 120)
        [10, 55, 55]
    """
    given = [0] * len(wanted)
    waiting = [column for column, length in enumerate(wanted) if length]
    budget = max(0, budget)
    while waiting and budget:
        share, rest = divmod(budget, len(waiting))
        short = [column for column in waiting if wanted[column] <= share]
        for order, column in enumerate(short or waiting):
            given[column] = wanted[column] if short else share + (order < rest)
            budget -= given[column]
        waiting = [column for column in waiting if short and column not in short]
    return given


def require_fast(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise a `SettingError` for a slow tokenizer, which knows no character offsets."""
    if not tokenizer.is_fast:
        raise SettingError(
            f"{type(tokenizer).__name__} is a slow tokenizer and knows no character offsets.",
            fix="Use an encoder that has a fast one.",
        )


class ViewBuilder:
    """Turns records into features, and lays out knowledge views.

    Args:
        tokenizer (`PreTrainedTokenizerBase`): A fast tokenizer; for relation extraction with the entity markers added.
        task (`str`): `"mner"` or `"mre"`.
        settings (`ViewSettings`): What the views contain.
        label_names (`Sequence[str]`, *optional*): Tag names in id order, for the labels of MNER features.

    Raises:
        SettingError: The tokenizer is not a fast one: slow tokenizers know no character offsets.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, task: str, settings: ViewSettings, label_names: Sequence[str] = ()
    ):
        require_fast(tokenizer)
        self.tokenizer, self.task, self.settings, self.label_names = tokenizer, task, settings, label_names
        self.prefix, self.suffix = special_affixes(tokenizer)
        self.markers = marker_ids(tokenizer) if task == "mre" else []
        if settings.placement == "inline":
            self.brackets = self.tokenize(["[", "]", "(", ")"])[0]

    def __call__(self, batch: dict[str, list]) -> dict[str, list]:
        """Features of a batch of records, column by column."""
        texts = [" ".join(tokens) for tokens in batch["tokens"]]
        encoded, all_offsets = self.tokenize(texts)
        records = [{name: column[index] for name, column in batch.items()} for index in range(len(texts))]
        knowledge = self.knowledge(texts, all_offsets, records) if self.settings.knowledge_columns else None
        rows = []
        for index, record in enumerate(records):
            spans, offsets = word_spans(record["tokens"]), all_offsets[index]
            row, places = self._text_features(record, spans, encoded[index], offsets)
            self._check_length(row, record["id"])
            if knowledge:
                view = self.lay_out(row["input_ids"], places, knowledge[index])
                row["knowledge_input_ids"], row["cut_tokens"] = view.input_ids, view.cut
                if self.settings.placement == "inline":
                    row["knowledge_text_positions"] = view.text_positions
            # what train_sampling_strategy: group_by_length sorts by
            row["length"] = len(row.get("knowledge_input_ids", row["input_ids"]))
            rows.append(row)
        return {name: [row[name] for row in rows] for name in rows[0]}

    def tokenize(self, texts: Sequence[str]) -> tuple[list[list[int]], list[list[tuple[int, int]]]]:
        """Subword tokens of texts without special tokens, and the characters of each; see `words.encode`."""
        return encode(self.tokenizer, texts)

    def knowledge(
        self, texts: Sequence[str], offsets: Sequence[Sequence[tuple[int, int]]], records: Sequence[Mapping]
    ) -> list[Knowledge]:
        """What each record's knowledge adds to its text, whose subword tokens have these offsets.

        A knowledge column that a record lacks is unknown. The inline placement reads `glosses`, or those that
        `cot_noun` lists.
        """
        names = self.settings.appended_columns
        columns = [self.tokenize([record.get(name) or "" for record in records])[0] for name in names]
        insertions: list[list[Insertion]] = [[] for _ in records]
        if self.settings.placement == "inline":
            found = [find_glosses(text, glosses_of(record)) for text, record in zip(texts, records, strict=True)]
            tokens = iter(self.tokenize([gloss for row in found for _, _, gloss in row])[0])
            for place, row in enumerate(found):
                for start, end, _ in row:
                    first, last = tokens_of_span(offsets[place], start, end)
                    gloss = next(tokens)
                    if last > first and gloss:
                        insertions[place].append(Insertion(first, last, gloss[:MAX_GLOSS_TOKENS]))
        return [Knowledge(row, [column[index] for column in columns]) for index, row in enumerate(insertions)]

    def lay_out(self, text: Sequence[int], places: Sequence[int], knowledge: Knowledge) -> KnowledgeView:
        """Build a knowledge view: the whole text, glosses at their mentions, then columns, within `max_length`.

        A mention with its gloss reads `[ mention ] ( gloss )`. Room goes to glosses first: when they do not all fit,
        the last ones are left out, and the longest ones are cut to the same length. Columns share what is left; every
        column ends with the closing special tokens. `text` has special tokens and markers; its own subword tokens
        stand at `places`.
        """
        view, positions, cut = list(text), list(range(len(text))), []
        if self.settings.placement == "inline":
            view, positions, glosses_cut = self._with_glosses(text, places, knowledge.insertions)
            cut.append(glosses_cut)
        given = share_budget(
            [len(column) for column in knowledge.columns],
            self.settings.max_length - len(view) - len(self.suffix) * sum(map(bool, knowledge.columns)),
        )
        for column, count in zip(knowledge.columns, given, strict=True):
            if count:
                view += [*column[:count], *self.suffix]
            cut.append(len(column) - count)
        return KnowledgeView(view, positions, cut)

    def _with_glosses(
        self, text: Sequence[int], places: Sequence[int], insertions: Sequence[Insertion]
    ) -> tuple[list[int], list[int], int]:
        """The text with glosses in it, where its tokens stand then, and how many tokens of glosses were cut."""
        opening, closing, left, right = self.brackets
        frame = sum(map(len, self.brackets))
        room = max(0, self.settings.max_length - len(text))
        kept = insertions[: room // (frame + 1)]
        given = share_budget([len(item.tokens) for item in kept], room - frame * len(kept))
        before: dict[int, list[int]] = {}
        after: dict[int, list[int]] = {}
        for item, count in zip(kept, given, strict=True):
            before[places[item.first]] = opening
            after[places[item.last - 1]] = [*closing, *left, *item.tokens[:count], *right]
        view: list[int] = []
        positions = []
        for place, token in enumerate(text):
            view += before.get(place, ())
            positions.append(len(view))
            view += [token, *after.get(place, ())]
        return view, positions, sum(len(item.tokens) for item in insertions) - sum(given)

    def _text_features(
        self, record: dict, spans: list[tuple[int, int]], tokens: list[int], offsets: list[tuple[int, int]]
    ) -> tuple[dict, list[int]]:
        """Features of the text alone, and where its own subword tokens stand in `input_ids`."""
        shift = len(self.prefix)
        if self.task == "mre":
            head, tail = (
                tokens_of_span(offsets, spans[record[side]["start"]][0], spans[record[side]["end"] - 1][1])
                for side in PAIR
            )
            marked, positions = insert_markers(tokens, head, tail, self.markers)
            relation = record["relation"]
            row = {
                "input_ids": [*self.prefix, *marked, *self.suffix],
                "marker_positions": [position + shift for position in positions],
                "labels": -100 if relation is None else relation,
            }
            return row, [shift + place for place, token in enumerate(marked) if token not in self.markers]
        aligned = [*((0, 0) for _ in self.prefix), *offsets, *((0, 0) for _ in self.suffix)]
        words = words_of_tokens(aligned, spans)
        tags = record["ner_tags"]
        row = {
            "input_ids": [*self.prefix, *tokens, *self.suffix],
            "labels": [-100] * len(words) if tags is None else token_labels(words, tags, self.label_names),
            "offsets": [list(span) for span in aligned],
            "distillation_mask": [int(word >= 0) for word in words],
        }
        return row, list(range(shift, shift + len(tokens)))

    def _check_length(self, row: dict, row_id: str) -> None:
        limit = min(self.settings.max_length, self.settings.max_text_length or self.settings.max_length)
        if len(row["input_ids"]) > limit:
            raise DataError(
                f"The text has {len(row['input_ids'])} subword tokens; the model reads at most {limit} beside its "
                "prompt.",
                place=f"row {row_id!r}",
                fix="Split or shorten the post, raise max_length, or choose an encoder with more positions.",
            )


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
        Columns `input_ids`, `labels`; for MNER `offsets` (characters of every subword token, [0, 0] for special
        tokens) and `distillation_mask` (1 for tokens of words); for MRE `marker_positions`; `knowledge_input_ids`
        when there are knowledge columns, with `knowledge_text_positions` for the inline placement; and `length`, the
        number of subword tokens of the longest view.

    Raises:
        DataError: A text is longer than the model can read; the message names the row.
    """
    if not len(split):
        raise DataError("The split has no rows.", fix="Check the source file.")
    builder = ViewBuilder(tokenizer, task_of(split.features), settings, label_names_of(split.features))
    # the tokenizer object hashes differently after use; what it does is in its serialized form
    state = (split._fingerprint, tokenizer.backend_tokenizer.to_str(), repr(settings))
    features = split.map(
        builder,
        batched=True,
        remove_columns=split.column_names,
        num_proc=num_proc,
        new_fingerprint=Hasher.hash(state),
        desc="Subword tokens",
    )
    if settings.knowledge_columns:
        cut = [sum(column) for column in zip(*features["cut_tokens"], strict=True)]
        rows = sum(1 for row in features["cut_tokens"] if any(row))
        if rows:
            counts = ", ".join(f"{name} {count}" for name, count in zip(settings.sources, cut, strict=True))
            logger.warning(
                "%d of %d knowledge views were cut to %d subword tokens; tokens cut: %s. Summarize long knowledge "
                "with `cotpd knowledge summarize` to keep it.", rows, len(features), settings.max_length, counts,
            )  # fmt: skip
        features = features.remove_columns("cut_tokens")
    return features

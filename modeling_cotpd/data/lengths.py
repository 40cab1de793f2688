"""How many subword tokens texts have, and what gold a length limit would lose."""

import os
from collections.abc import Sequence

from datasets import Dataset
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from modeling_cotpd.data.bio import entities
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, label_names_of, task_of
from modeling_cotpd.data.words import word_spans, words_of_tokens
from modeling_cotpd.errors import SettingError
from modeling_cotpd.markers_cotpd import special_affixes

MARKER_TOKENS = 4
"""The entity markers of relation extraction: a begin and an end for head and for tail."""


def fast_tokenizer(path: str | os.PathLike) -> PreTrainedTokenizerBase:
    """A fast tokenizer from a folder or a name on the Hub.

    Raises:
        SettingError: There is none.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise SettingError(
            f"No tokenizer could be loaded: {str(error).splitlines()[0]}",
            place=str(path),
            fix="Name an encoder's folder.",
        ) from error
    if not tokenizer.is_fast:
        raise SettingError("The tokenizer is a slow one, without character offsets.", place=str(path))
    return tokenizer


def count_subwords(split: Dataset, tokenizer: PreTrainedTokenizerBase, max_length: int) -> dict:
    """Subword tokens per column, and what does not fit into `max_length` of them.

    Training refuses a post whose text alone is too long. So what is counted as lost is what truncation would lose.
    Captions and knowledge share what the text leaves.

    Args:
        split (`Dataset`): Records.
        tokenizer (`PreTrainedTokenizerBase`): A fast tokenizer.
        max_length (`int`): Longest view in subword tokens, special tokens and markers included.

    Returns:
        `dict`: `subwords` (per column the lengths of all its texts that are not empty), `texts_too_long` (rows),
        `gold_lost` (MNER: gold entities, MRE: labelled pairs, of which a part stands beyond the limit or has no
        token), `views_truncated` (rows whose [x; I; c] exceeds the limit) and `words_without_subwords` (words of which
        the tokenizer keeps nothing).
    """
    mre = task_of(split.features) == "mre"
    names = label_names_of(split.features)
    prefix, suffix = special_affixes(tokenizer)
    own = len(prefix) + len(suffix) + (MARKER_TOKENS if mre else 0)
    texts = _encode(tokenizer, [" ".join(tokens) for tokens in split["tokens"]], offsets=True)
    columns = {name: [len(ids) for ids in _encode(tokenizer, split[name])["input_ids"]] for name in KNOWLEDGE_COLUMNS}
    lengths = [len(ids) for ids in texts["input_ids"]]
    report = {"texts_too_long": 0, "gold_lost": 0, "views_truncated": 0, "words_without_subwords": 0}
    for index, row in enumerate(split.remove_columns(list(KNOWLEDGE_COLUMNS))):
        words = words_of_tokens(texts["offset_mapping"][index], word_spans(row["tokens"]))
        first = {word: place for place, word in reversed(list(enumerate(words)))}
        fits = [first.get(word, max_length) < max_length - own for word in range(len(row["tokens"]))]
        report["words_without_subwords"] += len(row["tokens"]) - len(first.keys() - {-1})
        report["texts_too_long"] += lengths[index] + own > max_length
        report["gold_lost"] += sum(not all(fits[start:end]) for start, end in _gold(row, names, mre))
        extra = [columns[name][index] for name in KNOWLEDGE_COLUMNS if columns[name][index]]
        report["views_truncated"] += lengths[index] + own + sum(extra) + len(suffix) * len(extra) > max_length
    given = {name: [length for length in column if length] for name, column in columns.items()}
    return {"subwords": {"tokens": lengths, **given}, **report}


def _gold(row: dict, names: Sequence[str], mre: bool) -> list[tuple[int, int]]:
    """Word spans of a row's gold: its entities, or one span per labelled pair that covers both of its ends."""
    if mre:
        ends = [row[side][end] for side in ("head", "tail") for end in ("start", "end")]
        return [] if row["relation"] is None else [(min(ends), max(ends))]
    if row["ner_tags"] is None:
        return []
    return [(start, end) for _, start, end in entities([names[tag] for tag in row["ner_tags"]])]


def _encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], offsets: bool = False) -> dict:
    return tokenizer(
        list(texts),
        add_special_tokens=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=offsets,
        split_special_tokens=True,
        verbose=False,
    )

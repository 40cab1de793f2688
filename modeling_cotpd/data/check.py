"""Faults and facts of a prepared folder, to read before training on it."""

import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from datasets import Dataset, DatasetDict

from modeling_cotpd.data.bio import entities, orphans
from modeling_cotpd.data.duplicates import Pair, find_pairs
from modeling_cotpd.data.glosses import find_glosses
from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.data.refusals import refusal_kind
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, PAIR, gold_hash, label_names_of, labels_of, task_of
from modeling_cotpd.data.sources import KNOWN_COPIES
from modeling_cotpd.errors import SettingError, one_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

EXAMPLES = 3
"""How many ids a finding names."""


def check(folder: str | os.PathLike, tokenizer: str | os.PathLike | None = None, max_length: int = 512) -> dict:
    """Everything that `cotpd check` reports, as plain values that JSON can hold.

    Args:
        folder (`str` or `os.PathLike`): A prepared folder.
        tokenizer (`str` or `os.PathLike`, *optional*): Folder or name of a fast tokenizer. Without it, lengths are in
            words and truncation is not counted.
        max_length (`int`, defaults to 512): Longest view in subword tokens (Section 3.3 of the paper).

    Returns:
        `dict`: What `dataset.json` says of the folder, `other_type`, `duplicates`, and per split the facts below.

    Raises:
        DataError: The folder is not a prepared one.
        SettingError: The tokenizer cannot be loaded, or `max_length` is below 8.
    """
    if max_length < 8:
        raise SettingError(f"max_length must be at least 8, but is {max_length}.", fix="The paper uses 512.")
    splits, info = read_prepared(folder)
    mner = info.task == "mner"
    loaded = None if tokenizer is None else _fast_tokenizer(tokenizer)
    report = {key: getattr(info, key) for key in ("name", "task", "label_names", "captioner", "knowledge", "sources")}
    report |= {"other_type": other_type(info.label_names) if mner else "", "splits": {}}
    report["duplicates"] = count_duplicates(splits, info.task)
    for name, split in splits.items():
        found_hash = gold_hash(split)
        facts: dict = {
            "rows": len(split),
            "gold_hash": found_hash,
            "copy": KNOWN_COPIES.get(found_hash, ""),
            "hash_fits": found_hash == info.splits[name]["gold_hash"],
            "unlabelled": sum(label is None for label in labels_of(split)),
            "labels": (count_tags if mner else count_relations)(split, info.label_names),
            "columns": count_words(split),
            "glosses": count_glosses(split),
            "refusals": find_refusals(split),
            "contradictions": find_contradictions(split),
        }
        if loaded is not None:
            counted = count_subwords(split, loaded, max_length)
            for column, lengths in counted.pop("subwords").items():
                facts["columns"][column]["subwords"] = _lengths(lengths)
            facts["truncation"] = {"max_length": max_length, **counted}
        report["splits"][name] = facts
    return report


def count_words(split: Dataset) -> dict[str, dict]:
    """Per text column how many rows have a text (`filled`, and its `share`), and the `words` of these texts."""
    words = {"tokens": list(map(len, split["tokens"]))}
    words |= {column: [len(text.split()) for text in split[column] if text] for column in KNOWLEDGE_COLUMNS}
    rows = max(len(split), 1)
    return {
        column: {"filled": len(counts), "share": len(counts) / rows, "words": _lengths(counts)}
        for column, counts in words.items()
    }


def _lengths(values: Sequence[int]) -> dict:
    """Median, 95th percentile and maximum."""
    ordered = sorted(values) or [0]
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return {"median": statistics.median(ordered), "p95": p95, "max": ordered[-1]}


def other_type(label_names: Sequence[str]) -> str:
    """What the residual entity type is called, with the renaming that makes it fit the other data sets."""
    types = {name[2:] for name in label_names if name != "O"}
    if {"OTHER", "MISC"} <= types:
        return "Both OTHER and MISC occur; merge them with: cotpd prepare ... --rename-type OTHER=MISC"
    for name, other, sets in (("OTHER", "MISC", "Twitter-2017"), ("MISC", "OTHER", "Twitter-2015")):
        if name in types:
            return (
                f"The fourth type is {name}; in {sets} it is {other}. "
                f"To train on one and test on the other: cotpd prepare ... --rename-type {name}={other}"
            )
    return ""


def count_tags(split: Dataset, label_names: Sequence[str]) -> dict:
    """Entities per type read strictly and leniently, and `I-` tags that continue nothing."""
    strict: Counter[str] = Counter()
    lenient: Counter[str] = Counter()
    found: dict[str, int] = {}
    for name, ids in zip(split["id"], split["ner_tags"], strict=True):
        tags = [label_names[tag] for tag in ids or ()]
        strict.update(kind for kind, *_ in entities(tags))
        lenient.update(kind for kind, *_ in entities(tags, lenient=True))
        if orphan_tags := len(orphans(tags)):
            found[name] = orphan_tags
    return {
        "strict_entities": strict.total(),
        "lenient_entities": lenient.total(),
        "strict_by_type": dict(sorted(strict.items())),
        "lenient_by_type": dict(sorted(lenient.items())),
        "orphan_tags": sum(found.values()),
        "orphan_rows": len(found),
        "examples": list(found)[:EXAMPLES],
    }


def count_relations(split: Dataset, label_names: Sequence[str]) -> dict:
    """Rows per relation, and the share of `None` in the labelled rows."""
    counts = Counter(label_names[label] for label in split["relation"] if label is not None)
    return {
        "by_relation": dict(counts.most_common()),
        "none_share": counts["None"] / counts.total() if counts else 0.0,
        "unseen": [name for name in label_names if not counts[name]],
    }


def find_refusals(split: Dataset) -> dict[str, dict]:
    """Per text column the refusals and notices of unavailable pictures: how many, and the first ids."""
    found = {}
    for column in KNOWLEDGE_COLUMNS:
        ids = defaultdict(list)
        for name, text in zip(split["id"], split[column], strict=True):
            if kind := refusal_kind(text):
                ids[kind].append(name)
        if ids:
            found[column] = {kind: {"rows": len(names), "examples": names[:EXAMPLES]} for kind, names in ids.items()}
    return found


def count_glosses(split: Dataset) -> dict:
    """Rows with glosses, their glosses, and those whose mention was found in the text; see `glosses.find_glosses`."""
    rows, given, aligned = 0, 0, 0
    for tokens, glosses in zip(split["tokens"], split["glosses"], strict=True):
        text = " ".join(tokens)
        rows += bool(glosses)
        given += len(glosses)
        aligned += sum(bool(find_glosses(text, [gloss])) for gloss in glosses)
    return {"rows": rows, "glosses": given, "aligned": aligned}


def find_contradictions(split: Dataset) -> dict:
    """Labelled rows that have the same sentence (and pair) and different gold.

    Returns:
        `dict`: `groups` (different sentences or pairs), `rows` in them, `repeats` (rows beyond the first of each
        group) and `examples` (ids of the first groups).
    """
    groups = defaultdict(list)
    pairs = [name for name in PAIR if name in split.column_names]
    for row, gold in zip(split.select_columns(["id", "tokens", *pairs]), labels_of(split), strict=True):
        if gold is not None:
            spans = tuple(row[side][end] for side in pairs for end in ("start", "end"))
            groups[tuple(row["tokens"]), spans].append((row["id"], tuple(gold) if isinstance(gold, list) else gold))
    clashing = [rows for rows in groups.values() if len({gold for _, gold in rows}) > 1]
    return {
        "groups": len(clashing),
        "rows": sum(map(len, clashing)),
        "repeats": sum(len(rows) - 1 for rows in clashing),
        "examples": [[name for name, _ in rows] for rows in clashing[:EXAMPLES]],
    }


def count_duplicates(splits: DatasetDict, task: str) -> list[dict]:
    """Equal and nearly equal posts per pair of splits and kind.

    In MRE data one post gives a row per pair of entities; rows that share sentence and image count as one post.
    """
    order = [*splits, "exact", "normalised", "near"]
    counted: dict[tuple[str, str, str], list[Pair]] = defaultdict(list)
    for pair in find_pairs(_posts(splits, task)):
        counted[pair.a_split, pair.b_split, pair.kind].append(pair)
    return [
        {
            "splits": [a, b],
            "kind": kind,
            "pairs": len(pairs),
            "examples": [[pair.a_id, pair.b_id] for pair in pairs[:EXAMPLES]],
        }
        for (a, b, kind), pairs in sorted(counted.items(), key=lambda item: [order.index(part) for part in item[0]])
    ]


def _posts(splits: DatasetDict, task: str) -> Iterable[tuple[str, str, list[str]]]:
    for name, split in splits.items():
        seen = set()
        for row in split.select_columns(["id", "tokens", "image"]):
            key = (tuple(row["tokens"]), row["image"])
            if task == "mner" or key not in seen:
                yield name, row["id"], row["tokens"]
            seen.add(key)


def _fast_tokenizer(path: str | os.PathLike) -> "PreTrainedTokenizerBase":
    # they take seconds to import, and most calls have no tokenizer
    from transformers import AutoTokenizer

    from modeling_cotpd.data.views import require_fast

    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        message = f"No tokenizer could be loaded: {one_line(error)}"
        raise SettingError(message, place=str(path), fix="Name an encoder's folder.") from error
    require_fast(tokenizer)
    return tokenizer


def count_subwords(split: Dataset, tokenizer: "PreTrainedTokenizerBase", max_length: int) -> dict:
    """Subword tokens per column, and what does not fit into `max_length` of them, special tokens and markers included.

    Training refuses a post whose text alone is too long. So what is counted as lost is what truncation would lose.
    Captions and knowledge share what the text leaves.

    Returns:
        `dict`: `subwords` (per column the lengths of its texts), `texts_too_long` (rows), `gold_lost` (entities or
        labelled pairs of which a part stands beyond the limit or has no token), `views_truncated` (rows whose
        [x; I; c] exceeds the limit) and `words_without_subwords`.
    """
    from modeling_cotpd.data.words import encode, word_spans, words_of_tokens
    from modeling_cotpd.markers_cotpd import ENTITY_MARKERS, special_affixes

    names = label_names_of(split.features)
    prefix, suffix = special_affixes(tokenizer)
    own = len(prefix) + len(suffix) + (len(ENTITY_MARKERS) if task_of(split.features) == "mre" else 0)
    texts, offsets = encode(tokenizer, [" ".join(tokens) for tokens in split["tokens"]])
    columns = {name: [len(ids) for ids in encode(tokenizer, split[name])[0]] for name in KNOWLEDGE_COLUMNS}
    report = {"texts_too_long": 0, "gold_lost": 0, "views_truncated": 0, "words_without_subwords": 0}
    for index, row in enumerate(split.remove_columns(list(KNOWLEDGE_COLUMNS))):
        length, words = len(texts[index]), words_of_tokens(offsets[index], word_spans(row["tokens"]))
        first = {word: place for place, word in reversed(list(enumerate(words)))}
        fits = [first.get(word, max_length) < max_length - own for word in range(len(row["tokens"]))]
        report["words_without_subwords"] += len(row["tokens"]) - len(first.keys() - {-1})
        report["texts_too_long"] += length + own > max_length
        report["gold_lost"] += sum(not all(fits[start:end]) for start, end in _gold_spans(row, names))
        extra = [columns[name][index] for name in KNOWLEDGE_COLUMNS if columns[name][index]]
        report["views_truncated"] += length + own + sum(extra) + len(suffix) * len(extra) > max_length
    given = {name: [length for length in column if length] for name, column in columns.items()}
    return {"subwords": {"tokens": list(map(len, texts)), **given}, **report}


def _gold_spans(row: dict, names: Sequence[str]) -> list[tuple[int, int]]:
    """Word spans of a row's gold: its entities, or one span per labelled pair that covers both of its ends."""
    if "ner_tags" in row:
        return [(start, end) for _, start, end in entities([names[tag] for tag in row["ner_tags"] or ()])]
    ends = [row[side][end] for side in PAIR for end in ("start", "end")]
    return [] if row["relation"] is None else [(min(ends), max(ends))]

"""Faults and facts of a prepared folder, to read before training on it."""

import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from datasets import Dataset, DatasetDict

from modeling_cotpd.data.bio import entities, orphans
from modeling_cotpd.data.duplicates import Pair, find_pairs
from modeling_cotpd.data.glosses import find_glosses
from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.data.refusals import refusal_kind
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, gold_hash
from modeling_cotpd.data.sources import KNOWN_COPIES
from modeling_cotpd.errors import SettingError

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
        `dict`: `name`, `task`, `label_names`, `captioner`, `knowledge`, `sources`, `other_type` (what the fourth type
        is called and how to map it), `splits` (per split: `rows`, `gold_hash`, `copy`, `hash_fits`, `unlabelled`,
        `labels`, `columns`, `glosses`, `refusals`, `contradictions`, and with a tokenizer `truncation`) and
        `duplicates` (per pair of splits and kind: `pairs` and `examples`).

    Raises:
        DataError: The folder is not a prepared one.
        SettingError: The tokenizer cannot be loaded, or `max_length` is below 8.
    """
    if max_length < 8:
        raise SettingError(f"max_length must be at least 8, but is {max_length}.", fix="The paper uses 512.")
    splits, info = read_prepared(folder)
    report: dict = {
        "name": info.name,
        "task": info.task,
        "label_names": info.label_names,
        "captioner": info.captioner,
        "knowledge": info.knowledge,
        "sources": info.sources,
        "other_type": other_type(info.label_names) if info.task == "mner" else "",
        "splits": {},
        "duplicates": count_duplicates(splits, info.task),
    }
    loaded = None
    if tokenizer is not None:
        # transformers takes seconds to import, and most calls have no tokenizer
        from modeling_cotpd.data.lengths import fast_tokenizer

        loaded = fast_tokenizer(tokenizer)
    for name, split in splits.items():
        found_hash = gold_hash(split)
        facts: dict = {
            "rows": len(split),
            "gold_hash": found_hash,
            "copy": KNOWN_COPIES.get(found_hash, ""),
            "hash_fits": found_hash == info.splits[name]["gold_hash"],
            "unlabelled": sum(label is None for label in split[_label(info.task)]),
            "labels": count_tags(split, info.label_names)
            if info.task == "mner"
            else count_relations(split, info.label_names),
            "columns": {
                "tokens": describe([len(tokens) for tokens in split["tokens"]], len(split)),
                **{
                    column: describe([len(text.split()) for text in split[column] if text], len(split))
                    for column in KNOWLEDGE_COLUMNS
                },
            },
            "glosses": count_glosses(split),
            "refusals": find_refusals(split),
            "contradictions": find_contradictions(split, info.task),
        }
        if loaded is not None:
            _add_subwords(facts, split, loaded, max_length)
        report["splits"][name] = facts
    return report


def _label(task: str) -> str:
    return "ner_tags" if task == "mner" else "relation"


def _add_subwords(facts: dict, split: Dataset, tokenizer, max_length: int) -> None:
    from modeling_cotpd.data.lengths import count_subwords

    counted = count_subwords(split, tokenizer, max_length)
    for column, lengths in counted.pop("subwords").items():
        facts["columns"][column]["subwords"] = _lengths(lengths)
    facts["truncation"] = {"max_length": max_length, **counted}


def describe(words: Sequence[int], rows: int) -> dict:
    """How many of `rows` rows have a text, and how many words (median, 95th percentile, most) those texts have."""
    return {"filled": len(words), "share": len(words) / rows if rows else 0.0, "words": _lengths(words)}


def _lengths(values: Sequence[int]) -> dict:
    if not values:
        return {"median": 0, "p95": 0, "max": 0}
    ordered = sorted(values)
    return {
        "median": statistics.median(ordered),
        "p95": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        "max": ordered[-1],
    }


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
    orphan_tags, orphan_rows = 0, []
    for name, ids in zip(split["id"], split["ner_tags"], strict=True):
        tags = [label_names[tag] for tag in ids or ()]
        strict.update(kind for kind, *_ in entities(tags))
        lenient.update(kind for kind, *_ in entities(tags, lenient=True))
        if found := len(orphans(tags)):
            orphan_tags += found
            orphan_rows.append(name)
    return {
        "strict_entities": strict.total(),
        "lenient_entities": lenient.total(),
        "strict_by_type": dict(sorted(strict.items())),
        "lenient_by_type": dict(sorted(lenient.items())),
        "orphan_tags": orphan_tags,
        "orphan_rows": len(orphan_rows),
        "examples": orphan_rows[:EXAMPLES],
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


def find_contradictions(split: Dataset, task: str) -> dict:
    """Labelled rows that have the same sentence (and pair) and different gold.

    Returns:
        `dict`: `groups` (different sentences or pairs), `rows` (rows in them), `repeats` (rows beyond the first of
        each group: so many rows repeat something with another label) and `examples` (ids of the first groups).
    """
    groups = defaultdict(list)
    for row in split.remove_columns(["image", "glosses", *KNOWLEDGE_COLUMNS]):
        gold = row[_label(task)]
        if gold is None:
            continue
        spans = (
            () if task == "mner" else tuple(row[side][end] for side in ("head", "tail") for end in ("start", "end"))
        )
        groups[tuple(row["tokens"]), spans].append((row["id"], tuple(gold) if task == "mner" else gold))
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
            if task == "mre" and key in seen:
                continue
            seen.add(key)
            yield name, row["id"], row["tokens"]

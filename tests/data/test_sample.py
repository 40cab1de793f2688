"""The sample corpus is well-formed, complete, and as its README describes it."""

import json
from collections import Counter
from pathlib import Path

import pytest

import modeling_cotpd.data
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, SPLITS, bio_label_names, label_names_of, make_split

FOLDER = Path(modeling_cotpd.data.__file__).parent / "sample"
TAG_NAMES = bio_label_names(["LOC", "MISC", "ORG", "PER"])
RELATIONS = {
    "None": None,
    "/per/org/member_of": ("PER", "ORG"),
    "/per/loc/place_of_residence": ("PER", "LOC"),
    "/org/loc/locate_at": ("ORG", "LOC"),
    "/per/per/peer": ("PER", "PER"),
    "/misc/loc/held_on": ("MISC", "LOC"),
}
ROWS = {
    ("mner", "train"): 196,
    ("mner", "validation"): 50,
    ("mner", "test"): 61,
    ("mre", "train"): 138,
    ("mre", "validation"): 38,
    ("mre", "test"): 38,
}
UNLABELLED = {("mner", "train"): 2, ("mre", "train"): 1}


def read(task: str, split: str) -> list[dict]:
    lines = (FOLDER / f"{task}.{split}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def entities(row: dict) -> list[tuple[str, str]]:
    """(type, surface) of every entity of a labelled row; fails on an `I-` tag that continues nothing."""
    found: list[tuple[str, list[str]]] = []
    previous = "O"
    for token, tag in zip(row["tokens"], row["ner_tags"] or [], strict=row["ner_tags"] is not None):
        if tag.startswith("B-"):
            found.append((tag[2:], [token]))
        elif tag.startswith("I-"):
            assert previous[2:] == tag[2:], f"{row['id']}: {tag} follows {previous}"
            found[-1][1].append(token)
        previous = tag
    return [(kind, " ".join(tokens)) for kind, tokens in found]


def mentions(task: str, row: dict) -> list[str]:
    if task == "mner":
        return [surface for _, surface in entities(row)]
    return [" ".join(row["tokens"][row[side]["start"] : row[side]["end"]]) for side in ("head", "tail")]


every_file = pytest.mark.parametrize(("task", "split"), list(ROWS))


@every_file
def test_rows_load_through_the_schema(task, split):
    label_names = TAG_NAMES if task == "mner" else list(RELATIONS)
    rows = read(task, split)
    dataset = make_split(rows, task, label_names, f"{task}.{split}.jsonl")
    assert len(dataset) == ROWS[task, split]
    assert label_names_of(dataset.features) == label_names
    column = "ner_tags" if task == "mner" else "relation"
    assert sum(label is None for label in dataset[column]) == UNLABELLED.get((task, split), 0)
    assert dataset["tokens"][:] == [row["tokens"] for row in rows]


@every_file
def test_columns_and_tokens(task, split):
    gold = {"ner_tags"} if task == "mner" else {"head", "tail", "relation"}
    for row in read(task, split):
        assert set(row) == {"id", "tokens", "image", *gold, *KNOWLEDGE_COLUMNS}
        assert row["image"] is None
        assert all(isinstance(row[name], str) and row[name] == row[name].strip() for name in KNOWLEDGE_COLUMNS)
        assert row["cot_noun"] != "" or row["cot_sentence"] != "" or row["caption"] != "", row["id"]
        for token in row["tokens"]:
            assert token.split() == [token], f"{row['id']}: white space in {token!r}"
            assert len(token) == 1 or token[0] not in "#@", f"{row['id']}: {token!r} holds its own mark"


@every_file
def test_knowledge_mentions_every_entity(task, split):
    for row in read(task, split):
        for mention in mentions(task, row):
            assert not row["cot_noun"] or f". {mention} (" in row["cot_noun"], f"{row['id']}: {mention}"


@every_file
def test_no_character_is_lost(task, split):
    raw = (FOLDER / f"{task}.{split}.jsonl").read_bytes()
    text = raw.decode("utf-8", "strict")
    assert "\\u" not in text and "\N{REPLACEMENT CHARACTER}" not in text and not raw.startswith(b"\xef\xbb\xbf")
    assert not any("\x80" <= character < "\xa0" for character in text)  # what a wrong decoding leaves behind
    assert any(ord(character) >= 0x1F300 for character in text), "no emoji left"


def test_scripts_and_emoji_sequences_survive():
    tokens = {token for row in read("mner", "train") + read("mner", "test") for token in row["tokens"]}
    assert {"Møllevik", "竹森ジュン", "زهرنتا", "Ивар", "🤖👏🏽", "♥️", "⬆️⬆️"} <= tokens


def test_bio_is_well_formed_and_types_are_balanced():
    for split in SPLITS:
        rows = read("mner", split)
        counts = Counter(kind for row in rows for kind, _ in entities(row))
        assert set(counts) == {"LOC", "MISC", "ORG", "PER"}
        assert min(counts.values()) >= 0.1 * sum(counts.values())
        without = sum(not entities(row) for row in rows if row["ner_tags"] is not None)
        assert 0.1 <= without / len(rows) <= 0.25


def test_relation_distribution():
    for split in SPLITS:
        counts = Counter(row["relation"] for row in read("mre", split) if row["relation"] is not None)
        assert set(counts) == set(RELATIONS)
        assert 0.25 <= counts["None"] / sum(counts.values()) <= 0.4
        assert min(counts.values()) >= 4


def test_relation_arguments():
    kinds: dict[str, Counter] = {}
    for split in SPLITS:
        for row in read("mner", split):
            for kind, surface in entities(row):
                kinds.setdefault(surface, Counter())[kind] += 1
    for split in SPLITS:
        for row in read("mre", split):
            head, tail = row["head"], row["tail"]
            assert head["end"] <= tail["start"] or tail["end"] <= head["start"], f"{row['id']}: spans overlap"
            expected = RELATIONS.get(row["relation"] or "None")
            for surface, kind in zip(mentions("mre", row), expected or (), strict=False):
                assert surface not in kinds or kind in kinds[surface], f"{row['id']}: {surface} is no {kind}"


def test_ids_are_unique_and_splits_disjoint():
    for task in ("mner", "mre"):
        splits = {split: read(task, split) for split in SPLITS}
        ids = [row["id"] for rows in splits.values() for row in rows]
        assert len(set(ids)) == len(ids)
        texts = {split: {" ".join(row["tokens"]).casefold() for row in rows} for split, rows in splits.items()}
        assert sum(map(len, texts.values())) == len(set().union(*texts.values()))
        if task == "mner":
            assert {split: len(found) for split, found in texts.items()} == {s: ROWS["mner", s] for s in SPLITS}


def test_no_pair_occurs_twice():
    pairs = Counter(
        (" ".join(row["tokens"]), row["head"]["start"], row["tail"]["start"])
        for split in SPLITS
        for row in read("mre", split)
    )
    assert max(pairs.values()) == 1


def test_about_half_of_the_test_mentions_occur_in_training():
    known = {entity for row in read("mner", "train") for entity in entities(row)}
    found = [entity for row in read("mner", "test") for entity in entities(row)]
    assert 0.4 <= sum(entity in known for entity in found) / len(found) <= 0.65


def test_some_text_columns_are_empty():
    for task in ("mner", "mre"):
        rows = [row for split in SPLITS for row in read(task, split)]
        for name in KNOWLEDGE_COLUMNS[1:]:
            assert sum(not row[name] for row in rows) <= 0.05 * len(rows)
        assert any(not row[name] for row in rows for name in KNOWLEDGE_COLUMNS)


def test_size_and_counts_in_the_readme():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 400_000
    readme = (FOLDER / "README.md").read_text("utf-8")
    for (task, split), rows in ROWS.items():
        assert f"| `{task}.{split}.jsonl` | {rows} |" in readme
    assert "Apache-2.0" in readme

"""The sample corpus is well-formed, what its generator writes, and as its README describes it."""

import json
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import modeling_cotpd.data
from modeling_cotpd.data.duplicates import find_pairs
from modeling_cotpd.data.glosses import parse_noun_list
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS, SPLITS, bio_label_names, label_names_of, make_split

GENERATOR = Path(__file__).parents[2] / "examples" / "make_sample.py"
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
    ("mner", "train"): 520,
    ("mner", "validation"): 50,
    ("mner", "test"): 130,
    ("mre", "train"): 320,
    ("mre", "validation"): 40,
    ("mre", "test"): 100,
}
LABELLED = {("mner", "train"): 220, ("mre", "train"): 160}
GOLD = {"mner": {"ner_tags"}, "mre": {"head", "tail", "relation"}}
LABEL = {"mner": "ner_tags", "mre": "relation"}


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
    labelled = LABELLED.get((task, split), len(rows))
    assert [label is not None for label in dataset[LABEL[task]]] == [place < labelled for place in range(len(rows))]
    assert dataset["tokens"][:] == [row["tokens"] for row in rows]


@every_file
def test_columns_and_tokens(task, split):
    for row in read(task, split):
        explained = set(KNOWLEDGE_COLUMNS) if row[LABEL[task]] is not None else {"cot_noun"}
        assert set(row) == {"id", "tokens", *GOLD[task], *explained}
        assert all(isinstance(row[name], str) and row[name] == row[name].strip() for name in explained)
        for token in row["tokens"]:
            assert token.split() == [token], f"{row['id']}: white space in {token!r}"
            assert len(token) == 1 or token[0] not in "#@", f"{row['id']}: {token!r} holds its own mark"


@every_file
def test_explanations_have_gaps_and_errors(task, split):
    """They name most entities, not all; and nouns that are no entity."""
    rows = [row for row in read(task, split) if row[LABEL[task]] is not None]
    nouns = [{gloss["mention"] for gloss in parse_noun_list(row["cot_noun"])} for row in rows]
    found = [mention in known for row, known in zip(rows, nouns, strict=True) for mention in mentions(task, row)]
    assert 0.78 <= sum(found) / len(found) <= 0.95
    listed = [mention for known in nouns for mention in known]
    names = {mention for row in rows for mention in mentions(task, row)}
    assert 0.05 <= sum(mention not in names for mention in listed) / len(listed) <= 0.6
    tags = {"PER", "ORG", "LOC", "MISC", *RELATIONS}
    assert not any(word in tags for row in rows for word in row["cot_noun"].replace("(", " ").split())


@every_file
def test_no_character_is_lost(task, split):
    raw = (FOLDER / f"{task}.{split}.jsonl").read_bytes()
    text = raw.decode("utf-8", "strict")
    assert "\\u" not in text and "\N{REPLACEMENT CHARACTER}" not in text and not raw.startswith(b"\xef\xbb\xbf")
    assert not any("\x80" <= character < "\xa0" for character in text)  # what a wrong decoding leaves behind
    assert any(ord(character) >= 0x1F300 for character in text), "no emoji left"


def test_scripts_and_emoji_sequences_survive():
    tokens = {token for split in SPLITS for row in read("mner", split) for token in row["tokens"]}
    assert {"Møllevik", "竹森ジュン", "زهرنتا", "Ивар", "🤖👏🏽", "❤️", "😂😂"} <= tokens


def test_bio_is_well_formed_and_types_are_balanced():
    for split in SPLITS:
        rows = read("mner", split)
        counts = Counter(kind for row in rows for kind, _ in entities(row))
        assert set(counts) == {"LOC", "MISC", "ORG", "PER"}
        assert min(counts.values()) >= 0.1 * sum(counts.values())
        labelled = [row for row in rows if row["ner_tags"] is not None]
        assert 0.04 <= sum(not entities(row) for row in labelled) / len(labelled) <= 0.25


def test_relation_distribution():
    for split in SPLITS:
        counts = Counter(row["relation"] for row in read("mre", split) if row["relation"] is not None)
        assert set(counts) == set(RELATIONS)
        assert 0.2 <= counts["None"] / sum(counts.values()) <= 0.4
        assert split == "validation" or min(counts.values()) >= 10


def test_names_of_the_world_have_one_type():
    world = {name.text.removeprefix("@"): name.type for name in runpy.run_path(str(GENERATOR))["world"]()}
    seen = 0
    for split in SPLITS:
        for row in read("mner", split):
            for kind, surface in entities(row):
                seen += surface in world
                assert world.get(surface, kind) == kind, f"{row['id']}: {surface} is no {kind}"
        for row in read("mre", split):
            head, tail = row["head"], row["tail"]
            assert head["end"] <= tail["start"] or tail["end"] <= head["start"], f"{row['id']}: spans overlap"
            types = RELATIONS.get(row["relation"] or "None") or ()
            for surface, kind in zip(mentions("mre", row), types, strict=False):
                assert world.get(surface, kind) == kind, f"{row['id']}: {surface} is no {kind}"
    assert seen > 150


def test_ids_are_unique_and_splits_disjoint():
    for task in ("mner", "mre"):
        splits = {split: read(task, split) for split in SPLITS}
        ids = [row["id"] for rows in splits.values() for row in rows]
        assert len(set(ids)) == len(ids)
        texts = {split: {" ".join(row["tokens"]).casefold() for row in rows} for split, rows in splits.items()}
        assert sum(map(len, texts.values())) == len(set().union(*texts.values()))
        if task == "mner":
            assert {split: len(found) for split, found in texts.items()} == {s: ROWS["mner", s] for s in SPLITS}


def test_no_two_posts_are_nearly_equal():
    posts = [(f"{task}-{split}", row["id"], row["tokens"]) for task, split in ROWS for row in read(task, split)]
    assert not find_pairs(posts)


@pytest.mark.parametrize("task", list(GOLD))
def test_names_of_the_test_split_come_again(task):
    """Some are known from labelled posts, most from unlabelled ones alone, some from none."""

    def holds(row: dict, mention: str) -> bool:
        return f" {mention} " in f" {' '.join(row['tokens'])} "

    labelled = [row for row in read(task, "train") if row[LABEL[task]] is not None]
    unlabelled = [row for row in read(task, "train") if row[LABEL[task]] is None]
    found = [mention for row in read(task, "test") for mention in mentions(task, row)]
    known = [any(holds(row, mention) for row in labelled) for mention in found]
    again = [any(holds(row, mention) for row in unlabelled) for mention in found]
    alone = [second and not first for first, second in zip(known, again, strict=True)]
    new = [not second and not first for first, second in zip(known, again, strict=True)]
    assert 0.05 <= sum(known) / len(found) <= 0.25
    assert 0.5 <= sum(alone) / len(found) <= 0.7
    assert 0.15 <= sum(new) / len(found) <= 0.4


def test_the_files_are_what_the_generator_writes(tmp_path):
    subprocess.run([sys.executable, GENERATOR, tmp_path], check=True)
    for task, split in ROWS:
        name = f"{task}.{split}.jsonl"
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), name


def test_size_and_counts_in_the_readme():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 400_000
    readme = (FOLDER / "README.md").read_text("utf-8")
    for (task, split), rows in ROWS.items():
        counts: Counter = Counter()
        for row in read(task, split):
            counts.update((kind for kind, _ in entities(row)) if task == "mner" else [row["relation"]])
        order = sorted(counts) if task == "mner" else sorted(counts, key=lambda name: -counts[name])
        labels = ", ".join(f"{str(name).split('/')[-1]} {counts[name]}" for name in order if name is not None)
        share = f" ({LABELLED[task, split]} with labels)" if (task, split) in LABELLED else ""
        assert f"| `{task}.{split}.jsonl` | {rows}{share} | {labels} |" in readme
    assert "Apache-2.0" in readme

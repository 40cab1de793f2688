"""What `check` counts, on small folders with known faults and on the published data sets where they are."""

import json
import os
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from modeling_cotpd.data.check import check, count_subwords, other_type
from modeling_cotpd.data.duplicates import find_pairs
from modeling_cotpd.data.prepare import PrepareOptions, prepare
from modeling_cotpd.data.prepared import DatasetInfo, read_prepared, write_prepared
from modeling_cotpd.data.schema import bio_label_names, make_split
from modeling_cotpd.errors import SettingError

TAGS = bio_label_names(["LOC", "OTHER"])


def tagged(name, text, tags, **texts):
    return {"id": name, "tokens": text.split(), "ner_tags": tags and tags.split(), **texts}


@pytest.fixture
def mner(tmp_path):
    train = [
        tagged("1", "Rain over Leeds today", "O O I-LOC O", caption="a wet street", cot_noun="Leeds is a city"),
        tagged("2", "Rain over Leeds today", "O O B-LOC O", caption="Sorry, I cannot describe this."),
        tagged("3", "York Fair", "B-OTHER I-OTHER"),
        tagged("4", "Nobody looked at this", None),
    ]
    test = [tagged("1", "rain over LEEDS today ! http://t.co/1", "O O B-LOC O O O")]
    splits = {"train": make_split(train, "mner", TAGS, "t"), "test": make_split(test, "mner", TAGS, "t")}
    write_prepared(splits, DatasetInfo("small", "mner", TAGS), tmp_path / "small")
    return tmp_path / "small"


def test_a_tagging_folder(mner):
    report = check(mner)
    train, test = report["splits"]["train"], report["splits"]["test"]
    assert (train["rows"], train["unlabelled"], train["hash_fits"], train["copy"]) == (4, 1, True, "")
    assert train["labels"] == {
        "strict_entities": 2,
        "lenient_entities": 3,
        "strict_by_type": {"LOC": 1, "OTHER": 1},
        "lenient_by_type": {"LOC": 2, "OTHER": 1},
        "orphan_tags": 1,
        "orphan_rows": 1,
        "examples": ["1"],
    }
    assert train["columns"]["caption"] == {"filled": 2, "share": 0.5, "words": {"median": 4, "p95": 5, "max": 5}}
    assert train["columns"]["tokens"]["words"]["max"] == 4 and train["columns"]["cot_sentence"]["filled"] == 0
    assert train["refusals"] == {"caption": {"refusal": {"rows": 1, "examples": ["2"]}}}
    assert train["contradictions"] == {"groups": 1, "rows": 2, "repeats": 1, "examples": [["1", "2"]]}
    assert test["contradictions"]["groups"] == 0
    assert [(found["splits"], found["kind"], found["pairs"]) for found in report["duplicates"]] == [
        (["train", "train"], "exact", 1),
        (["train", "test"], "normalised", 2),
    ]
    assert "The fourth type is OTHER" in report["other_type"]
    json.dumps(report)


def test_a_changed_split_is_noticed(mner):
    path = mner / "dataset.json"
    text = path.read_text()
    path.write_text(text.replace(json.loads(text)["splits"]["test"]["gold_hash"], "0" * 64))
    splits = check(mner)["splits"]
    assert splits["train"]["hash_fits"] and not splits["test"]["hash_fits"]


def test_a_relation_folder(tmp_path):
    def row(name, image, relation, head=0):
        spans = {"head": {"start": head, "end": head + 1}, "tail": {"start": 2, "end": 3}}
        return {
            "id": name,
            "image": image,
            "tokens": ["Ada", "met", "Bo", "in", "York"],
            **spans,
            "relation": relation,
        }

    train = [row("1", "p", "x"), row("2", "q", "None"), row("3", "p", "None", head=4), row("4", "r", None)]
    train += [row("5", "s", "None", head=3), row("6", "t", "None", head=3)]
    names = ["None", "x", "y"]
    write_prepared({"train": make_split(train, "mre", names, "t")}, DatasetInfo("r", "mre", names), tmp_path / "r")
    report = check(tmp_path / "r")
    facts = report["splits"]["train"]
    assert facts["labels"] == {"by_relation": {"None": 4, "x": 1}, "none_share": 0.8, "unseen": ["y"]}
    assert facts["contradictions"] == {"groups": 1, "rows": 2, "repeats": 1, "examples": [["1", "2"]]}, "5 and 6 agree"
    (found,) = report["duplicates"]
    assert (found["kind"], found["pairs"]) == ("exact", 10), "rows 1 and 3 are one post; with p to t there are five"


def test_other_type():
    assert other_type(["O", "B-PER", "I-PER"]) == ""
    assert "--rename-type MISC=OTHER" in other_type(["O", "B-MISC", "I-MISC"])
    assert "Both" in other_type(["O", "B-MISC", "I-MISC", "B-OTHER", "I-OTHER"])


def test_settings(mner, tmp_path):
    with pytest.raises(SettingError, match="max_length must be at least 8"):
        check(mner, max_length=3)
    with pytest.raises(SettingError, match="No tokenizer could be loaded"):
        check(mner, tokenizer=tmp_path / "absent")


DATA = os.environ.get("COTPD_DATA")
real = pytest.mark.skipif(not DATA, reason="COTPD_DATA does not name a folder with the published data sets")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """Reports on the published data sets, made when first asked for."""
    made = {}

    def report(name, **options):
        if name not in made:
            folder = tmp_path_factory.mktemp("published") / name
            prepare(name, Path(DATA) / name, folder, PrepareOptions(**options))
            made[name] = (folder, check(folder))
        return made[name]

    return report


@real
def test_facts_of_twitter2015(published):
    splits = published("twitter2015")[1]["splits"]
    assert [facts["labels"]["orphan_rows"] for facts in splits.values()] == [166, 46, 131]
    assert sum(facts["labels"]["orphan_tags"] for facts in splits.values()) == 374
    assert splits["test"]["labels"]["strict_entities"] == 5072
    assert splits["test"]["labels"]["lenient_entities"] == 5207
    assert splits["test"]["copy"] == "Twitter-2015 test, UMT"
    assert sum(facts["rows"] - facts["columns"]["caption"]["filled"] for facts in splits.values()) == 2


@real
def test_facts_of_twitter2017(published):
    report = published("twitter2017", captioner="gpt4")[1]
    splits = report["splits"]
    assert all(facts["labels"]["orphan_tags"] == 0 for facts in splits.values())
    assert sum(facts["refusals"]["caption"]["refusal"]["rows"] for facts in splits.values()) == 54
    assert "The fourth type is MISC" in report["other_type"]


@real
def test_facts_of_mnre(published):
    report = published("mnre")[1]
    splits = report["splits"]
    assert [facts["contradictions"]["repeats"] for facts in splits.values()] == [27, 0, 0]
    assert round(splits["train"]["labels"]["none_share"], 2) == 0.63
    assert len(report["label_names"]) == 23 and "/per/misc/race" in splits["test"]["labels"]["unseen"]


@real
@pytest.mark.parametrize(
    ("name", "tag", "options", "least"),
    [("twitter2015", "T15", {}, 20), ("twitter2017", "T17", {"captioner": "gpt4"}, 14), ("mnre", "MNRE", {}, 71)],
)
def test_duplicates_hold_the_known_leaks(published, name, tag, options, least):
    """All but one known pair are found; that one has three words."""
    splits, _ = read_prepared(published(name, **options)[0])
    names = {"train": "train", "validation": "val" if name == "mnre" else "valid", "test": "test"}
    posts = {(split, row["image"], tuple(row["tokens"])): None for split in splits for row in splits[split]}
    found = {
        frozenset([(names[pair.a_split], pair.a_id), (names[pair.b_split], pair.b_id)]): pair.kind
        for pair in find_pairs(posts)
    }
    known = {}
    for line in (Path(DATA) / "leaks.jsonl").read_text("utf-8").splitlines():
        leak = json.loads(line)
        if leak["a"].startswith(tag) and leak["b"].startswith(tag):
            ends = [(leak[side].split("-")[1], leak[f"{side}_id"]) for side in "ab"]
            known[frozenset(ends)] = leak["exact"]
    assert len(set(known) & set(found)) == least >= len(known) - 1
    assert all(found[pair] == "exact" for pair, exact in known.items() if exact)


@pytest.fixture(scope="module")
def tokenizer():
    """One piece per run of letters or of punctuation, between [CLS] and [SEP]."""
    words = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3}
    backend = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    backend.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]"
    )


def test_entities_beyond_the_limit(tokenizer):
    row = {"id": "1", "tokens": ["a-b", "York", "c", "Leeds"], "ner_tags": ["O", "B-LOC", "O", "B-LOC"]}
    other = {"id": "2", "tokens": ["x", "\u00a0"], "ner_tags": None, "caption": "a b c"}
    split = make_split([row, other], "mner", bio_label_names(["LOC"]), "t")
    found = count_subwords(split, tokenizer, max_length=8)
    # a - b York c Leeds are six pieces and two special ones; x and three of a caption make 1 + 2 + 3 + 1.
    assert found["subwords"] == {
        "tokens": [6, 1],
        "caption": [3],
        "cot_noun": [],
        "cot_sentence": [],
        "cot_multimodality": [],
    }
    assert (found["texts_too_long"], found["gold_lost"], found["views_truncated"]) == (0, 0, 0)
    assert found["words_without_subwords"] == 1
    found = count_subwords(split, tokenizer, max_length=7)
    assert (found["texts_too_long"], found["gold_lost"], found["views_truncated"]) == (1, 1, 1)
    assert count_subwords(split, tokenizer, max_length=5)["gold_lost"] == 2
    assert count_subwords(split, tokenizer, max_length=6)["views_truncated"] == 2


def test_pairs_beyond_the_limit(tokenizer):
    spans = {"head": {"start": 0, "end": 1}, "tail": {"start": 2, "end": 3}}
    row = {"id": "1", "tokens": ["Ada", "met", "Bo", "today"], **spans, "relation": "x"}
    split = make_split([row, {**row, "id": "2", "relation": None}], "mre", ["None", "x"], "t")
    # Four pieces, two special ones and four markers.
    assert count_subwords(split, tokenizer, 10)["texts_too_long"] == 0
    found = count_subwords(split, tokenizer, 9)
    assert (found["texts_too_long"], found["gold_lost"]) == (2, 0)
    assert count_subwords(split, tokenizer, 8)["gold_lost"] == 1

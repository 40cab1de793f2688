"""Case studies: views side by side, attention per token, every text escaped."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from experiments.small_sweep import LABELS, fictional_rows
from tiny_models import tiny_model

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import DataError
from modeling_cotpd.experiments.case_page import render_page
from modeling_cotpd.experiments.cases import Case, per_token, study
from modeling_cotpd.markers_cotpd import add_entity_markers


def saved_model(folder: Path, wordpiece, **settings) -> Path:
    """A tiny random model with its tokenizer."""
    id2label = dict(enumerate(LABELS))
    model = tiny_model(CoTPDForTokenClassification, id2label=id2label, **settings)
    model.save_pretrained(folder)
    wordpiece.save_pretrained(folder)
    return folder


@pytest.fixture
def model_dir(tmp_path: Path, wordpiece) -> Path:
    """A tiny random model of five tags."""
    return saved_model(tmp_path / "model", wordpiece)


def test_views_and_attention_of_posts(model_dir: Path, otters: Path):
    cases = study(model_dir, otters, ids=["test2", "test0"], knowledge_columns=["caption", "cot_noun"], max_length=40)
    assert [case.id for case in cases] == ["test2", "test0"]
    case = cases[0]
    assert case.gold == [("PER", 1, 1)] and set(case.views) == {"prompt", "knowledge"}
    assert case.knowledge["cot_noun"] == "Holt is a singer <b>"
    assert len(case.attention) == 3 and all(len(row) == 3 and 0 < sum(row) <= 1.001 for row in case.attention)
    with pytest.raises(DataError, match="no post"):
        study(model_dir, otters, ids=["nobody"])


def test_without_ids_only_posts_on_which_views_disagree(model_dir: Path, otters: Path, tmp_path: Path, wordpiece):
    other = saved_model(tmp_path / "other", wordpiece, prompt_type="none")
    with torch.no_grad():
        model = CoTPDForTokenClassification.from_pretrained(other)
        model.classifier.bias += torch.tensor([0.0, 50.0, 0.0, 0.0, 0.0])
        model.save_pretrained(other)
    cases = study(model_dir, otters, count=2, compare=other, max_length=40)
    assert len(cases) == 2
    assert cases[0].views["baseline"] == [("LOC", 0, 0), ("LOC", 1, 1), ("LOC", 2, 2)]
    assert study(other, otters, knowledge_columns=[]) == []


def test_relations_are_shown_with_their_pair(tmp_path: Path, wordpiece):
    rows = [
        {**row, "head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2}, "relation": "None"}
        for row in fictional_rows(4, "test")
    ]
    for row in rows:
        del row["ner_tags"]
    names = ["None", "per_per_peer"]
    write_prepared({"test": make_split(rows, "mre", names, "test")}, DatasetInfo("m", "mre", names), tmp_path / "mre")
    add_entity_markers(wordpiece)
    changes = {"vocab_size": len(wordpiece) + 5}
    model = tiny_model(
        CoTPDForRelationExtraction, id2label=dict(enumerate(names)), num_labels=2, encoder_changes=changes
    )
    model.save_pretrained(tmp_path / "model")
    wordpiece.save_pretrained(tmp_path / "model")
    case = study(tmp_path / "model", tmp_path / "mre", ids=["test1"], max_length=40)[0]
    assert case.gold == [("head", 0, 0), ("tail", 1, 1)] and case.relations["gold"] == "None"
    assert set(case.relations) == {"gold", "prompt", "knowledge"} and len(case.attention[0]) == 3
    page = render_page("t", [case])
    assert page.count("right") + page.count("wrong-text") >= 5 and "head</small>" in page


def test_attention_of_pieces_is_added_up_to_tokens(wordpiece):
    tokens = ["Mira", "zq", "sings"]
    ids = wordpiece(" ".join(tokens))["input_ids"]
    middle = len(ids) - 2
    shares = per_token([[0.1, *[0.8 / middle] * middle, 0.1]], tokens, ids, wordpiece)
    assert sum(shares[0]) == pytest.approx(0.8)
    pieces = len(wordpiece("zq", add_special_tokens=False)["input_ids"])
    assert shares[0][1] == pytest.approx(0.8 * pieces / middle)


class Tags(HTMLParser):
    """Collects what a page holds."""

    def __init__(self):
        super().__init__()
        self.seen: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.seen.append(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onerror"}, "the page needs nothing but itself"

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_pair_that_overlaps_leaves_the_page_whole():
    case = Case("a", ["Old", "Harlow", "Road"], [("head", 0, 2), ("tail", 1, 1)], {}, {"gold": "None"})
    page = render_page("t", [case])
    assert page.count("<mark") == page.count("</mark>") and "Old Harlow Road → Harlow" in page


def test_every_text_is_escaped():
    evil = '<script>alert("x")</script>'
    case = Case(
        evil,
        [evil, "&amp;", "<b>"],
        [("<i>", 0, 1)],
        {"prompt": [("PER", 0, 0)], evil: []},
        {},
        {evil: evil},
        [[0.5, 0.2, 0.1]],
    )
    page = render_page(evil, [case], evil)
    parser = Tags()
    parser.feed(page)
    assert not {"script", "b", "i"} & set(parser.seen)
    assert parser.text.count(evil) >= 8 and "&amp;" in parser.text
    assert 'class="wrong"' in page and "query 1" in page

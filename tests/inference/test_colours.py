"""An entity type has one colour: on the demo page, on case pages and in displaCy."""

import re

import pytest
from support.inference_models import saved

from experiments.cases import COLUMNS, render_page
from modeling_cotpd.demo.page import html
from modeling_cotpd.inference.colours import COLOURS, SPARE, colour_of, types_of


def test_other_types_take_spare_colours_in_turn():
    assert colour_of("OTHER", []) == colour_of("MISC", [])
    others = ["EVENT", "PRODUCT"]
    assert [colour_of(kind, others) for kind in others] == list(SPARE[:2])


@pytest.mark.parametrize("kind", [*COLOURS, "EVENT"])
def test_pages_agree(kind: str):
    case = {"id": "a", "tokens": ["Mira"], "gold": [f"B-{kind}"], "views": {"gold": [f"B-{kind}"]}}
    case["knowledge"] = dict.fromkeys(COLUMNS, "")
    pages = (html("chip", "Mira", kind, [kind]), render_page([case]))
    assert [re.findall(r'<mark[^>]*style="background:(#\w+)"', page) for page in pages] == [[colour_of(kind, [])]] * 2


def test_displacy_agrees(tmp_path):
    spacy = pytest.importorskip("spacy")
    nlp = spacy.blank("en")
    nlp.add_pipe("cotpd", config={"model": str(saved(tmp_path / "model"))})
    doc = nlp("Mira Holt")
    kinds = types_of(nlp.get_pipe("cotpd").predictor.label_names)
    assert kinds == ["LOC", "PER"]
    for kind in kinds:
        doc.set_ents([doc.char_span(0, 4, label=kind)])
        assert f"background: {colour_of(kind, kinds)};" in spacy.displacy.render(doc, style="ent", jupyter=False)

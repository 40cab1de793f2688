"""The page answers over HTTP, on this machine alone."""

import json
import socket
import urllib.request

import pytest
from support.inference_models import RELATIONS, made

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.views import ViewSettings
from modeling_cotpd.demo.app import EXAMPLES, MOST_CHARACTERS, DemoReader, build_app, launch
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.knowledge_source import KnowledgeSource
from modeling_cotpd.inference.predictor import EntityPredictor, RelationPredictor
from modeling_cotpd.inference.triples import TripleExtractor
from modeling_cotpd.inference.view_predictor import ViewPredictor, first_span

TEXT = "Mira Holt sings at Quarry Lane"


def finder(**settings) -> EntityPredictor:
    return EntityPredictor(*made(CoTPDForTokenClassification, "wordpiece"), **settings)


def relater() -> RelationPredictor:
    return RelationPredictor(*made(CoTPDForRelationExtraction, "wordpiece", id2label=RELATIONS, num_labels=3))


def test_text_alone_and_with_knowledge():
    reader = DemoReader(ViewPredictor(TripleExtractor(finder(), relater())))
    alone, both = reader(TEXT), reader(TEXT, caption="a stage", cot_noun=" ")
    assert "From the text alone" in alone and "With knowledge" not in alone
    assert "With knowledge" in both and "a stage" in both and "Nouns" not in both
    assert "Where the prompt looks" in alone and reader.kinds == ["LOC", "PER"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": ""}, "Write a post"),
        ({"text": None}, "Write a post"),
        ({"text": "x" * (MOST_CHARACTERS + 1)}, "5,001 characters"),
        ({"text": TEXT, "caption": "x" * (MOST_CHARACTERS + 1)}, "5,001 characters"),
        ({"text": TEXT, "image": "/nowhere/<b>.png"}, "no captioner"),
        ({"text": TEXT, "ask": True}, "nothing for the knowledge view"),
    ],
)
def test_what_is_wrong_is_told_on_the_page(values: dict, message: str):
    html = DemoReader(ViewPredictor(finder()))(**values)
    assert 'role="alert"' in html and message in html and "<b>" not in html


def test_a_pair_is_given_by_its_words():
    reader = DemoReader(ViewPredictor(relater()))
    assert "<small>head</small>" in reader(TEXT, head="Mira Holt", tail=" Quarry Lane ")
    assert "does not occur" in reader(TEXT, head="Dario", tail="Quarry Lane")
    assert "The tail is empty" in reader(TEXT, head="Mira")
    assert first_span("Holt", TEXT, "head") == (5, 9)
    for example in EXAMPLES:
        assert example["head"] in example["text"] and example["tail"] in example["text"]


def test_the_teacher_is_asked_only_when_the_box_is_ticked(monkeypatch: pytest.MonkeyPatch):
    predictor = ViewPredictor(finder(), KnowledgeSource(lambda image: "a pier"))
    asked = []

    def explain(self, text, caption):
        asked.append(text)
        return {"cot_noun": "Mira is a singer."}, []

    monkeypatch.setattr(KnowledgeSource, "explain", explain)
    predictor.source.plan = object()
    reader = DemoReader(predictor)
    assert "Mira is a singer" not in reader(TEXT, caption="a stage") and not asked
    assert "Mira is a singer" in reader(TEXT, ask=True) and asked == [TEXT]


def serve(predictor: ViewPredictor):
    pytest.importorskip("gradio")
    app = build_app(predictor, "tiny <model>")
    return app, launch(app, wait=False)


def test_the_page_says_what_it_is_and_shares_nothing():
    app, url = serve(ViewPredictor(finder()))
    try:
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{url}config") as answer:
            config = json.load(answer)
        assert config["analytics_enabled"] is False and config["run_history"] is False
        assert app.share_url is None and not app.share
        assert not any(dependency["api_visibility"] == "public" for dependency in config["dependencies"])
        text = json.dumps(config)
        assert "tiny &lt;model&gt;" in text and "fonts.googleapis" not in text
        taken = app.server_port
        with pytest.raises(SettingError, match="port"):
            launch(build_app(ViewPredictor(finder()), "again"), port=taken, wait=False)
    finally:
        app.close()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", taken)) != 0


def labels(predictor: ViewPredictor) -> set[str]:
    pytest.importorskip("gradio")
    config = build_app(predictor, "tiny").config
    return {str(part["props"].get("label")) for part in config["components"]}


def test_only_what_can_be_used_is_offered():
    plain = labels(ViewPredictor(finder(knowledge=ViewSettings(()))))
    assert not plain & {"Picture", "The picture in words", "Nouns", "Head", "Ask the teacher for explanations"}
    captioned = labels(ViewPredictor(finder(knowledge=ViewSettings(("caption",))), KnowledgeSource(lambda image: "x")))
    assert {"Picture", "The picture in words"} <= captioned and "Nouns" not in captioned
    assert {"Head", "Tail", "Nouns"} <= labels(ViewPredictor(relater()))

"""Which posts a language model is asked about, and what is read with its answers."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from support.inference_models import made
from support.stub_server import StubServer

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.posts import Post
from modeling_cotpd.data.views import ViewSettings
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.on_demand import Explainer, KnowledgeOnDemand, on_demand_plan
from modeling_cotpd.inference.predictor import EntityPredictor, RelationPredictor
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.prompt import load_prompts

TEXTS = ["Mira Holt sings at Quarry Lane", "no", "", "Dario and Mira walk the dog", "so proud of the Otters !"]
POSTS = [Post(str(number), text, "here") for number, text in enumerate(TEXTS)]
NOUNS = "1. Mira (person/singer) 2. Otters (team)"


class Asked:
    """Explains every post in the same words, but for those it fails on."""

    def __init__(self, failing: Sequence[str] = ()):
        self.posts: list[str] = []
        self.failing = failing

    def __call__(self, posts: Sequence[Post]) -> Iterable[tuple[dict, str]]:
        for post in posts:
            self.posts.append(post.id)
            yield ({}, "noun: failed") if post.id in self.failing else ({"cot_noun": NOUNS}, "")


def spans(row: dict) -> list[tuple]:
    """Scores differ in the last digit with the batch."""
    return [(entity["start"], entity["end"], entity["type"]) for entity in row["entities"]]


@pytest.fixture(scope="module")
def predictor() -> EntityPredictor:
    model, tokenizer = made(CoTPDForTokenClassification, "wordpiece")
    return EntityPredictor(model, tokenizer, knowledge=ViewSettings(("cot_noun",), placement="inline"))


def test_the_most_uncertain_share_is_asked_about_and_read_again(predictor):
    asked = Asked()
    rows = KnowledgeOnDemand(predictor, predictor, asked, share=0.4)(POSTS)
    text = predictor(POSTS, uncertainty=True)
    ranked = sorted(range(len(POSTS)), key=lambda place: -text[place]["uncertainty"])
    assert sorted(asked.posts) == sorted(str(place) for place in ranked[:2])
    for post, row, alone in zip(POSTS, rows, text, strict=True):
        assert row["uncertainty"] == alone["uncertainty"]
        if post.id in asked.posts:
            assert row["view"] == "knowledge" and row["asked"] and row["knowledge"] == {"cot_noun": NOUNS}
            explained = Post(post.id, post.text, "here", columns={"cot_noun": NOUNS})
            assert spans(row) == spans(predictor([explained], "knowledge")[0])
        else:
            assert row["view"] == "prompt" and not row["asked"] and row["entities"] == alone["entities"]


def test_posts_with_knowledge_need_no_answer(predictor):
    asked = Asked()
    known = Post("k", TEXTS[0], "here", columns={"glosses": [{"mention": "Mira", "gloss": "singer"}]})
    rows = KnowledgeOnDemand(predictor, predictor, asked, share=1.0)([known, POSTS[3]])
    assert asked.posts == ["3"]
    assert [(row["view"], row["asked"]) for row in rows] == [("knowledge", False), ("knowledge", True)]
    assert spans(rows[0]) == spans(predictor([known], "knowledge")[0])


def test_without_an_answer_the_text_only_prediction_stays_and_says_so(predictor):
    rows = KnowledgeOnDemand(predictor, predictor, Asked(failing="0"), threshold=-1.0)(POSTS[:2])
    assert [row["view"] for row in rows] == ["prompt", "knowledge"]
    assert rows[0]["unexplained"] == "noun: failed" and "unexplained" not in rows[1]
    assert spans(rows[0]) == spans(predictor(POSTS[:1])[0])


def test_a_threshold_asks_about_what_is_above_it(predictor):
    uncertainty = [row["uncertainty"] for row in predictor(POSTS, uncertainty=True)]
    limit = sorted(uncertainty)[2]
    asked = Asked()
    KnowledgeOnDemand(predictor, predictor, asked, threshold=limit)(POSTS)
    assert asked.posts == [str(place) for place, value in enumerate(uncertainty) if value > limit]


def test_settings_are_checked(predictor):
    relations = RelationPredictor(*made(CoTPDForRelationExtraction, "wordpiece"))
    blind = EntityPredictor(*made(CoTPDForTokenClassification, "wordpiece"), knowledge=ViewSettings(()))
    for reader, settings, message in (
        (predictor, {}, "either a share or a threshold"),
        (predictor, {"share": 1.5}, "between 0 and 1"),
        (relations, {"share": 0.5}, "for mner and mre"),
        (blind, {"share": 0.5}, "without knowledge"),
    ):
        with pytest.raises(SettingError, match=message):
            KnowledgeOnDemand(predictor, reader, Asked(), **settings)


def test_a_real_endpoint_explains_and_its_failure_is_reported(predictor, tmp_path: Path):
    glosses = [{"mention": "Mira", "gloss": "singer"}]
    with StubServer(lambda body: json.dumps(glosses)) as server:
        settings = EndpointSettings("stub", server.base_url, retries=0, api_key_variable="")
        plan = on_demand_plan(predictor, settings, load_prompts())
        assert plan.grains == ("noun",) and plan.nouns == "list"
        answers = list(Explainer(plan, tmp_path / "answers.sqlite")(POSTS[:2]))
    assert [(columns["glosses"], problem) for columns, problem in answers] == [(glosses, "")] * 2
    gone = EndpointSettings("stub", "http://127.0.0.1:9/v1", retries=0, api_key_variable="")
    plan = on_demand_plan(predictor, gone, load_prompts())
    rows = KnowledgeOnDemand(predictor, predictor, Explainer(plan, tmp_path / "none.sqlite"), share=1.0)(POSTS[:2])
    assert all(row["view"] == "prompt" and row["unexplained"] for row in rows)

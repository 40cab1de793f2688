"""A teacher is asked about a single post, and only once."""

import asyncio
from pathlib import Path

import pytest
from support.inference_models import made
from support.stub_server import StubServer

from modeling_cotpd import CoTPDForTokenClassification
from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.inference.knowledge_source import KnowledgeSource, one_by_one
from modeling_cotpd.inference.predictor import EntityPredictor
from modeling_cotpd.inference.view_predictor import ViewPredictor
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.explanation import ElicitationPlan
from modeling_cotpd.knowledge.prompt import load_prompts

TEXT = "Mira Holt sings at Quarry Lane"


def source(server: StubServer, folder: Path, **changes) -> KnowledgeSource:
    settings = EndpointSettings("stub", server.base_url, "stub", retries=1, first_delay=0.01)
    return KnowledgeSource(plan=ElicitationPlan(settings, load_prompts(), **changes), store=folder / "answers.sqlite")


def predictor(knowledge: KnowledgeSource) -> ViewPredictor:
    return ViewPredictor(EntityPredictor(*made(CoTPDForTokenClassification, "wordpiece")), knowledge)


def test_what_is_missing_is_asked_once(tmp_path: Path):
    with StubServer() as server:
        predict = predictor(source(server, tmp_path)).predict
        assert predict(TEXT).view == "prompt" and not server.asked  # without an option no request is sent
        result = predict(TEXT, caption="a stage")
        assert set(result.knowledge) == {"caption", "cot_noun", "cot_sentence", "cot_multimodality"}
        assert all(result.knowledge[name].startswith("About this: ") for name in result.knowledge if name != "caption")
        assert len(server.asked) == 3 and result.problems == []
        assert predict(TEXT, caption="a stage").knowledge == result.knowledge
        mine = predict(TEXT, caption="a stage", knowledge={"noun": "Mira is a singer."}).knowledge
        assert mine == {**result.knowledge, "cot_noun": "Mira is a singer."}
        assert set(server.asked.values()) == {1} and len(server.asked) == 3


def test_without_a_picture_the_relation_to_it_is_not_asked(tmp_path: Path):
    with StubServer() as server:
        result = predictor(source(server, tmp_path)).predict(TEXT, view="both")
        assert set(result.knowledge) == {"cot_noun", "cot_sentence"} and result.problems == []
        assert set(result.views) == {"prompt", "knowledge"}


def test_answers_that_are_none_are_told(tmp_path: Path):
    with StubServer(fault=lambda body, number: ("refusal",)) as server:
        result = predictor(source(server, tmp_path, mode="independent")).predict(TEXT, view="knowledge")
        assert result.knowledge == {} and result.view == "knowledge"
        assert len(result.problems) == 2 and all("refused" in problem for problem in result.problems)


def test_an_endpoint_that_declines_everything(tmp_path: Path):
    with (
        StubServer(fault=lambda body, number: ("status", 404)) as server,
        pytest.raises(KnowledgeError, match="declines"),
    ):
        predictor(source(server, tmp_path)).predict(TEXT, caption="a stage")


def test_within_a_running_event_loop_as_notebooks_have_it(tmp_path: Path):
    with StubServer() as server:
        knowledge = source(server, tmp_path)

        async def cell() -> dict:
            return knowledge.explain(TEXT, "a stage")[0]

        assert len(asyncio.run(cell())) == 3


def test_a_plan_that_shows_pictures_is_refused(tmp_path: Path):
    plan = ElicitationPlan(EndpointSettings("stub", "http://127.0.0.1:1/v1"), load_prompts(), image_folder=tmp_path)
    with pytest.raises(SettingError, match="reads captions"):
        KnowledgeSource(plan=plan)


def test_a_captioner_of_batches_takes_one():
    class Batches:
        def caption(self, images):
            return [f"picture of {image}" for image in images]

    assert one_by_one(Batches())("a pier") == "picture of a pier"

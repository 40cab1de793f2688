"""One call, with whatever is at hand."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.inference_models import RELATIONS, made, saved
from support.tiny_models import TOKENIZER_KINDS

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.posts import Post
from modeling_cotpd.data.views import ViewSettings
from modeling_cotpd.errors import DataError, KnowledgeError, SettingError
from modeling_cotpd.inference.knowledge_source import KnowledgeSource
from modeling_cotpd.inference.load import load_predictor
from modeling_cotpd.inference.predictor import EntityPredictor, RelationPredictor
from modeling_cotpd.inference.triples import TripleExtractor
from modeling_cotpd.inference.view_predictor import ViewPredictor, entity_changes, relation_changes
from modeling_cotpd.knowledge.images import ImageProblem

TEXT = "Mira Holt 🎤 sings  at\nQuarry Lane \ud83d with Dario"
PAIR = {"head": (0, 9), "tail": (23, 34)}


def finder(kind: str = "wordpiece", **settings) -> EntityPredictor:
    return EntityPredictor(*made(CoTPDForTokenClassification, kind), **settings)


def relater(kind: str = "wordpiece", **settings) -> RelationPredictor:
    return RelationPredictor(*made(CoTPDForRelationExtraction, kind, id2label=RELATIONS, num_labels=3), **settings)


@pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
def test_without_knowledge_the_prompt_view_answers(kind: str):
    predictor = ViewPredictor(finder(kind))
    result = predictor.predict(TEXT)
    (expected,) = predictor.predictor([Post("1", TEXT, "here")])
    assert (result.view, list(result.views)) == ("prompt", ["prompt"])
    assert result.answer == {"entities": expected["entities"]} and result.answer["entities"]
    assert result.knowledge == result.changes == {} and result.attention is None and result.similar == []


@pytest.mark.parametrize(
    "given_knowledge",
    [{"caption": "a stage"}, {"knowledge": "Mira is a singer."}, {"knowledge": {"noun": "Mira", "cot_sentence": "x"}}],
)
def test_with_knowledge_the_knowledge_view_answers(given_knowledge: dict):
    predictor = ViewPredictor(finder())
    result = predictor.predict(TEXT, **given_knowledge)
    (expected,) = predictor.predictor([Post("1", TEXT, "here", columns=result.knowledge)], "knowledge")
    assert (result.view, list(result.views)) == ("knowledge", ["knowledge"])
    assert result.answer["entities"] == expected["entities"]
    assert sum(map(len, given_knowledge.values())) and result.knowledge
    assert predictor.predict(TEXT, view="prompt", **given_knowledge).answer == predictor.predict(TEXT).answer


def test_both_views_with_their_difference():
    predictor = ViewPredictor(finder())
    texts = [
        "Mira Holt sings at Quarry Lane",
        "so proud of the Fenwick Otters",
        "Dario and Mira walk near Tarn Bridge",
    ]
    results = [
        predictor.predict(text, caption="a stage at night " * times, view="both")
        for text in texts
        for times in (1, 5, 20)
    ]
    assert any(result.changes["entities"] for result in results)
    for result in results:
        assert (result.view, list(result.views)) == ("knowledge", ["prompt", "knowledge"])
        prompt, knowledge = (
            {(entity["start"], entity["end"], entity["type"]) for entity in result.views[view]["entities"]}
            for view in ("prompt", "knowledge")
        )
        changed = [change[view] for change in result.changes["entities"] for view in ("prompt", "knowledge")]
        assert {(e["start"], e["end"], e["type"]) for e in changed if e} == prompt ^ knowledge
        assert "relations" not in result.changes


def test_the_relation_of_a_pair():
    predictor = ViewPredictor(relater())
    assert predictor.task == "mre"
    results = [predictor.predict(TEXT, caption=f"a stage {n}" * n, view="both", **PAIR) for n in range(1, 6)]
    for result in results:
        before, after = (result.views[view]["relation"] for view in ("prompt", "knowledge"))
        assert before == predictor.predict(TEXT, **PAIR).answer["relation"]
        assert bool(result.changes["relations"]) == (before != after)
        assert "entities" not in result.changes


def test_triples_in_both_views():
    predictor = ViewPredictor(TripleExtractor(finder(), relater()))
    result = predictor.predict(TEXT, caption="a stage at night", view="both", attention=True)
    assert predictor.task == "triples" and set(result.changes) == {"entities", "relations"}
    assert result.answer["entities"] and "relations" in result.answer
    assert [TEXT[start:end] for start, end in result.attention.spans] == TEXT.split()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=60), st.text(max_size=30))
def test_offsets_index_the_original_string_and_results_are_json(shared, text: str, caption: str):
    result = shared.predict(text, caption=caption + "x", view="both", attention=True)
    assert result.text == text
    for view in result.views.values():
        for entity in view["entities"]:
            assert entity["text"] == text[entity["start"] : entity["end"]]
    json.dumps(result.as_dict())


@pytest.fixture(scope="module")
def shared() -> ViewPredictor:
    return ViewPredictor(TripleExtractor(finder(), relater()))


def test_a_picture_is_read_as_what_the_captioner_says(tmp_path: Path):
    from PIL import Image

    seen = []

    def captioner(image):
        seen.append((image.mode, image.size))
        return "a pier in the rain"

    path = tmp_path / "pier.png"
    Image.new("RGBA", (8, 6), (200, 0, 0, 128)).save(path)
    predictor = ViewPredictor(finder(), KnowledgeSource(captioner))
    for image in (path, str(path), Image.open(path)):
        result = predictor.predict(TEXT, image)
        assert (result.view, result.knowledge) == ("knowledge", {"caption": "a pier in the rain"})
    assert seen == [("RGB", (8, 6))] * 3
    assert predictor.predict(TEXT, path, "another caption").knowledge == {"caption": "another caption"}
    assert predictor.predict(TEXT, path, view="prompt").knowledge == {}
    assert len(seen) == 3


def test_pictures_that_can_not_be_read(tmp_path: Path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(SettingError, match="no captioner"):
        ViewPredictor(finder()).predict(TEXT, tmp_path / "broken.png")
    with pytest.raises(KnowledgeError, match="corrupt"):
        ViewPredictor(finder(), KnowledgeSource(lambda image: "x")).predict(TEXT, tmp_path / "broken.png")
    from PIL import Image

    refusing = KnowledgeSource(lambda image: ImageProblem("refused", "no"))
    with pytest.raises(KnowledgeError, match="refused"):
        ViewPredictor(finder(), refusing).predict(TEXT, Image.new("RGB", (4, 4)))


def test_knowledge_that_the_model_does_not_read_is_told():
    predictor = ViewPredictor(finder(knowledge=ViewSettings(("caption",))))
    result = predictor.predict(TEXT, caption="a stage", knowledge="Mira is a singer.")
    assert result.knowledge == {"caption": "a stage"} and result.problems == ["The model does not read cot_sentence."]
    with pytest.raises(SettingError, match="it reads caption"):
        predictor.predict(TEXT, knowledge="Mira is a singer.")
    with pytest.raises(SettingError, match="without knowledge"):
        ViewPredictor(finder(knowledge=ViewSettings(()))).predict(TEXT, caption="a stage")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"view": "image"}, "no view 'image'"),
        ({"view": "both"}, "nothing for the knowledge view"),
        ({"view": "knowledge", "caption": "  "}, "nothing for the knowledge view"),
        ({"knowledge": {"verb": "x"}}, "no knowledge called 'verb'"),
        ({"knowledge": {"noun": 3}}, "is a int"),
        ({"head": (0, 4)}, "finds the entities itself"),
        ({"similar": 2}, "no training posts"),
    ],
)
def test_wrong_calls(shared, call: dict, message: str):
    with pytest.raises(SettingError, match=message):
        shared.predict(TEXT, **call)


@pytest.mark.parametrize(
    "span", [(3, 3), (-1, 2), (0, 10_000), (20, 22), None, "i", {"from": 0}, (0, 1, 2), slice(0, 4), ("a", "b")]
)
def test_wrong_pairs(span):
    text = "Mira Holt sings here  "
    with pytest.raises(SettingError, match="head"):
        ViewPredictor(relater()).predict(text, head=span, tail=(0, 4))


@pytest.mark.parametrize(
    "head", [[0, 9], {"start": 0, "end": 9}, "Mira Holt", (0.0, 9.0)], ids=["list", "record", "mention", "floats"]
)
def test_every_form_of_a_span(head):
    predictor = ViewPredictor(relater())
    assert predictor.predict(TEXT, head=head, tail=PAIR["tail"]).answer == predictor.predict(TEXT, **PAIR).answer


def test_a_folder_says_what_its_knowledge_view_reads(tmp_path: Path):
    model = saved(tmp_path / "model")
    assert ViewPredictor.from_folder(model).columns == ("caption", "cot_noun", "cot_sentence", "cot_multimodality")
    (model / "run.json").write_text(json.dumps({"knowledge_columns": ["cot_noun", "caption"], "max_length": 48}))
    predictor = ViewPredictor.from_folder(model)
    assert predictor.columns == ("caption", "cot_noun")
    assert predictor.predictor.knowledge == ViewSettings(("cot_noun", "caption"), 48)
    assert load_predictor(str(model), knowledge_columns=["caption"])[0].knowledge.knowledge_columns == ("caption",)
    both = ViewPredictor.from_folder(model, relations=saved(tmp_path / "mre", CoTPDForRelationExtraction), nearest=3)
    assert both.task == "triples" and both.predictor.nearest == 3
    with pytest.raises(DataError, match=r"dataset\.json"):
        ViewPredictor.from_folder(model, dataset_dir=tmp_path)


def entity(start: int, end: int, kind: str = "PER", score: float = 0.9) -> dict:
    return {"start": start, "end": end, "type": kind, "score": score, "text": "x" * (end - start)}


def kinds(changes: list[dict]) -> list[tuple]:
    def span(side):
        return side and (side["start"], side["end"], side["type"])

    return [(change["kind"], span(change["prompt"]), span(change["knowledge"])) for change in changes]


def test_equal_views_differ_in_nothing_whatever_their_scores():
    assert entity_changes([entity(0, 4), entity(9, 12)], [entity(0, 4, score=0.1), entity(9, 12)]) == []


def test_every_kind_of_change_in_the_order_of_the_text():
    prompt = [entity(0, 4), entity(10, 14, "ORG"), entity(20, 29), entity(40, 44)]
    knowledge = [entity(0, 4), entity(10, 14, "LOC"), entity(20, 24, "MISC"), entity(50, 54)]
    assert kinds(entity_changes(prompt, knowledge)) == [
        ("type", (10, 14, "ORG"), (10, 14, "LOC")),
        ("span", (20, 29, "PER"), (20, 24, "MISC")),
        ("removed", (40, 44, "PER"), None),
        ("added", None, (50, 54, "PER")),
    ]


def test_of_two_that_overlap_the_one_that_shares_more_is_meant():
    changes = entity_changes([entity(0, 10)], [entity(0, 3), entity(4, 10)])
    assert kinds(changes) == [("added", None, (0, 3, "PER")), ("span", (0, 10, "PER"), (4, 10, "PER"))]


def test_the_relation_of_one_pair():
    before, after = {"relation": "None", "score": 0.5}, {"relation": "/per/loc", "score": 0.6}
    assert relation_changes(before, dict(before, score=0.9)) == []
    (change,) = relation_changes(before, after)
    assert (change["kind"], change["prompt"]["relation"], change["knowledge"]["relation"]) == (
        "relation",
        "None",
        "/per/loc",
    )


def triples(entities: list[dict], *relations: tuple[int, int, str]) -> dict:
    rows = [{"head": head, "tail": tail, "relation": name, "score": 0.5} for head, tail, name in relations]
    return {"entities": entities, "relations": rows}


def test_relations_between_entities_are_told_by_their_spans():
    before = triples([entity(0, 4), entity(9, 12), entity(20, 24)], (0, 1, "a"), (0, 2, "b"), (1, 2, "c"))
    after = triples([entity(0, 4), entity(20, 24)], (0, 1, "d"), (1, 0, "e"))
    changes = relation_changes(before, after)
    assert [change["kind"] for change in changes] == ["removed", "relation", "removed", "added"]
    assert changes[1]["prompt"]["tail"] == changes[1]["knowledge"]["tail"] == (20, 24)


def test_an_entity_whose_span_moved_keeps_its_relations():
    before = triples([entity(0, 4), entity(9, 19)], (0, 1, "a"))
    after = triples([entity(0, 4), entity(9, 14)], (0, 1, "a"))
    assert relation_changes(before, after) == []

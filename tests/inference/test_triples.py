"""Triples are the two predictors, one behind the other."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.inference_models import RELATIONS, made, saved
from support.tiny_models import TOKENIZER_KINDS

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.posts import Post
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference import triples
from modeling_cotpd.inference.predictor import EntityPredictor, RelationPredictor
from modeling_cotpd.inference.triples import TripleExtractor, types_fit

TEXTS = [
    "Mira Holt 🎤 sings at Quarry Lane \ud83d with Dario",
    "",
    "no",
    "RT @ mira_holt : new single\tout on Friday #otters",
]


def extractor(kind: str = "wordpiece", positions: int = 300, **changes) -> TripleExtractor:
    finder = EntityPredictor(*made(CoTPDForTokenClassification, kind, positions))
    relater = RelationPredictor(*made(CoTPDForRelationExtraction, kind, positions, id2label=RELATIONS, num_labels=3))
    return TripleExtractor(finder, relater, **changes)


def posts(texts: list[str]) -> list[Post]:
    return [Post(str(number), text, "here") for number, text in enumerate(texts)]


@pytest.fixture(scope="module", params=sorted(TOKENIZER_KINDS))
def shared(request: pytest.FixtureRequest) -> TripleExtractor:
    return extractor(request.param, nearest=50)


def expected_relations(extract: TripleExtractor, post: Post, entities: list[dict]) -> list[tuple]:
    """Each ordered pair asked on its own."""
    found = []
    for head, tail in itertools.permutations(range(len(entities)), 2):
        spans = [(entities[number]["start"], entities[number]["end"]) for number in (head, tail)]
        (answer,) = extract.relation_predictor([Post("1", post.text, "here", *spans)])
        if answer["relation"] != "None":
            found.append((head, tail, answer["relation"]))
    return sorted(found)


def test_entities_of_the_one_and_relations_of_the_other(shared):
    given_posts = posts(TEXTS)
    results = shared(given_posts)
    some = 0
    for post, result, alone in zip(given_posts, results, shared.entity_predictor(given_posts), strict=True):
        assert (result["id"], result["text"], result["entities"]) == (post.id, post.text, alone["entities"])
        found = sorted((row["head"], row["tail"], row["relation"]) for row in result["relations"])
        assert found == expected_relations(shared, post, result["entities"])
        assert "unread_pairs" not in result
        some += len(found)
    assert some


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(max_size=40), max_size=4))
def test_offsets_index_the_original_string_whatever_it_holds(shared, texts: list[str]):
    for text, result in zip(texts, shared(posts(texts)), strict=True):
        assert result["text"] == text
        for entity in result["entities"]:
            assert 0 <= entity["start"] <= entity["end"] <= len(text)
            assert entity["text"] == text[entity["start"] : entity["end"]]
        for row in result["relations"]:
            assert row["head"] != row["tail"] and max(row["head"], row["tail"]) < len(result["entities"])


def test_weak_relations_are_left_out():
    every = [row for result in extractor()(posts(TEXTS)) for row in result["relations"]]
    border = sorted(row["score"] for row in every)[len(every) // 2]
    strong = [row for result in extractor(min_score=border)(posts(TEXTS)) for row in result["relations"]]
    assert strong == [row for row in every if row["score"] >= border] and 0 < len(strong) < len(every)


def test_relations_that_do_not_fit_their_entities_are_left_out(monkeypatch: pytest.MonkeyPatch):
    extract, fitting = extractor(check_types=False), extractor()
    names = ["None", "/per/loc/born_in", "near"]
    for one in (extract, fitting):
        one.relation_predictor.label_names = names
    for result, kept in zip(extract(posts(TEXTS)), fitting(posts(TEXTS)), strict=True):
        types = [entity["type"] for entity in result["entities"]]
        assert kept["relations"] == [
            row
            for row in result["relations"]
            if row["relation"] == "near" or [types[row["head"]], types[row["tail"]]] == ["PER", "LOC"]
        ]


@pytest.mark.parametrize(
    ("relation", "head", "tail", "fits"),
    [
        ("/per/loc/place_of_birth", "PER", "LOC", True),
        ("/per/loc/place_of_birth", "LOC", "PER", False),
        ("/misc/misc/part_of", "OTHER", "MISC", True),
        ("lives_in", "ORG", "ORG", True),
        ("a/b/c/d", "ORG", "ORG", True),
    ],
)
def test_types(relation: str, head: str, tail: str, fits: bool):
    assert types_fit(relation, head, tail) is fits


def test_pairs_without_an_answer_are_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(triples, "PAIRS_AT_ONCE", 7)
    text = "Mira Holt sings at Quarry Lane tonight with Dario . " * 30
    (result,) = extractor(positions=40, nearest=2)(posts([text]))
    count = len(result["entities"])
    near = 2 * (2 * count - 3)
    assert count > 20 and result["unread_pairs"] >= count * (count - 1) - near
    for row in result["relations"]:
        assert abs(row["head"] - row["tail"]) <= 2
    whole = extractor(positions=40)
    (again,) = whole(posts(["Mira Holt sings at Tarn Bridge " + "! " * 60 + "Mira Holt sings at Tarn Bridge"]))
    assert again["unread_pairs"] > 0


def test_settings_are_checked(tmp_path: Path):
    with pytest.raises(SettingError, match="probability"):
        extractor(min_score=1.5)
    with pytest.raises(SettingError, match="at least 1"):
        extractor(nearest=0)
    model = saved(tmp_path / "entities")
    with pytest.raises(SettingError, match="for mner, and one for mre is needed"):
        TripleExtractor.from_folders(model, model)


def test_results_are_json(shared):
    for result in shared(posts(TEXTS)):
        assert json.loads(json.dumps(result)) == result

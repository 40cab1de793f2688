"""Listed mentions found in a post, and which of them are entities."""

import random

import numpy as np
import pytest
from support.listed_posts import TAGS, make_posts

from modeling_cotpd.data.glosses import MAX_GLOSSES
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.knowledge.list_labels import (
    NO_GLOSS,
    NOT_AN_ENTITY,
    NOT_FOUND,
    OVERLAP,
    REPEATED,
    ListedMention,
    ListLabeller,
    bio_tags,
    calibration_error,
    found_entities,
    read_list,
    resolve,
)


def listed(*pairs):
    return [{"mention": mention, "gloss": gloss} for mention, gloss in pairs]


def scored(start, end, kind, score):
    return ListedMention("m", "g", start, end, ("x",), kind, score)


def test_every_occurrence_is_a_candidate_and_overlapping_ones_are_kept():
    tokens = ["Lindmere", "City", "met", "Mira", "Holt", "in", "Lindmere"]
    row = read_list(tokens, listed(("Lindmere City", "club"), ("lindmere", "town"), ("Mira Holt", "singer")))
    assert [(each.start, each.end, each.gloss) for each in row] == [
        (0, 2, "club"), (0, 1, "town"), (6, 7, "town"), (3, 5, "singer"),
    ]  # fmt: skip
    assert all(each.features and not each.reason for each in row)


@pytest.mark.parametrize(
    ("tokens", "place"),
    [
        (["#", "MiraHolt", "!"], (1, 2)),
        (["#MiraHolt", "!"], (0, 1)),
        (["so", "@Mira_Holt"], (1, 2)),
        (["(Mira", "Holt)"], (0, 2)),
        (["MIRA", "HOLT'S"], (0, 2)),
    ],
)
def test_a_mention_covers_the_words_that_it_touches(tokens, place):
    (found,) = read_list(tokens, listed(("Mira Holt", "singer")))
    assert (found.start, found.end) == place


def test_what_has_no_place_says_why():
    row = read_list(["Mira", "sings"], listed(("Varro", "poet"), ("Mira", " "), ("Mira", "singer"), ("MIRA", "girl")))
    assert [(each.start, each.reason, bool(each.features)) for each in row] == [
        (-1, NOT_FOUND, False), (-1, NO_GLOSS, False), (0, "", True), (0, REPEATED, False),
    ]  # fmt: skip


def test_a_list_longer_than_any_real_one_is_cut():
    assert len(read_list(["a"], listed(("b", "c")) * (MAX_GLOSSES + 9))) == MAX_GLOSSES


def test_features_tell_gloss_shape_handle_hashtag_place_and_neighbours():
    (name,) = read_list(["Hello", "@", "MiraHolt7", "!"], listed(("MiraHolt7", "Person/Singer")))
    wanted = {
        "gloss word singer",
        "gloss part pers",
        "shape AaAa9",
        "hashtag False handle True",
        "previous @",
        "next !",
    }
    assert wanted <= set(name.features)
    (tag,) = read_list(["#Velm"], listed(("Velm", "city")))
    wanted = {"hashtag True handle False", "within words True False", "begins True ends True", "previous ^", "next $"}
    assert wanted <= set(tag.features)
    # the second letter of a word is not a mark before it
    (plain,) = read_list(["in", "Velm"], listed(("Velm", "city")))
    assert "hashtag False handle False" in plain.features


def test_of_overlapping_candidates_the_best_score_wins():
    row = [scored(0, 2, "ORG", 0.5), scored(1, 3, "LOC", 0.9), scored(2, 4, "PER", 0.6), scored(4, 5, "PER", 0.2)]
    resolve(row, 0.3)
    assert [each.reason for each in row] == [OVERLAP, "", OVERLAP, NOT_AN_ENTITY]
    resolve(row, 0.2)
    assert [each.reason for each in row] == [OVERLAP, "", OVERLAP, ""]
    assert found_entities(row) == [
        {"start": 1, "end": 3, "type": "LOC", "score": 0.9},
        {"start": 4, "end": 5, "type": "PER", "score": 0.2},
    ]
    assert bio_tags(row, 6) == ["O", "B-LOC", "I-LOC", "O", "B-PER", "O"]


def test_an_entity_below_the_threshold_blocks_none():
    row = [scored(0, 2, "ORG", 0.2), scored(1, 3, "LOC", 0.3)]
    resolve(row, 0.3)
    assert [each.reason for each in row] == [NOT_AN_ENTITY, ""]


@pytest.fixture(scope="module")
def labeller():
    return ListLabeller(make_posts(60, seed=0))


def one_post(tokens, *pairs):
    glosses = [{"mention": mention, "gloss": gloss} for mention, gloss in pairs]
    return make_split([{"id": "1", "tokens": tokens, "ner_tags": None, "glosses": glosses}], "mner", TAGS, "test")


def test_names_and_words_that_no_labelled_post_has_are_read_from_their_glosses(labeller):
    tokens = ["Zadie", "Brook", "reached", "Nordhaven", "before", "the", "storm", "with", "Pim"]
    (row,) = labeller(
        one_post(tokens, ("Zadie Brook", "singer"), ("Nordhaven", "harbour city"), ("storm", "weather/activity"))
    )
    assert [(each.type, each.reason) for each in row][:2] == [("PER", ""), ("LOC", "")]
    assert row[2].reason == NOT_AN_ENTITY
    # Pim is a name, but the list lacks it
    assert [(each["start"], each["end"]) for each in found_entities(row)] == [(0, 2), (3, 4)]


def test_scores_are_probabilities_of_the_type(labeller):
    rows = labeller(make_posts(20, seed=5))
    scores = [each.score for row in rows for each in row if each.features]
    assert len(scores) >= 60 and all(0 < score < 1 for score in scores)
    right = [each.score for row in rows for each in row if not each.reason]
    assert min(right) >= labeller.threshold > max(e.score for row in rows for e in row if e.reason == NOT_AN_ENTITY)


def test_labels_of_the_rows_are_not_read(labeller):
    with_tags, without = make_posts(12, seed=3), make_posts(12, seed=3, labelled=0)
    assert labeller(with_tags) == labeller(without)


def test_the_same_posts_give_the_same_scores(labeller):
    again = ListLabeller(make_posts(60, seed=0))
    assert again.report == labeller.report
    assert again(make_posts(5, seed=9)) == labeller(make_posts(5, seed=9))


def test_no_post_judges_itself_in_cross_validation():
    """Twice the same noise in every post: only a model that has seen the post could know its label."""
    draw = random.Random(0)
    rows = []
    for number in range(60):
        noise = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=8))
        tag = draw.choice(["B-PER", "B-LOC", "O"])
        glosses = [{"mention": f"{noise}{side}", "gloss": noise} for side in "xy"]
        tokens = [f"{noise}x", "and", f"{noise}y"]
        rows.append({"id": str(number), "tokens": tokens, "ner_tags": [tag, "O", tag], "glosses": glosses})
    split = make_split(rows, "mner", TAGS, "noise")
    noisy = ListLabeller(split)
    assert noisy.report["f1"] < 0.6
    gold = [{(0, 1, tag), (2, 3, tag)} if (tag := TAGS[row[0]][2:]) else set() for row in split["ner_tags"]]
    found = [{(each.start, each.end, each.type) for each in row if not each.reason} for row in noisy(split)]
    known = sum(len(one & other) for one, other in zip(gold, found, strict=True))
    assert known > 0.9 * sum(map(len, gold)), "the model has seen these posts"


def test_the_report_says_what_cross_validation_chose(labeller):
    report = labeller.report
    assert report["labelled_rows"] == 60 and report["candidates"] == 180
    assert report["threshold"] == labeller.threshold and report["threshold_chosen_by"] == "cross-validated F1"
    assert report["f1"] > 0.9 and 0 < report["calibration_error"] < 0.2


def test_a_threshold_that_is_given_is_used(labeller):
    posts = make_posts(20, seed=5)
    scores = sorted(each.score for row in labeller(posts) for each in row if not each.reason)
    middle = scores[len(scores) // 2]
    strict = ListLabeller(make_posts(60, seed=0), threshold=middle)
    assert strict.threshold == middle and strict.report["threshold_chosen_by"] == "the user"
    assert sum(map(len, map(found_entities, strict(posts)))) == sum(score >= middle for score in scores) < len(scores)


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 1.5])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(SettingError, match="threshold"):
        ListLabeller(make_posts(10, seed=0), threshold)


def without_lists(posts):
    return posts.map(lambda row: {"glosses": []})


@pytest.mark.parametrize("posts", [make_posts(3, seed=0), make_posts(0, seed=0), without_lists(make_posts(9, seed=0))])
def test_too_few_listed_mentions_are_refused(posts):
    with pytest.raises(DataError, match="too few to learn from"):
        ListLabeller(posts)


def test_one_class_alone_is_refused():
    posts = make_posts(30, seed=0).map(lambda row: {"ner_tags": [0] * len(row["tokens"])})
    with pytest.raises(DataError, match="too few to learn from"):
        ListLabeller(posts)


@pytest.mark.filterwarnings("error")
def test_a_type_that_one_post_has_is_allowed():
    rows = list(make_posts(30, seed=0))
    for number, row in enumerate(rows):
        row["ner_tags"] = [TAGS[0 if number and tag > 2 else tag] for tag in row["ner_tags"]]
    rare = make_split(rows, "mner", TAGS, "rare")
    found = [each.type for row in ListLabeller(rare)(rare) for each in row if not each.reason]
    assert found.count("LOC") == 30 and found.count("PER") <= 1


def test_posts_without_lists_have_no_entities(labeller):
    assert labeller(without_lists(make_posts(3, seed=0))) == [[], [], []]
    assert labeller(make_posts(0, seed=0)) == []


def test_calibration_error_by_hand():
    # ten candidates in ten bins of one: distances 0.3 (right at 0.7) and 0.6 (wrong at 0.6), five each
    scores = np.array([[0.7, 0.3]] * 5 + [[0.4, 0.6]] * 5) + np.linspace(0, 1e-6, 10)[:, None] * [[1, -1]]
    assert calibration_error(scores, np.zeros(10, dtype=int)) == pytest.approx(0.45, abs=1e-4)
    assert calibration_error(scores, np.array([0] * 5 + [1] * 5)) == pytest.approx(0.35, abs=1e-4)

import pytest

from modeling_cotpd.data.glosses import MAX_GLOSSES
from modeling_cotpd.knowledge.list_labels import (
    NO_GLOSS,
    NOT_AN_ENTITY,
    NOT_FOUND,
    OVERLAP,
    REPEATED,
    ListedMention,
    bio_tags,
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

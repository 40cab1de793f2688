"""Strict and lenient entities against seqeval."""

import random

import pytest
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2, Entities

from modeling_cotpd.data.bio import check_tag, entities, orphans, to_bio
from modeling_cotpd.errors import DataError


def test_orphans_and_both_readings():
    tags = ["I-PER", "I-PER", "O", "B-LOC", "I-LOC", "I-ORG", "B-LOC", "B-LOC"]
    assert orphans(tags) == [0, 5]
    assert entities(tags) == [("LOC", 3, 5), ("LOC", 6, 7), ("LOC", 7, 8)]
    assert entities(tags, lenient=True) == [
        ("PER", 0, 2),
        ("LOC", 3, 5),
        ("ORG", 5, 6),
        ("LOC", 6, 7),
        ("LOC", 7, 8),
    ]
    assert orphans([]) == [] and entities([]) == []


@pytest.mark.parametrize("seed", range(20))
def test_random_sequences_agree_with_seqeval(seed):
    chance = random.Random(seed)
    names = ["O", "B-A", "I-A", "B-B", "I-B"]
    for _ in range(50):
        tags = chance.choices(names, k=chance.randint(1, 9))
        lenient = [(kind, start, end + 1) for kind, start, end in get_entities(tags)]
        strict = [(found.tag, found.start, found.end) for found in Entities([tags], scheme=IOB2).entities[0]]
        assert entities(tags, lenient=True) == lenient
        assert entities(tags) == strict


@pytest.mark.parametrize(
    ("scheme", "tags", "bio"),
    [
        ("bio", "O I-PER B-LOC", "O I-PER B-LOC"),
        ("iob1", "I-PER I-PER B-PER I-LOC O I-LOC", "B-PER I-PER B-PER B-LOC O B-LOC"),
        ("bioes", "B-PER I-PER E-PER S-PER S-LOC O", "B-PER I-PER I-PER B-PER B-LOC O"),
        ("bioes", "B-PER L-PER U-PER", "B-PER I-PER B-PER"),
        ("bioes", "B-PER M-PER E-PER W-LOC", "B-PER I-PER I-PER B-LOC"),
        ("bioes", "E-PER I-PER O E-LOC", "B-PER B-PER O B-LOC"),
    ],
)
def test_other_schemes_as_bio(scheme, tags, bio):
    assert to_bio(tags.split(), scheme) == bio.split()
    for tag in tags.split():
        check_tag(tag, "here", scheme=scheme)


@pytest.mark.parametrize(("tag", "scheme"), [("S-PER", "bio"), ("E-PER", "iob1"), ("PER", "bioes"), ("B-", "bio")])
def test_tags_of_another_scheme_are_refused(tag, scheme):
    with pytest.raises(DataError, match=r"here: Unknown tag .*--tag-scheme"):
        check_tag(tag, "here", scheme=scheme)

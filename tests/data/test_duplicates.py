"""Equal and nearly equal posts."""

import itertools
import random

from modeling_cotpd.data.duplicates import MIN_WORDS, Pair, find_pairs, normalise


def words(text):
    return text.split()


def test_normalise():
    tokens = words("RT @ Ada_L : Rain OVER Leeds today ! http://t.co/1x https : //t . co/2y")
    assert normalise(tokens) == ("rain", "over", "leeds", "today")


def test_kinds():
    posts = [
        ("train", "1", words("Heavy rain over Leeds again today my friends")),
        ("train", "2", words("Heavy rain over Leeds again today my friends")),
        ("test", "3", words("@ada : HEAVY rain over Leeds again today my friends ! http://t.co/1")),
        ("test", "4", words("Heavy rain over York again today my friends")),
        ("test", "5", words("Heavy snow over York again today dear friends")),
        ("test", "6", words("Good morning")),
        ("test", "7", words("good morning !")),
    ]
    assert find_pairs(posts) == [
        Pair("train", "1", "train", "2", "exact"),
        Pair("train", "1", "test", "3", "normalised"),
        Pair("train", "2", "test", "3", "normalised"),
    ], "one word of eight differs: 7 of 9 are shared, below 0.8"
    near = [pair for pair in find_pairs(posts, near=0.75) if pair.kind == "near"]
    assert [(pair.a_id, pair.b_id) for pair in near] == [("1", "4"), ("2", "4"), ("3", "4")]


def test_near_pairs_equal_those_of_comparing_all():
    chance = random.Random(3)
    names = [f"w{i}" for i in range(12)]
    posts = [("s", str(i), chance.sample(names, chance.randint(3, 9))) for i in range(150)]
    for near in (0.5, 0.6, 0.8):
        wanted = set()
        for (_, a, left), (_, b, right) in itertools.combinations(posts, 2):
            x, y = set(left), set(right)
            if left == right or (min(len(x), len(y)) >= MIN_WORDS and len(x & y) >= near * len(x | y)):
                wanted.add((a, b))
        assert {(pair.a_id, pair.b_id) for pair in find_pairs(posts, near)} == wanted


def test_a_text_that_stands_very_often_stays_cheap():
    pairs = find_pairs([("s", str(i), words("the same five words again")) for i in range(5000)])
    assert len(pairs) < 100_000

import pytest

from modeling_cotpd.knowledge.mentions import find_mention

TOKENS = ["#", "Herons", "beat", "New", "Lind", "mere", ",", "herons", "OK", "'s", "New"]


@pytest.mark.parametrize(
    ("mention", "span"),
    [
        ("#Herons", (0, 2)),
        ("# Herons", (0, 2)),
        ("Herons", (1, 2)),
        ("herons", (7, 8)),
        ("HERONS", (1, 2)),
        ("New Lindmere", (3, 6)),
        ("OK's", (8, 10)),
        ("Heron", None),
        ("Lind", (4, 5)),
        ("mere , herons", (5, 8)),
        ("", None),
        ("  ", None),
        ("Kettle Bay", None),
    ],
)
def test_mentions_are_found_as_whole_tokens(mention, span):
    assert find_mention(TOKENS, mention, [False] * len(TOKENS)) == span


def test_a_taken_span_gives_way_to_the_next():
    taken = [False] * len(TOKENS)
    taken[3] = True
    assert find_mention(TOKENS, "New", taken) == (10, 11)
    assert find_mention(TOKENS, "New Lindmere", taken) is None

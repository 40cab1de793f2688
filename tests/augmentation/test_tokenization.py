import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_cotpd.augmentation.tokenization import Tokenization, detokenize, find_tokenization, tokenize

APART = Tokenization()
GLUED = Tokenization(frozenset(), hyphens_apart=False)
CLITICS = Tokenization(frozenset({"#"}), clitics=True, ellipsis_whole=True)


@pytest.mark.parametrize(
    "manner, text, tokens",
    [
        (APART, "RT @mira_holt: it's #OttersWin!", "RT @ mira_holt : it ' s # OttersWin !"),
        (GLUED, "RT @mira_holt: it's #OttersWin!", "RT @mira_holt : it ' s #OttersWin !"),
        (CLITICS, "RT @mira: it's... don't #Win", "RT @ mira : it 's ... do n't # Win"),
        (APART, "well-known, 10,000 at 5.30", "well - known , 10,000 at 5.30"),
        (GLUED, "well-known https://tarn.example/a?b=1 !", "well-known https://tarn.example/a?b=1 !"),
        (APART, "🎉🎉 so… (yes)", "🎉 🎉 so … ( yes )"),
        (APART, "मीरा होल्ट", "मीरा होल्ट"),
    ],
)
def test_tokens_in_each_manner(manner, text, tokens):
    if manner is CLITICS:
        tokens = tokens.replace("@ mira", "@mira")
    assert tokenize(text, manner) == tokens.split()


def test_the_manner_is_found_in_the_tokens():
    assert find_tokenization([["RT", "@", "a", "#", "b", "X", "-", "Ray", "it", "'", "s"]]) == APART
    assert find_tokenization([["RT", "@a", "#b", "X-Ray"], ["#"], ["#c"]]) == GLUED
    assert find_tokenization([["@a", "#", "b", "it", "'s", "..."]]) == CLITICS
    assert find_tokenization([]) == APART


def test_detokenized_text_reads_as_written():
    tokens = ["RT", "@", "mira", ":", "Otters", "'", "s", "day", "(", "yes", ")", "!", "#", "win", "it", "'s"]
    assert detokenize(tokens) == "RT @mira: Otters's day (yes)! #win it's"


@given(st.lists(st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=6), min_size=1))
def test_detokenizing_changes_nothing_but_spaces(tokens):
    assert detokenize(tokens).replace(" ", "") == "".join(tokens)


@given(st.text(max_size=60), st.sampled_from([APART, GLUED, CLITICS]))
def test_tokenizing_loses_nothing_but_spaces(text, manner):
    tokens = tokenize(text, manner)
    assert "".join(tokens) == "".join(text.split())
    assert all(tokens)

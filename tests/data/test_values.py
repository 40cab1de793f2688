"""Single values as files and pandas give them."""

import pytest

from modeling_cotpd.data.values import id_of, span_of, text_of, token_list, whole_number
from modeling_cotpd.errors import DataError


@pytest.mark.parametrize(
    ("value", "id"), [("a", "a"), (17, "17"), (17.0, "17"), (None, None), (float("nan"), None), ("017", "017")]
)
def test_ids(value, id):
    assert id_of(value, "here") == id


@pytest.mark.parametrize("value", [True, 1.5, ["a"], {"a": 1}])
def test_ids_that_are_none(value):
    with pytest.raises(DataError, match=r"here: The id is .*a string or a whole number"):
        id_of(value, "here")


def test_an_id_that_lost_digits_is_refused():
    with pytest.raises(DataError, match=r"lost digits.*dtype=\{'id': str\}"):
        id_of(1.0e18, "here")
    assert id_of(10**18, "here") == "1000000000000000000"


def test_texts(caplog):
    assert text_of(None, "caption", "here") == text_of(float("nan"), "caption", "here") == ""
    assert text_of("\ud83d\ude00", "caption", "here") == "\U0001f600" and not caplog.text
    assert text_of("so \ud83d cool", "caption", "here") == "so \ufffd cool"
    assert "here: half of a surrogate pair in 'caption'" in caplog.text
    with pytest.raises(DataError, match="here: The column 'caption' holds a list"):
        text_of(["x"], "caption", "here")


def test_numbers_and_tokens():
    assert [whole_number(value) for value in (2, 2.0, 2.5, True, "2", None)] == [2, 2, None, None, None, None]
    assert token_list(["Ada", "\ude00"], "here") == ["Ada", "\ufffd"]
    for value in ("Ada", ["Ada", 2], None):
        with pytest.raises(DataError, match="does not hold a list of strings"):
            token_list(value, "here")


@pytest.mark.parametrize("value", [[0, 2], (0, 2), [0.0, 2.0], {"start": 0, "end": 2}, {"name": "Ada", "pos": [0, 2]}])
def test_spans(value):
    assert span_of(value, "head", "here") == (0, 2)


@pytest.mark.parametrize("value", [None, "Ada", [0], [0, None], [0, 1.5], {"start": 0}, [True, 2], 3])
def test_spans_that_are_none(value):
    with pytest.raises(DataError, match=r'here: .head. is .*not a span.*"head": \[0, 2\]'):
        span_of(value, "head", "here")

import pytest

from modeling_cotpd.augmentation.entity import read_verdict


@pytest.mark.parametrize("text", ["yes", "Yes.", "**Yes**, it is possible.", "The answer is yes.", "YES\nNo doubt."])
def test_yes(text):
    assert read_verdict(text) is True


@pytest.mark.parametrize("text", ["no", "No, a river cannot sing.", "- No", "I would say no."])
def test_no(text):
    assert read_verdict(text) is False


@pytest.mark.parametrize(
    "text", ["", "Maybe", "It may be yes or no.", "Nothing is known", "No one can tell", "Yesterday"]
)
def test_unclear(text):
    assert read_verdict(text) is None

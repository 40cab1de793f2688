"""Texts that say that there is nothing to say."""

import pytest

from modeling_cotpd.data.refusals import find_refusal


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("I'm sorry, but I can't help with that picture.", "refusal"),
        ("I’m sorry, I cannot name people in pictures.", "refusal"),
        ("Sorry, there is no image for me to look at.", "refusal"),
        ("As an AI, I am unable to see pictures.", "refusal"),
        ("the video was removed at the wish of the copyright holder", "unavailable"),
        ("A screen that says: media not displayed", "unavailable"),
        ("The picture is a placeholder graphic.", "unavailable"),
        ("a sign that says sorry we are closed", None),
        ("I'm sorry we missed your birthday, says a card", None),
        ("a man can not find his hat", None),
        ("a lane was removed from the road", None),
        ("", None),
    ],
)
def test_wordings(text, kind):
    assert find_refusal(text) == kind

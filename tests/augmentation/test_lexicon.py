import pytest
from fictional import mner

from modeling_cotpd.augmentation.alignment import align
from modeling_cotpd.augmentation.candidate import Rejected
from modeling_cotpd.augmentation.lexicon import Lexicon

POST = mner("so proud of Holt", ("PER", "Holt"))
LEXICON = Lexicon(
    [
        POST,
        mner("Go Otters !", ("ORG", "Otters")),
        mner("May is in town , congrats", ("PER", "May")),
        mner("May be in May"),
    ]
)


def check(text):
    tokens = text.split()
    LEXICON.check(POST, tokens, align(POST, tokens))


@pytest.mark.parametrize(
    "text",
    [
        "Congrats Holt !",
        "Holt # winning",
        "SO PROUD OF HOLT TODAY",
        "Holt ! May it last",
        "Proud Holt",
        "Holt ! Amazing # Wow",
    ],
)
def test_harmless_rewrites(text):
    check(text)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("so proud of Mira Holt", "mention may be longer"),
        ("so proud of Holt Brightwater", "mention may be longer"),
        ("so proud of Holt and the # otters", "new mention"),
        ("so proud of Holt @ quarry", "new mention"),
        ("so proud of Holt @quarry", "new mention"),
        ("so proud of Holt and then Brightwater", "new name"),
    ],
)
def test_rewrites_that_seem_to_name_more(text, reason):
    with pytest.raises(Rejected, match=reason):
        check(text)

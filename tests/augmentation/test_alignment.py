import pytest
from fictional import mner, mre, posts
from hypothesis import given
from hypothesis import strategies as st

from modeling_cotpd.augmentation.alignment import align
from modeling_cotpd.augmentation.candidate import Rejected
from modeling_cotpd.augmentation.names import key_of
from modeling_cotpd.augmentation.posts import TrainingPosts
from modeling_cotpd.augmentation.tokenization import Tokenization, detokenize, tokenize
from modeling_cotpd.data.prepare import prepare

APART, GLUED = Tokenization(), Tokenization(frozenset(), hyphens_apart=False)
POST = mner(
    "Go # NewTarn and @ MiraHolt , says Dario Fenn", ("ORG", "NewTarn"), ("PER", "MiraHolt"), ("PER", "Dario Fenn")
)


def aligned(sample, text, manner=APART, **settings):
    tokens = tokenize(text, manner)
    return [(m.kind, " ".join(tokens[m.start : m.end])) for m in align(sample, tokens, **settings)]


def test_mentions_are_found_whatever_case_sign_and_spacing():
    assert aligned(POST, "DARIO FENN: I love New Tarn 🎉 #mira_holt") == [
        ("PER", "DARIO FENN"),
        ("ORG", "New Tarn"),
        ("PER", "mira_holt"),
    ]
    assert aligned(POST, "@DarioFenn says go newtarn, go Mira Holt!", GLUED) == [
        ("PER", "@DarioFenn"),
        ("ORG", "newtarn"),
        ("PER", "Mira Holt"),
    ]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("Go #NewTarn and @MiraHolt", "mention missing"),
        ("Go #NewTarns and @MiraHolt, says Dario Fenn", "mention missing"),
        ("Go New Tarn! #NewTarn @MiraHolt Dario Fenn", "mention repeated"),
    ],
)
def test_what_can_not_be_found_exactly_is_rejected(text, reason):
    with pytest.raises(Rejected, match=reason):
        aligned(POST, text)


def test_repeats_are_labelled_on_request():
    text = "Go New Tarn! #NewTarn @MiraHolt Dario Fenn"
    assert [kind for kind, _ in aligned(POST, text, label_repeats=True)] == ["ORG", "ORG", "PER", "PER"]


def test_a_name_within_a_longer_one_is_not_taken_for_it():
    post = mner("New Tarn and the New Tarn Otters", ("LOC", "New Tarn"), ("ORG", "New Tarn Otters"))
    assert aligned(post, "The New Tarn Otters play in New Tarn") == [("ORG", "New Tarn Otters"), ("LOC", "New Tarn")]
    with pytest.raises(Rejected, match="missing"):
        aligned(post, "The New Tarn Otters play")


@pytest.mark.parametrize(
    "post",
    [
        mner("Tarn and tarn", ("LOC", "Tarn")),
        mner("Tarn and Tarn", ("LOC", "Tarn"), ("PER", "Tarn")),
    ],
)
def test_a_name_that_is_not_always_the_same_entity_is_rejected(post):
    with pytest.raises(Rejected, match="not unique"):
        aligned(post, "Tarn or Tarn")


def test_ends_without_letters_come_along_where_they_are():
    post = mner("It is # Otters by Fenn Jr .", ("ORG", "# Otters"), ("PER", "Fenn Jr ."))
    assert aligned(post, "Fenn Jr. says #Otters") == [("PER", "Fenn Jr ."), ("ORG", "# Otters")]
    assert aligned(post, "Otters of Fenn Jr") == [("ORG", "Otters"), ("PER", "Fenn Jr")]


def test_a_mention_without_letters_is_rejected():
    with pytest.raises(Rejected, match="without letters"):
        aligned(mner("Go 🦦 go", ("ORG", "🦦")), "Go 🦦")


def test_head_and_tail_keep_their_order_and_place():
    post = mre("Fenn leads Otters ; Fenn sings", "Otters", "Fenn", "None")
    assert aligned(post, "Fenn sings and Fenn leads the #Otters") == [("", "Otters"), ("", "Fenn")]
    assert align(post, tokenize("Fenn sings, Fenn leads Otters", APART))[1].start == 0
    with pytest.raises(Rejected, match="repeated"):
        aligned(post, "Fenn, Fenn, Fenn and the Otters")
    with pytest.raises(Rejected, match="missing"):
        aligned(post, "Fenn leads the Otters")


def test_head_and_tail_of_one_name_can_not_be_told_apart():
    with pytest.raises(Rejected, match="same name"):
        align(mre("Fenn is @fenn", "Fenn", "@fenn", "None"), ["Fenn", "is", "@fenn"])


@given(posts(), st.sampled_from([str, str.upper]))
def test_an_accepted_alignment_has_every_mention_once_with_its_type_and_name(sample, change):
    tokens = tokenize(change(detokenize(sample.tokens)), APART)
    try:
        mentions = align(sample, tokens)
    except Rejected:
        return
    assert len(mentions) == len(sample.mentions)
    taken = [place for mention in mentions for place in range(mention.start, mention.end)]
    assert len(taken) == len(set(taken))
    names = sorted((m.kind, sample.key(m).casefold()) for m in sample.mentions)
    assert sorted((m.kind, key_of(tokens[m.start : m.end]).casefold()) for m in mentions) == names


@pytest.mark.slow
def test_real_posts_align_with_themselves(real_data, tmp_path):
    prepare("twitter2017", real_data / "twitter2017", tmp_path / "data")
    training = TrainingPosts(tmp_path / "data")
    assert training.manner == APART
    unsure = 0
    for sample in training.samples:
        tokens = tokenize(detokenize(sample.tokens), training.manner)
        try:
            found = align(sample, tokens)
        except Rejected:
            unsure += 1
            continue
        assert ["".join(tokens[m.start : m.end]) for m in found] == [
            "".join(sample.tokens[m.start : m.end]) for m in sample.mentions
        ]
    assert unsure <= 0.005 * len(training.samples)

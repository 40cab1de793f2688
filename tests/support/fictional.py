"""Fictional posts, plans and answers for the tests of augmentation."""

from collections.abc import Callable

from hypothesis import strategies as st

from modeling_cotpd.augmentation.plan import AugmentPlan
from modeling_cotpd.augmentation.sample import Sample, read_sample
from modeling_cotpd.data.schema import bio_label_names
from modeling_cotpd.knowledge.answer import ANSWERED, Answer
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.prompt import load_prompts
from modeling_cotpd.knowledge.request import Job, Request, replay

LABELS = bio_label_names(["PER", "ORG", "LOC"])
RELATIONS = ["None", "/per/org/member_of", "/per/per/peer", "/per/per/alternate_names"]
KNOWLEDGE = {
    "caption": "mira holt on a stage",
    "cot_noun": "1. Mira Holt (singer) 2. Tarn (town)",
    "cot_sentence": "Mira Holt sings in Tarn. Holt's fans post as #MiraHolt.",
    "cot_multimodality": "The picture shows the stage.",
}


def mner(text: str, *mentions: tuple[str, str], id: str = "p1", **columns: str) -> Sample:
    """A sample from spaced tokens and (type, spaced tokens of the mention), in order."""
    tokens = text.split()
    tags, place = ["O"] * len(tokens), 0
    for kind, mention in mentions:
        words = mention.split()
        while tokens[place : place + len(words)] != words:
            place += 1
        tags[place : place + len(words)] = [f"B-{kind}", *[f"I-{kind}"] * (len(words) - 1)]
        place += len(words)
    return read_sample(mner_row(id, tokens, tags, **columns), "mner")


def mner_row(id: str, tokens: list[str], tags: list[str] | None, **columns: str) -> dict:
    return {"id": id, "tokens": tokens, "ner_tags": tags, "image": "1.jpg", **dict.fromkeys(KNOWLEDGE, ""), **columns}


def mre(text: str, head: str, tail: str, relation: str | None, id: str = "r1", **columns: str) -> Sample:
    """A sample from spaced tokens; head and tail are the first spans that read so."""
    tokens = text.split()

    def span(mention: str) -> dict:
        words = mention.split()
        start = next(place for place in range(len(tokens)) if tokens[place : place + len(words)] == words)
        return {"start": start, "end": start + len(words)}

    row = {"id": id, "tokens": tokens, "head": span(head), "tail": span(tail), "relation": relation, "image": "1.jpg"}
    return read_sample({**row, **dict.fromkeys(KNOWLEDGE, ""), **columns}, "mre")


def plan(**settings: object) -> AugmentPlan:
    """A plan with an endpoint that is never reached."""
    teacher = EndpointSettings("stub", base_url="http://127.0.0.1:9/v1")
    return AugmentPlan(**{"prompts": load_prompts(), "settings": teacher, **settings})


def answered(text: str) -> Answer:
    """A real answer, as a store gives it."""
    return Answer(ANSWERED, text, response="{}", attempts=1)


def drive(talk, answers: Callable[[Request], str | Answer]):
    """The result of a conversation whose answers a function gives, as texts or as `Answer`s; and what was asked."""
    asked: list[Request] = []

    def answer(request: Request) -> Answer:
        asked.append(request)
        text = answers(request)
        return answered(text) if isinstance(text, str) else text

    return replay(Job("post", lambda: talk), answer), asked


def spans_of(row: dict) -> list[tuple[str, str]]:
    """(type, text) of the mentions of a record."""
    task = "mre" if "head" in row else "mner"
    sample = read_sample(row, task)
    return [(m.kind, " ".join(row["tokens"][m.start : m.end])) for m in sample.mentions]


TOKENS = ["Mira", "Holt", "Tarn", "Otters", "Fenn", "U.S.", "NBA", "@mira", "#Tarn", "go", "the", "s", "win", "10,000"]
WORDS = st.sampled_from([*TOKENS, ",", "!", "#", "@", "'", "-", "🎉"])


@st.composite
def posts(draw) -> Sample:
    """Random MNER posts: any tokens, mentions anywhere, beside one another too."""
    tokens = draw(st.lists(WORDS, min_size=1, max_size=12))
    starts = sorted(draw(st.sets(st.integers(0, len(tokens) - 1), max_size=4)))
    tags = ["O"] * len(tokens)
    for start, bound in zip(starts, [*starts[1:], len(tokens)][: len(starts)], strict=True):
        end, kind = draw(st.integers(start + 1, min(bound, start + 3))), draw(st.sampled_from(["PER", "ORG"]))
        tags[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
    return read_sample(mner_row("p", tokens, tags, **KNOWLEDGE), "mner")

"""Texts that decline to answer, and texts that only look like it."""

import ast
import json

import pytest

from modeling_cotpd.data.refusals import is_refusal, refusal_kind

REFUSALS = [
    "I am sorry, but I can't help with that.",
    "**I'm sorry, but I can't assist.**",
    "I’m sorry—I can’t assist with that.",
    "Sorry! I can't assist with that.",
    "Sorry, but I can't do that.",
    "I'm sorry, I can't.",
    "I'm afraid I can't help with that.",
    "Hi, unfortunately I'm not able to identify the person in this image.",
    "I cannot and will not help with that.",
    "I won't be able to help with that.",
    "I don't feel comfortable describing this.",
    "I must respectfully decline to answer.",
    "As an AI developed by Tarn Labs, I don't have the ability to see images.",
    "\u201cI can\u2019t help with that.\u201d",
    "Sorry, there is no image for me to look at.",
    "Je suis désolé, mais je ne peux pas vous aider.",
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Não posso ajudar com isso.",
    "Mi dispiace, ma non posso aiutarti.",
    "Sorry, daar kan ik niet mee helpen.",
    "Niestety nie mogę w tym pomóc.",
    "Извините, я не могу помочь с этим.",
    "Tyvärr kan jag inte hjälpa till med det.",
    "Üzgünüm, bu konuda yardımcı olamam.",
    "Maaf, saya tidak dapat membantu.",
    "Xin lỗi, tôi không thể giúp.",
    "很抱歉，我无法回答这个问题。",
    "申し訳ありませんが、お手伝いできません。",
    "죄송하지만 도와드릴 수 없습니다.",
    "عذرًا، لا أستطيع المساعدة في ذلك.",
]
ANSWERS = [
    "Sorry is a song by Halsey.",
    "I'm sorry for your loss is what one says to mourners.",
    "Sorry I can't make it tonight @mira",
    "Sorry Mom, I can't talk right now",
    "I can't see the sun today",
    "We can't provide enough thanks to our fans",
    "I can't help falling in love with Lindmere",
    "I won't complete the marathon",
    "I'm sorry but this is the best goal ever",
    "Unfortunately, the sentence does not name any person.",
    "No, that is not possible.",
    'The writer says "I can\'t help it".',
    "Leider regnet es in Lindmere",
    "désolé pour le retard",
    "Lo siento mucho por tu pérdida",
    "a man can not find his hat",
    "",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals(text):
    assert is_refusal(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_answers(text):
    assert not is_refusal(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("I'm sorry, but I can't help with that picture.", "refusal"),
        ("I’m sorry, I cannot name people in pictures.", "refusal"),
        ("the video was removed at the wish of the copyright holder", "unavailable"),
        ("A screen that says: media not displayed", "unavailable"),
        ("The picture is a placeholder graphic.", "unavailable"),
        ("a sign that says sorry we are closed", None),
        ("I'm sorry we missed your birthday, says a card", None),
        ("a lane was removed from the road", None),
        ("", None),
    ],
)
def test_kinds(text, kind):
    assert refusal_kind(text) == kind


def test_real_posts_and_explanations_give_no_false_alarm(real_data):
    texts = []
    for path in real_data.glob("twitter*/*.txt"):
        for post in path.read_text("utf-8").split("\n\n"):
            texts.append(" ".join(line.split("\t")[0] for line in post.strip().split("\n")[1:]))
    for path in real_data.glob("mnre/mnre_*.txt"):
        texts += [" ".join(ast.literal_eval(line)["token"]) for line in path.read_text("utf-8").splitlines()]
    for path in real_data.glob("twitter*/knowledge.*.jsonl"):
        for line in path.read_text("utf-8").splitlines():
            texts += [text for name, text in json.loads(line).items() if name != "id"]
    assert len(texts) > 40_000
    assert [text for text in texts if is_refusal(text)] == []

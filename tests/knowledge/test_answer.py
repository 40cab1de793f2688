import json

import pytest
from stub_server import completion

from modeling_cotpd.knowledge.answer import MalformedAnswer, is_refusal, read_answer


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (completion("Varro Quill keeps goal."), "answered", "Varro Quill keeps goal."),
        (completion("  \n"), "empty", "  \n"),
        (completion(None), "empty", ""),
        (completion("Varro Quill ke", "length"), "cut", "Varro Quill ke"),
        (completion("", "length"), "cut", ""),
        (completion("", "content_filter"), "refused", ""),
        (completion(None, refusal="I will not."), "refused", ""),
        (completion("I'm sorry, but I can't identify people in pictures."), "refused", None),
        (completion("I’m sorry, I can’t help with that."), "refused", None),
        (completion("I am unable to view images."), "refused", None),
    ],
)
def test_kinds_of_answers_are_told_apart(body, status, text):
    answer = read_answer(json.dumps(body))
    assert answer.status == status
    assert answer.text == (body["choices"][0]["message"]["content"] if text is None else text)
    assert bool(answer.reason) == (status != "answered")
    assert (answer.prompt_tokens, answer.completion_tokens) == (20, 10)


@pytest.mark.parametrize(
    "text",
    [
        "Sorry is a song.",
        "I'm sorry for your loss is what one says to mourners.",
        "No, that is not possible.",
        'The writer says "I can\'t help it".',
    ],
)
def test_explanations_about_sorrow_are_no_refusals(text):
    assert not is_refusal(text)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html></html>",
        '{"choices": [{"mess',
        "[]",
        "null",
        '"text"',
        '{"error": {"message": "overloaded"}}',
        '{"choices": []}',
        '{"choices": [{"message": null}]}',
        '{"choices": [{"message": {"content": 3}}]}',
        '{"choices": [{"message": {"content": "a"}}], "usage": []}x',
        '{"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": "many"}}',
    ],
)
def test_bodies_that_are_no_completion_are_malformed(body):
    with pytest.raises(MalformedAnswer, match=r"the body is no|content is not a text"):
        read_answer(body)


def test_usage_may_be_missing():
    assert read_answer('{"choices": [{"message": {"content": "a"}}]}').completion_tokens == 0

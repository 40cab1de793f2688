import json

import pytest
from support.stub_server import completion

from modeling_cotpd.knowledge.answer import Answer, MalformedAnswer, read_answer, visible_text


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (completion("Varro Quill keeps goal."), "answered", "Varro Quill keeps goal."),
        (completion("  \n"), "empty", "  \n"),
        (completion(None), "empty", ""),
        (completion("Varro Quill ke", "length"), "cut", "Varro Quill ke"),
        (completion("", "length"), "empty", ""),
        (completion("Varro Quill ke", "MAX_TOKENS"), "cut", "Varro Quill ke"),
        (completion("Varro Quill ke", "model_length"), "cut", "Varro Quill ke"),
        (completion("Varro", "SAFETY"), "refused", "Varro"),
        (completion("Varro Quill.", "eos_token"), "answered", "Varro Quill."),
        (completion("Varro Quill.", "end_turn"), "answered", "Varro Quill."),
        (completion("Varro Quill.", None), "answered", "Varro Quill."),
        (completion("Varro Quill.", "stop_token"), "answered", "Varro Quill."),
        (completion("Varro Quill.", "tool_calls"), "answered", "Varro Quill."),
        (completion("Varro Quill.", {"type": "stop"}), "answered", "Varro Quill."),
        (completion("Varro Quill ke", {"type": "max_tokens"}), "cut", "Varro Quill ke"),
        (completion("Quill Quill Quill", "repetition"), "cut", "Quill Quill Quill"),
        (completion("Varro", "ERROR_TOXIC"), "refused", "Varro"),
        (completion("\u200b\ufeff\u2800 \n"), "empty", "\u200b\ufeff\u2800 \n"),
        (completion("Varro Quill.", refusal=False), "answered", "Varro Quill."),
        (completion(None, tool_calls=[{"function": {"name": "look"}}]), "empty", ""),
        (completion("", "content_filter"), "refused", ""),
        (completion(None, refusal="I will not."), "refused", ""),
        (completion("I'm sorry, but I can't identify people in pictures."), "refused", None),
        (completion("I’m sorry, I can’t help with that."), "refused", None),
        (completion("I am unable to view images."), "refused", None),
    ],
)
def test_kinds_of_answers_are_distinguished(body, status, text):
    answer = read_answer(json.dumps(body))
    assert answer.status == status
    assert answer.text == (body["choices"][0]["message"]["content"] if text is None else text)
    assert bool(answer.reason) == (status != "answered")
    assert (answer.prompt_tokens, answer.completion_tokens) == (20, 10)


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
        json.dumps(completion("half an ans", "error")),
        json.dumps(completion("half an ans", "abort")),
        json.dumps(completion("half an ans", "insufficient_system_resource")),
        *(json.dumps(completion("half an ans", end)) for end in ("OTHER", "not_finished", "rate_limit")),
        'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: [DONE]',
    ],
)
def test_bodies_that_are_no_completion_are_malformed(body):
    with pytest.raises(MalformedAnswer, match=r"the body is no|the endpoint ended the answer"):
        read_answer(body)


def test_usage_may_be_missing():
    assert read_answer('{"choices": [{"message": {"content": "a"}}]}').completion_tokens == 0


@pytest.mark.parametrize("count", ["many", -1, 1e400, 10**30, True, None, [3]])
def test_an_odd_bill_costs_no_answer(count):
    body = {**completion("a"), "usage": {"prompt_tokens": 3, "completion_tokens": count}}
    answer = read_answer(json.dumps(body))
    assert (answer.status, answer.prompt_tokens, answer.completion_tokens) == ("answered", 3, 0)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Quill."}],
            "Quill.",
        ),
        ([{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "Qu"}, "ill."], "Quill."),
        ({"type": "text", "text": {"value": "Quill."}}, "Quill."),
        ([{"text": "hm", "thought": True}, {"text": "Quill."}, {"type": "image_url", "image_url": "x"}], "Quill."),
        ([], ""),
    ],
)
def test_content_in_parts_is_read_without_thoughts(content, text):
    assert read_answer(json.dumps(completion(content))).text == text


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("<think>\nhm\n</think>\n\nQuill is a keeper.", "Quill is a keeper."),
        ("Let me see.\n</think>\n\nQuill is a keeper.", "Quill is a keeper."),
        ("<think>a</think>one<think>b</think> two", "one two"),
        ("<Thinking>hm</Thinking>Quill.", "Quill."),
        ("<seed:think>hm</seed:think>Quill.", "Quill."),
        ("[THINK]hm[/THINK]Quill.", "Quill."),
        ("<|begin_of_thought|>hm<|end_of_thought|>Quill.", "Quill."),
        ("<|START_THINKING|>hm<|END_THINKING|>Quill.", "Quill."),
        ("<analysis>hm</analysis>Quill.", "Quill."),
        ("<think>The user wan", ""),
        ("<think", ""),
        ("<thi", ""),
        ("Quill.<think>Is that ri", "Quill."),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Quill.", "Quill."),
        ("analysisWe must explain.assistantfinalQuill.", "Quill."),
        ("analysisWe must expl", ""),
        ("analysis of the season", "analysis of the season"),
        ("<|begin_of_thought|>hm<|end_of_thought|><|begin_of_solution|>Quill.<|end_of_solution|>", "Quill."),
        ("<think>hm</think><answer>Quill.</answer>", "Quill."),
        ("&lt;think&gt;hm&lt;/think&gt;Quill.", "Quill."),
        ("<unused94>thought\nhm<unused95>Quill.", "Quill."),
        ("Here is my thought process:\nhm\nHere is my response:\nQuill.", "Quill."),
        ("```thinking\nhm\n```\nQuill.", "Quill."),
        ('<details type="reasoning" done="true">hm</details>Quill.', "Quill."),
        ("Quill.<|im_end|>\n", "Quill."),
        ("Quill.</s>", "Quill."),
        ("Quill.\n```\ncode\n```\nmore", "Quill.\n```\ncode\n```\nmore"),
        ("1 < 2 and <b>bold</b> [think tank]", "1 < 2 and <b>bold</b> [think tank]"),
        ("I think therefore", "I think therefore"),
    ],
)
def test_thoughts_are_no_part_of_an_answer(text, visible):
    assert visible_text(text) == visible
    assert Answer("answered", text).reread().status == ("answered" if visible else "empty")


def test_refusals_in_parts_and_filtered_prompts_are_refusals():
    parts = [{"type": "refusal", "refusal": "I will not."}]
    assert read_answer(json.dumps(completion(parts))).status == "refused"
    for body in (
        {"choices": [], "prompt_feedback": {"block_reason": "SAFETY"}},
        {"choices": [{"index": 0, "finish_reason": "content_filter"}]},
        {"choices": [{"message": None, "finish_reason": "PROHIBITED_CONTENT"}]},
        {"error": {"code": 400, "message": "This endpoint's maximum context length is 8192 tokens."}},
        completion("", "error") | {"error": {"message": "Output blocked by content filtering policy"}},
    ):
        assert read_answer(json.dumps(body)).status == "refused", body


def test_thoughts_alone_are_empty_whatever_ended_them():
    assert read_answer(json.dumps(completion("<think>The user", "length"))).status == "empty"
    assert Answer("cut", "<think>The user").reread().usable_text(keep_cut=True) == ""


def test_half_emoji_and_nul_can_be_stored():
    answer = read_answer(json.dumps(completion("so cool CUT")).replace("CUT", "\\ud83d\\u0000"))
    assert answer.text == "so cool \ufffd"
    answer.response.encode()

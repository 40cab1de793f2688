"""What an endpoint returns for a request: an answer, or a reason why there is none."""

import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace

from modeling_cotpd.data.refusals import is_refusal
from modeling_cotpd.data.values import whole_number
from modeling_cotpd.text_safety import storable

ANSWERED, EMPTY, REFUSED, CUT = "answered", "empty", "refused", "cut"
FAILED, WAITING, MISSING, SKIPPED, UNPARSABLE = "failed", "waiting", "missing", "skipped", "unparsable"

FINAL = (ANSWERED, EMPTY, REFUSED, CUT)
"""Stored and not asked again: at temperature 0 the endpoint would return the same. `--again` names exceptions."""

MOST_CHARACTERS = 20_000_000
"""Longer response bodies are malformed."""
_FINISHED = re.compile(
    r"(?:finish_reason_)?(?:(?:natural_)?stop(?:ped|_(?:sequence|token|string|word))?|end|eos|eot|end_turn|eos_token"
    r"|end_of_(?:turn|text|sequence)|completed?|finish(?:ed)?|done|success|null|none)?"
)
# How endpoints name the end of an answer that is not finished: https://platform.openai.com, Gemini, Anthropic, vLLM,
# llama.cpp, DeepSeek, Mistral, Zhipu, watsonx, Cohere and gateways each have words of their own.
_FAILURE = re.compile(
    r"error|abort|cancel|interrupt|time_?out|network|fail|insufficient|overload|preempt|disconnect|killed|pause"
    r"|incomplete|malformed|other|unspecified|unknown|language|not_finished|unfinished|in_progress|running|queued"
    r"|pending|exception|rate_?limit|quota|throttl|capacity|unavailable"
)
_LIMIT = re.compile(r"length|max|limit|token|truncat|window|repeti|degenerat")
_FILTER = re.compile(
    r"filter|safety|block|prohibit|policy|recitation|refus|sensitive|guardrail|spii|moderat|violat|toxic|harm"
)
_FILTERED = re.compile(
    r"content.?(?:filter|policy|management|moderation|safety)|responsible.?ai|moderation|flagged|data.?inspection"
    r"|safety.?(?:system|polic|setting|reason|check|filter|guideline)|inappropriate|usage (?:polic|guideline)"
    r"|sensitive.?(?:content|information|word|data|text)|_sensitive|prohibited.?content|violat|guardrail|risk.?control"
    r"|exists? risk|high risk|invalid_prompt|unsafe|harmful|toxic|block(?:ed (?:by|due|because|for)|_?reason)"
    r"|safety_?ratings"
    r"|敏感|违规|不当内容|安全审核|不安全",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context.?(?:length|window|size|limit)|maximum (?:context|prompt|input|sequence)|max_model_len|input length"
    r"|too (?:long|many (?:input |prompt )?tokens)"
    r"|(?:prompt|input|request|context|image)s? (?:\w+ )?(?:is |are )?too large"
    r"|(?:exceed|longer|larger|more|greater)\w* (?:than )?(?:the )?(?:\w+ ){0,4}(?:tokens?|context|length|limit)"
    r"|(?<![_\w])tokens?\b[^.]{0,40} must be (?:<|less|fewer|at most|smaller)|must have (?:less|fewer) than \d+ tokens"
    r"|string_above_max_length|token limit|(?:reduce|shorten) (?:the|your) (?:length|prompt|input|message)|超长|过长",
    re.IGNORECASE,
)
_OWN_LIMIT = re.compile(r"max_?(?:completion_|new_|output_)?tokens", re.IGNORECASE)
_OF_THE_POST = re.compile(r"\b(?:inputs?|prompt|messages|your request|requested)\b", re.IGNORECASE)

_TAG = (
    r"(?:think|thinking|thoughts?|reasoning|reflection|scratchpad|analysis|cot|chain_of_thought|inner_monologue"
    r"|(?:thought|thinking)_process)"
)
_PAIRS = (
    (
        rf"(?:<(?:\w+:)?{_TAG}\b[^>]*>|<\|(?:begin_of_|start_)?{_TAG}\|>|\[{_TAG}\]|◁{_TAG}▷)",
        rf"(?:</(?:\w+:)?{_TAG}\s*>|<\|(?:end_of_|end_|/){_TAG}\|>|\[/{_TAG}\]|◁/{_TAG}▷)",
    ),
    ("<unused94>", "<unused95>"),
    (r"^\s*Here(?: is|'s) my thought process:", r"Here(?: is|'s) my response:"),
    (rf"```{_TAG}\n", r"(?<=\n)```(?!\w)"),
    (r"<details type=\"reasoning\"[^>]*>", r"</details>"),
)
_CHANNEL = r"<\|channel\|>\s*(?:analysis|commentary)\b"
_ESCAPED = re.compile(rf"&lt;(/?(?:\w+:)?{_TAG})&gt;", re.IGNORECASE)
_THOUGHTS = re.compile("|".join(f"{begin}.*?{end}" for begin, end in _PAIRS), re.IGNORECASE | re.DOTALL)
# Everything before a closing tag alone is a thought, and everything behind an opening one.
_THOUGHT_END = re.compile(rf"^.*(?:{_PAIRS[0][1]}|<unused95>|<\|channel\|>\s*final\s*<\|message\|>)", re.I | re.DOTALL)
_THOUGHT_BEGIN = re.compile(
    rf"(?:{'|'.join(begin for begin, _ in _PAIRS)}|{_CHANNEL}|<(?:\w+:)?{_TAG}\b[^>]*$).*$", re.IGNORECASE | re.DOTALL
)
# Channels whose marks the server took off: "analysisWe need to explain ...assistantfinalQuill keeps goal."
_GLUED = re.compile(r"^\s*(?:analysis|commentary)(?=[A-Z]).*?(?:assistant\s?final|$)", re.DOTALL)
_HALF_TAG = re.compile(
    r"^\s*<(?:t|th|thi|thin|think|thinki|thinkin|thinking|r|re|rea|reas|reaso|reason)?$", re.IGNORECASE
)
_CONTROL = (
    r"(?:<\|(?:end|return|start|message|im_end|im_start|eot_id|endoftext|end_of_text|end_of_turn)\|>|</s>|<eos>"
    r"|<end_of_turn>|<pad>)"
)
_CONTROL_TOKEN = re.compile(
    rf"{_CONTROL}|<\|(?:begin|end|start)_(?:of_)?(?:solution|response|answer|text)\|>|</?(?:answer|response)>",
    re.IGNORECASE,
)
_CONTROL_END = re.compile(rf"(?:\s*{_CONTROL})+\s*$", re.IGNORECASE)
_MARKS = ("<", "[", "◁", "&lt;", "```", "thought process", "analysis", "commentary")
_UNSEEN = "\u2800\u3164\u115f\u1160"
"""Blanks that Unicode counts as letters and signs."""


class MalformedAnswer(ValueError):
    """A response with status 200 that is not a finished chat completion; it is requested again."""


@dataclass(frozen=True)
class Answer:
    """The result of one request.

    Args:
        status (`str`): `answered`, or `empty` (no text), `refused` (by the model, or by the endpoint because of the
            post), `cut` (stopped at the token limit), `failed` (no answer after all attempts), `waiting` (written to
            a batch file), `missing` (never asked), `skipped` (there is nothing to ask) or `unparsable` (no list where
            one was asked for).
        text (`str`), reason (`str`): The answer without the model's thoughts, and why it is not `answered`.
        finish_reason (`str`), response (`str`): What the endpoint calls the answer's end, and the response's body.
        prompt_tokens (`int`), completion_tokens (`int`): Usage as the endpoint counts it; 0 when it does not say.
        attempts (`int`): How many times it was asked.
    """

    status: str
    text: str = ""
    reason: str = ""
    finish_reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    response: str = ""
    attempts: int = 0

    def usable_text(self, keep_cut: bool = False) -> str:
        """The text without surrounding white space; empty when it is not to be used. `keep_cut` uses cut answers."""
        return self.text.strip() if self.status == ANSWERED or (keep_cut and self.status == CUT) else ""

    def redacted(self, redact: Callable[[str], str]) -> "Answer":
        """The answer with secrets replaced in its texts, where the endpoint escaped or split them in the body."""
        text, reason, end = map(redact, (self.text, self.reason, self.finish_reason))
        return replace(self, text=text, reason=reason, finish_reason=end)

    def reread(self) -> "Answer":
        """The answer by today's rules about thoughts and empty texts, for answers stored by earlier versions."""
        text = visible_text(self.text)
        if self.status in (ANSWERED, CUT) and is_blank(text):
            return replace(self, status=EMPTY, text=text, reason=self.reason or "no text beside the model's thoughts")
        return self if text == self.text else replace(self, text=text)


def visible_text(text: str) -> str:
    """Return an answer without the model's thoughts, whether their tags are paired, unopened or unclosed.

    Example:
        >>> visible_text("<think>A keeper?</think>Quill keeps goal."), visible_text("<think>A keep")
        ('Quill keeps goal.', '')
    """
    if not any(mark in text for mark in _MARKS):
        return text
    text = _CONTROL_END.sub("", text)
    visible = _THOUGHTS.sub("", _ESCAPED.sub(r"<\1>", text))
    visible = _THOUGHT_END.sub("", visible)
    visible = _GLUED.sub("", _THOUGHT_BEGIN.sub("", visible))
    visible = "" if _HALF_TAG.match(visible) else visible
    return text if visible == text else _CONTROL_TOKEN.sub("", visible).strip()


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: white space, zero-width, control and direction characters alone.

    Example:
        >>> is_blank(" \u200b\n"), is_blank("...")
        (True, False)
    """
    return all(unicodedata.category(each)[0] in "ZC" or each in _UNSEEN for each in text)


def status_of_rejection(status: int, message: str) -> str | None:
    """Return `refused` when an HTTP status and message are about this post: filtered, or too long for the model."""
    if status in (413, 451) or (status in (400, 403, 422) and _FILTERED.search(message)):
        return REFUSED
    # llama.cpp reports a prompt that is too long with 500.
    too_long = status in (400, 422, 500) and _TOO_LONG.search(message) is not None
    # A token limit that no model has is the user's setting.
    return REFUSED if too_long and (not _OWN_LIMIT.search(message) or _OF_THE_POST.search(message)) else None


def read_answer(body: str) -> Answer:
    """Read the body of a chat completion.

    Raises:
        MalformedAnswer: The body is not JSON, not a chat completion, or the endpoint did not finish it.
    """
    body = storable(body)
    if len(body) > MOST_CHARACTERS:
        raise MalformedAnswer(f"the body has {len(body):,} characters")
    try:
        completion = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedAnswer(f"the body is not JSON ({error}): {body[:80]!r}") from None
    try:
        fault = completion.get("error")
        if not completion.get("choices") and status_of_rejection(400, body) is not None:
            return Answer(REFUSED, "", f"no answer: {body[:200]}", response=body, attempts=1)
        choice = completion["choices"][0]
        end = choice.get("finish_reason") or choice.get("finishReason") or choice.get("finish_details")
        end = end.get("type") if isinstance(end, dict) else end
        finish_reason = storable(end if isinstance(end, str) else "" if end is None else str(end))[:100]
        ended = finish_reason.casefold().strip().replace(" ", "_").replace("-", "_")
        finished = _FINISHED.fullmatch(ended) is not None
        filtered = not finished and _FILTER.search(ended) is not None
        message, usage = choice.get("message") or {} if filtered else choice["message"], completion.get("usage")
        content = message.get("content")
        said = message.get("refusal")  # some gateways write `false`
        refusal = _text_of(said if isinstance(said, str | list | dict) else None) or _text_of(content, ("refusal",))
        text = visible_text(storable(_text_of(content)))
        fault = choice.get("error") or fault
    except (KeyError, IndexError, TypeError, AttributeError):
        raise MalformedAnswer(f"the body is not a chat completion: {body[:80]!r}") from None
    tokens = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    if fault and not text:
        filtered |= status_of_rejection(400, json.dumps(fault, ensure_ascii=False)) is not None
    if not filtered and ((not finished and _FAILURE.search(ended)) or (fault and not text)):
        raise MalformedAnswer(f"the endpoint ended the answer with {finish_reason or 'an error'!r}: {body[:200]!r}")
    if refusal or filtered:
        status, reason = REFUSED, storable(refusal)[:200] or f"finish reason {finish_reason}"
    elif is_blank(text):
        status, reason = EMPTY, f"no text after {tokens[1]:,} tokens, finish reason {finish_reason or 'not given'}"
    elif is_refusal(text):
        status, reason = REFUSED, text[:200]
    elif not finished and _LIMIT.search(ended):
        status, reason = CUT, f"stopped at the token limit after {tokens[1]:,} tokens"
    else:
        status, reason = ANSWERED, ""
    return Answer(status, text, reason, finish_reason, *tokens, body, attempts=1)


def _text_of(content: object, kinds: tuple[str, ...] = ("text", "output_text")) -> str:
    """A message's content: a text, or the parts of some types in a list; parts that hold thoughts have others."""
    if content is None or isinstance(content, str):
        return content if content and "text" in kinds else ""
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise TypeError(content)
    texts = []
    for part in content:
        if isinstance(part, str):
            part = {"text": part}
        if not isinstance(part, dict):
            raise TypeError(part)
        if part.get("type", "text") in kinds and part.get("thought") is not True:
            value = part.get("refusal") or part.get("text")
            value = value.get("value") if isinstance(value, dict) else value
            texts.append(value if isinstance(value, str) else "")
    return "".join(texts)


def _count(usage: object, name: str) -> int:
    """A number of tokens; 0 for an invalid one, because a malformed usage field must not lose a paid answer."""
    value = whole_number(usage.get(name)) if isinstance(usage, dict) else None
    return value if value is not None and 0 <= value < 2**53 else 0

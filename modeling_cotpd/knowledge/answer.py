"""What an endpoint returns for a request: an answer, or a reason why there is none."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from modeling_cotpd.data.refusals import is_refusal
from modeling_cotpd.text_safety import storable

ANSWERED, EMPTY, REFUSED, CUT = "answered", "empty", "refused", "cut"
FAILED, WAITING, MISSING, SKIPPED, UNPARSABLE = "failed", "waiting", "missing", "skipped", "unparsable"

FINAL = (ANSWERED, EMPTY, REFUSED, CUT)
"""Stored and not asked again: at temperature 0 the endpoint would return the same. `--again` names exceptions."""

MOST_CHARACTERS = 20_000_000
"""Longer response bodies are malformed."""
_FINISHED = re.compile(
    r"(?:finish_reason_)?(?:stop|stop_sequence|end|end_turn|eos|eos_token|complete|completed|finished|done)?"
)
# How endpoints name the end of an answer that is not finished: https://platform.openai.com, Gemini, Anthropic, vLLM,
# llama.cpp, DeepSeek, Mistral, Zhipu and gateways each have words of their own.
_FAILURE = re.compile(
    r"error|abort|cancel|interrupt|time_?out|network|fail|insufficient|overload|preempt|disconnect|killed|pause"
    r"|incomplete|malformed|other|unspecified|unknown|language"
)
_LIMIT = re.compile(r"length|max|limit|token|truncat|window")
_FILTERED_PROMPT = re.compile(r"block_?reason|content_?filter|prohibited_?content|safety_?ratings", re.IGNORECASE)
_FILTER = re.compile(r"filter|safety|block|prohibit|policy|recitation|refus|sensitive|guardrail|spii|moderat|violat")

_TAG = r"(?:think|thinking|thoughts?|reasoning|reflection|scratchpad|analysis)"
_OPEN = rf"(?:<(?:\w+:)?{_TAG}\b[^>]*>|<\|(?:begin_of_|start_)?{_TAG}\|>|\[{_TAG}\]|◁{_TAG}▷)"
_CLOSE = rf"(?:</(?:\w+:)?{_TAG}\s*>|<\|(?:end_of_|end_|/){_TAG}\|>|\[/{_TAG}\]|◁/{_TAG}▷)"
_CHANNEL = r"<\|channel\|>\s*(?:analysis|commentary)\b"
_THOUGHTS = re.compile(rf"{_OPEN}.*?{_CLOSE}", re.IGNORECASE | re.DOTALL)
_THOUGHT_END = re.compile(rf"^.*(?:{_CLOSE}|<\|channel\|>\s*final\s*<\|message\|>)", re.IGNORECASE | re.DOTALL)
_THOUGHT_BEGIN = re.compile(rf"(?:{_OPEN}|{_CHANNEL}|<(?:\w+:)?{_TAG}\b[^>]*$).*$", re.IGNORECASE | re.DOTALL)
_HALF_TAG = re.compile(
    r"^\s*<(?:t|th|thi|thin|think|thinki|thinkin|thinking|r|re|rea|reas|reaso|reason)?$", re.IGNORECASE
)
_CONTROL_TOKEN = re.compile(r"<\|(?:end|return|start|message|im_end|eot_id|endoftext)\|>")
_MARKS = ("<", "[", "◁")


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
        text (`str`): The answer without the model's thoughts.
        reason (`str`): Why it is not `answered`.
        finish_reason (`str`): What the endpoint calls the end of the answer.
        prompt_tokens (`int`), completion_tokens (`int`): Usage as the endpoint counts it; 0 when it does not say.
        response (`str`): The response's body.
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
        if self.status in (ANSWERED, CUT) and not text.strip():
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
    visible = _THOUGHTS.sub("", text)
    visible = _THOUGHT_END.sub("", visible)
    visible = _THOUGHT_BEGIN.sub("", visible)
    visible = "" if _HALF_TAG.match(visible) else visible
    return text if visible == text else _CONTROL_TOKEN.sub("", visible).strip()


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
        if not completion.get("choices") and _FILTERED_PROMPT.search(body):
            return Answer(REFUSED, "", f"no answer: {body[:200]}", response=body, attempts=1)
        choice = completion["choices"][0]
        message, usage = choice["message"], completion.get("usage")
        content, end = message.get("content"), choice.get("finish_reason")
        refusal = _text_of(message.get("refusal")) or _text_of(content, ("refusal",))
        text = visible_text(storable(_text_of(content)))
        fault = choice.get("error") or completion.get("error")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise MalformedAnswer(f"the body is not a chat completion: {body[:80]!r}") from None
    finish_reason = storable(end if isinstance(end, str) else "" if end is None else str(end))[:100]
    tokens = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    ended = finish_reason.casefold().strip().replace(" ", "_").replace("-", "_")
    finished = _FINISHED.fullmatch(ended) is not None
    if (_FAILURE.search(ended) and not finished) or (fault and not text):
        raise MalformedAnswer(f"the endpoint ended the answer with {finish_reason or 'an error'!r}: {body[:200]!r}")
    if refusal or (not finished and _FILTER.search(ended)):
        status, reason = REFUSED, storable(refusal)[:200] or f"finish reason {finish_reason}"
    elif not text.strip():
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
        if part.get("type", "text") in kinds:
            value = part.get("refusal") or part.get("text")
            value = value.get("value") if isinstance(value, dict) else value
            texts.append(value if isinstance(value, str) else "")
    return "".join(texts)


def _count(usage: object, name: str) -> int:
    """A number of tokens; 0 for an invalid one, because a malformed usage field must not lose a paid answer."""
    value = usage.get(name) if isinstance(usage, dict) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0

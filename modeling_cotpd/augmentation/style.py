"""Style: the teacher tells a post in other words, and the gold mentions are found again in them."""

import re
from collections.abc import Generator

from modeling_cotpd.augmentation.alignment import align
from modeling_cotpd.augmentation.dress import dress
from modeling_cotpd.augmentation.lexicon import Lexicon
from modeling_cotpd.augmentation.manner import Manner, detokenize, tokenize
from modeling_cotpd.augmentation.name import fold
from modeling_cotpd.augmentation.outcome import NO_ANSWER, REJECTED, STYLE, UNASKED, Outcome, Rejected, Unasked
from modeling_cotpd.augmentation.plan import AugmentPlan, imagined, opening
from modeling_cotpd.augmentation.sample import Sample, with_mentions
from modeling_cotpd.knowledge.answer import FINAL, Answer
from modeling_cotpd.knowledge.request import Request

_LABEL = re.compile(
    r"(text|tweet|post|rewrite|rewritten( tweet)?|output|transformed( sentence)?)\s*:\s*", re.IGNORECASE
)
_QUOTES = (('"', '"'), ("“", "”"), ("«", "»"), ("'", "'"), ("`", "`"))


def restyle(
    sample: Sample, plan: AugmentPlan, manner: Manner, lexicon: Lexicon
) -> Generator[Request, Answer, list[Outcome]]:
    """The conversation about the style of one post; the result has one outcome for each of `plan.times`.

    The first request is the paper's; each further one follows in the same conversation and asks for other words, since
    a teacher at temperature 0 would repeat itself.
    """
    text = detokenize(sample.tokens)
    prompts = [plan.prompts["post"], plan.prompts["style"]]
    messages = opening(plan, text, plan.prompts["style"])
    seen, outcomes = {fold(text)}, list[Outcome]()
    for time in range(1, plan.times + 1):
        if time == 2:
            prompts.append(plan.prompts["style_again"])
        if time > 1:
            messages.append({"role": "user", "content": plan.prompts["style_again"].fill(text=text, caption="")})
        answer = yield plan.request(STYLE, list(messages), *prompts)
        if answer.status not in FINAL:
            why = f"{answer.status}: {answer.reason}"
            return outcomes + [
                Outcome(sample.id, STYLE, later, UNASKED, NO_ANSWER, why) for later in range(time, plan.times + 1)
            ]
        messages.append({"role": "assistant", "content": answer.text})
        outcome = Outcome(sample.id, STYLE, time, text=answer.text.strip())
        outcomes.append(outcome)
        try:
            row = restyled_row(sample, answer, plan, manner, lexicon)
            if not imagined(answer):
                outcome.text = detokenize(row["tokens"])
                if fold(outcome.text) in seen:
                    raise Rejected("not another text")
                seen.add(fold(outcome.text))
            outcome.row = yield from dress(plan, row, (), outcome)
        except Rejected as error:
            outcome.status, outcome.reason, outcome.detail = REJECTED, error.reason, error.detail
        except Unasked as error:
            outcome.status, outcome.reason, outcome.detail = UNASKED, NO_ANSWER, str(error)
    return outcomes


def restyled_row(sample: Sample, answer: Answer, plan: AugmentPlan, manner: Manner, lexicon: Lexicon) -> dict:
    """The parent's record with the rewritten text and its labels.

    Raises:
        Rejected: The answer is no rewrite in which every mention is found.
    """
    if not plan.usable(answer):
        raise Rejected(f"answer {answer.status}", answer.reason)
    if imagined(answer):
        return sample.row
    tokens = tokenize(rewrite_in(answer.text), manner)
    if not any(fold(token) for token in tokens):
        raise Rejected("no text")
    longest = 2 * len(sample.tokens) + 10
    if len(tokens) > longest:
        raise Rejected("too long", f"{len(tokens)} tokens, the post has {len(sample.tokens)}")
    mentions = align(sample, tokens, plan.label_repeats)
    if not sample.is_relation and not sample.unlabelled:
        lexicon.check(sample, tokens, mentions)
    return with_mentions(sample.row, tokens, mentions)


def rewrite_in(answer: str) -> str:
    """The rewrite without what models put around it: an introduction ending in a colon, a label, quotation marks.

    Example:
        >>> rewrite_in('Sure! Here it is:\\n\\n"Go Otters! #win"')
        'Go Otters! #win'
    """
    lines = [line.strip() for line in answer.strip().splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith(":"):
        lines = lines[1:]
    text = _LABEL.sub("", " ".join(lines), count=1) if lines and _LABEL.match(lines[0]) else " ".join(lines)
    for first, last in _QUOTES:
        if len(text) > 1 and text[0] == first and text[-1] == last:
            inner = text[1:-1]
            return inner.strip() if first not in inner and last not in inner else text
    return text

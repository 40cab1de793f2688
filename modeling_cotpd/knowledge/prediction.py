"""Entities and relations read from a teacher's answer, tolerantly, with a count of what could not be read."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field

from modeling_cotpd.knowledge.answer import FINAL, Answer
from modeling_cotpd.knowledge.baseline import NO_RELATION, Question
from modeling_cotpd.knowledge.mentions import find_mention


@dataclass
class Prediction:
    """What was read from an answer.

    Args:
        label (`list[str] | str`): Tags (MNER) or the relation (MRE); all `O` or `None` where nothing could be read.
        parsed (`bool`): Whether the answer could be read.
        problems (`Counter`): Parts that were left out: `mention not in the text`, `unknown type`, `unknown relation`.
    """

    label: list[str] | str
    parsed: bool = False
    problems: Counter = field(default_factory=Counter)


def read_prediction(answer: Answer, row: dict, question: Question) -> Prediction:
    """Read an answer tolerantly: JSON anywhere in it, in a code fence or cut at its end."""
    empty: list[str] | str = NO_RELATION if question.task == "mre" else ["O"] * len(row["tokens"])
    if answer.status not in FINAL:
        return Prediction(empty)
    found = find_json(answer.text)
    if question.task == "mre":
        return _read_relation(found, answer.text, question, empty)
    mentions = found.get("entities") if isinstance(found, dict) else found
    if not isinstance(mentions, list):
        return Prediction(empty)
    tags = ["O"] * len(row["tokens"])
    prediction = Prediction(tags, parsed=True)
    kinds = {kind.casefold(): kind for kind in question.kinds}
    taken = [False] * len(row["tokens"])
    for mention in mentions:
        text, kind = (mention.get("text"), mention.get("type")) if isinstance(mention, dict) else (None, None)
        if not isinstance(text, str) or not isinstance(kind, str) or kind.strip().casefold() not in kinds:
            prediction.problems["unknown type"] += 1
            continue
        span = find_mention(row["tokens"], text, taken)
        if span is None:
            prediction.problems["mention not in the text"] += 1
            continue
        name = kinds[kind.strip().casefold()]
        for index in range(*span):
            taken[index] = True
            tags[index] = f"{'B' if index == span[0] else 'I'}-{name}"
    return prediction


def _read_relation(found: object, text: str, question: Question, empty: list[str] | str) -> Prediction:
    kinds = {kind.casefold(): kind for kind in question.kinds}
    said = found.get("relation") if isinstance(found, dict) else None
    if isinstance(said, str) and said.strip().casefold() in kinds:
        return Prediction(kinds[said.strip().casefold()], parsed=True)
    if isinstance(said, str):
        return Prediction(empty, problems=Counter({"unknown relation": 1}))
    # Without JSON a relation counts only when it is the only one that the answer names.
    named = {
        kind
        for folded, kind in kinds.items()
        if re.search(rf"(?<![\w/]){re.escape(folded)}(?![\w/])", text.casefold())
    }
    return Prediction(named.pop(), parsed=True) if len(named) == 1 else Prediction(empty)


_CUT_LIST = re.compile(r'\{\s*"entities"\s*:\s*\[')


def find_json(text: str) -> object:
    """The first JSON object or array in a text, `None` when there is none.

    A list that was cut at the token limit gives its complete elements.

    Example:
        >>> find_json('Sure! ```json\\n{"entities": []}\\n```')
        {'entities': []}
    """
    decoder = json.JSONDecoder()
    for match in re.finditer(r"[{\[]", text):
        try:
            return decoder.raw_decode(text, match.start())[0]
        except ValueError:  # no JSON here, or a number of thousands of digits
            cut = _CUT_LIST.match(text, match.start())
            if cut is not None:
                return {"entities": _complete_elements(decoder, text, cut.end())}
        except RecursionError:  # thousands of brackets are no answer, and the later ones no better
            return None
    return None


def _complete_elements(decoder: json.JSONDecoder, text: str, position: int) -> list:
    elements: list = []
    while True:
        gap = re.compile(r"[\s,]*").match(text, position)
        try:
            element, position = decoder.raw_decode(text, gap.end() if gap else position)
        except (ValueError, RecursionError):
            return elements
        elements.append(element)

"""Entities and relations read from a model's answer, tolerantly, with a count of what could not be read."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from modeling_cotpd.knowledge.answer import FINAL, Answer
from modeling_cotpd.knowledge.glosses import find_json
from modeling_cotpd.knowledge.mentions import find_mention

NO_RELATION = "None"


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


def read_entities(answer: Answer, tokens: Sequence[str], kinds: Sequence[str]) -> Prediction:
    """Read entities from an answer: JSON anywhere in it, in a code fence or cut at its end.

    Args:
        answer (`Answer`): The answer.
        tokens (`Sequence[str]`): The post's tokens.
        kinds (`Sequence[str]`): The entity types.
    """
    tags = ["O"] * len(tokens)
    found = find_json(answer.text) if answer.status in FINAL else None
    mentions = found.get("entities") if isinstance(found, dict) else found
    if not isinstance(mentions, list):
        return Prediction(tags)
    prediction = Prediction(tags, parsed=True)
    folded = {kind.casefold(): kind for kind in kinds}
    taken = [False] * len(tokens)
    for mention in mentions:
        text, kind = (mention.get("text"), mention.get("type")) if isinstance(mention, dict) else (None, None)
        if not isinstance(text, str) or not isinstance(kind, str) or kind.strip().casefold() not in folded:
            prediction.problems["unknown type"] += 1
            continue
        span = find_mention(tokens, text, taken)
        if span is None:
            prediction.problems["mention not in the text"] += 1
            continue
        name = folded[kind.strip().casefold()]
        for index in range(*span):
            taken[index] = True
            tags[index] = f"{'B' if index == span[0] else 'I'}-{name}"
    return prediction


def read_relation(answer: Answer, kinds: Sequence[str]) -> Prediction:
    """Read a relation from an answer: from JSON, else the only relation that the answer names.

    Args:
        answer (`Answer`): The answer.
        kinds (`Sequence[str]`): The relations.
    """
    if answer.status not in FINAL:
        return Prediction(NO_RELATION)
    found, folded = find_json(answer.text), {kind.casefold(): kind for kind in kinds}
    relation = found.get("relation") if isinstance(found, dict) else None
    if isinstance(relation, str) and relation.strip().casefold() in folded:
        return Prediction(folded[relation.strip().casefold()], parsed=True)
    if isinstance(relation, str):
        return Prediction(NO_RELATION, problems=Counter({"unknown relation": 1}))
    named = {
        kind
        for name, kind in folded.items()
        if re.search(rf"(?<![\w/]){re.escape(name)}(?![\w/])", answer.text.casefold())
    }
    return Prediction(named.pop(), parsed=True) if len(named) == 1 else Prediction(NO_RELATION)

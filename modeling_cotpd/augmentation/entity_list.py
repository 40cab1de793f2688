"""The zero-shot source: a list of entities that the model writes, none of which the training split has."""

import re
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from modeling_cotpd.augmentation.names import fold
from modeling_cotpd.augmentation.plan import AugmentPlan
from modeling_cotpd.augmentation.source import EntitySource, Name
from modeling_cotpd.augmentation.tokenization import Tokenization, tokenize
from modeling_cotpd.knowledge.answer import CUT, FINAL, Answer
from modeling_cotpd.knowledge.request import Job, Request

KIND_WORDS = {
    "PER": "names of people",
    "LOC": "names of places",
    "ORG": "names of organizations, teams, companies and bands",
    "MISC": "names of events, films, songs, books, products and awards",
    "OTHER": "names of events, films, songs, books, products and awards",
}
"""How the prompt calls the published data sets' types; another type is called "names of the type X"."""
AT_ONCE = 50
"""Names asked for in one request; longer lists make models repeat themselves."""
MOST_ROUNDS = 10
MOST_TOKENS = 6
"""A longer line is a sentence, not a name."""
_BULLET = re.compile(r"^\s*(?:[-*•·–]+|\(?\d+[.):]+|#\d+)\s*")
_COMMENT = re.compile(r"\s*(?:[:(\[–—]| - ).*$")


def read_names(answer: str) -> list[str]:
    """The names in a list as models write it: bullets, numbers, quotation marks, bold type and comments taken off.

    Example:
        >>> read_names("Here is a list:\\n1. **Mira Holt** (singer)\\n2. Dario Fenn - actor\\n- Tarn Bridge")
        ['Mira Holt', 'Dario Fenn', 'Tarn Bridge']
    """
    names = []
    for line in answer.splitlines():
        if line.rstrip().endswith((":", "?", "!")):
            continue
        name = _COMMENT.sub("", _BULLET.sub("", line)).strip(" \t*_\"“”'`,;.")
        if name and len(name.split()) <= MOST_TOKENS:
            names.append(name)
    return names


@dataclass
class WrittenList:
    """What the model wrote for one entity type.

    Args:
        names (`list[str]`): The names.
        why_short (`str`): Why there are fewer than wanted; empty when there are enough.
        unasked (`bool`): Whether a request has no answer, so that running again can help.
    """

    names: list[str] = field(default_factory=list)
    why_short: str = ""
    unasked: bool = False


def list_jobs(kinds: Iterable[str], plan: AugmentPlan, known: frozenset[str]) -> Iterator[Job]:
    """Yield one job per type; its result is a `WrittenList`.

    Args:
        kinds (`Iterable[str]`): Entity types; `plan.list_size` is shared equally among them.
        plan (`AugmentPlan`): Which model is asked.
        known (`frozenset[str]`): `fold` of the names of the source set, which the list must not have.
    """
    kinds = sorted(kinds)
    for number, kind in enumerate(kinds):
        size = plan.list_size // len(kinds) + (number < plan.list_size % len(kinds))
        yield Job(kind, partial(write_list, kind, size, plan, known))


def write_list(
    kind: str, size: int, plan: AugmentPlan, known: frozenset[str]
) -> Generator[Request, Answer, WrittenList]:
    """Ask for names of one type until there are enough.

    Ends early after `MOST_ROUNDS` requests, after two in a row that brought nothing new, or without an answer.
    """
    names: list[str] = []
    seen, idle = set(known), 0
    prompt = plan.prompts["entity_list"]
    for _ in range(MOST_ROUNDS):
        fields = {
            "count": str(min(AT_ONCE, size - len(names))),
            "kind": KIND_WORDS.get(kind, f"names of the type {kind}"),
            "avoid": ", ".join(names),
        }
        question = prompt.fill(**fields, text="", caption="")
        example = "\n".join(f"Name {len(names) + number}" for number in range(AT_ONCE))
        answer = yield plan.request("entity_list", [{"role": "user", "content": question}], prompt, example=example)
        if answer.status not in FINAL:
            return WrittenList(names, f"{answer.status}: {answer.reason}", unasked=True)
        # A list that was cut is a list all the same, but for its last line.
        usable = plan.usable_text(answer) or answer.status == CUT
        text = answer.text.rsplit("\n", 1)[0] if answer.status == CUT else answer.text
        new = []
        for name in read_names(text) if usable else ():
            if fold(name) and fold(name) not in seen:
                seen.add(fold(name))
                new.append(name)
        names += new[: size - len(names)]
        idle = 0 if new else idle + 1
        if len(names) == size:
            return WrittenList(names)
        if idle == 2:
            return WrittenList(names, "two answers in a row brought nothing new")
    return WrittenList(names, f"{MOST_ROUNDS} requests brought no more")


def teacher_names(lists: dict[str, list[str]], tokenization: Tokenization) -> EntitySource:
    """The source made of lists of names by type, tokenized as the posts are."""
    source = EntitySource()
    for kind, names in lists.items():
        for name in names:
            source.add(kind, Name(tuple(tokenize(name, tokenization))))
    return source

"""Where new entities come from: the mentions of the training split, or a list that the teacher writes."""

import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from modeling_cotpd.augmentation.plan import AugmentPlan
from modeling_cotpd.augmentation.sample import SIGNS, Mention, Sample, fold, name_key
from modeling_cotpd.augmentation.tokenization import Tokenization, tokenize
from modeling_cotpd.knowledge.answer import CUT, FINAL
from modeling_cotpd.knowledge.glosses import read_glosses
from modeling_cotpd.knowledge.request import Conversation, Job

_SIGNED = re.compile(r"^[^\w#@]*([#@])")


@dataclass(frozen=True)
class Name:
    """A name of an entity: its tokens without a sign, and `#` or `@` when it was written so."""

    tokens: tuple[str, ...]
    sign: str = ""

    @property
    def key(self) -> str:
        return name_key("".join(self.tokens))


def name_of(tokens: Sequence[str], mention: Mention) -> Name:
    """The name that a mention gives, its sign taken off wherever it stands.

    Example:
        >>> name_of(["Go", "#", "Otters"], Mention("ORG", 2, 3))
        Name(tokens=('Otters',), sign='#')
    """
    span = list(tokens[mention.start : mention.end])
    before = tokens[mention.start - 1] if mention.start else ""
    match = _SIGNED.match(span[0])
    if match is None:
        return Name(tuple(span), before if before in SIGNS else "")
    rest = span[0][match.end() :]
    return Name(tuple([rest, *span[1:]] if rest else span[1:]), match.group(1))


class EntitySource:
    """Names by entity type and sign, each once, in the order in which they were added."""

    def __init__(self) -> None:
        self.names: dict[tuple[str, str], list[Name]] = {}
        self._seen: set[tuple[str, str, str]] = set()

    def add(self, kind: str, name: Name) -> bool:
        """Add a name unless it is there or has no letters; whether it was added."""
        entry = (kind, name.sign, name.key)
        new = bool(name.key) and entry not in self._seen
        if new:
            self._seen.add(entry)
            self.names.setdefault((kind, name.sign), []).append(name)
        return new

    def draws(self, rng: random.Random, kind: str, sign: str, most: int) -> Iterator[Name]:
        """Up to `most` random names of a type, those first that were written with the same sign."""
        names = self.names.get((kind, sign)) or self.names.get((kind, "")) or []
        for _ in range(most if names else 0):
            yield rng.choice(names)

    def types(self) -> dict[str, str]:
        """`fold` of a name to its type, of the names that have one type only."""
        kinds: dict[str, set[str]] = {}
        for (kind, _), names in self.names.items():
            for name in names:
                kinds.setdefault(fold(name.key), set()).add(kind)
        return {key: min(types) for key, types in kinds.items() if len(types) == 1}


def training_names(samples: Iterable[Sample]) -> EntitySource:
    """The in-domain source: all mentions whose type is known."""
    source = EntitySource()
    for sample in samples:
        for mention in sample.mentions:
            if mention.kind:
                source.add(mention.kind, name_of(sample.tokens, mention))
    return source


def written_as(name: Name, old: Sequence[str], sign: str) -> tuple[str, ...]:
    """The tokens that a name gets in the place of an old mention, which was written with `sign` or an empty one.

    After a sign a name is one word, as hashtags and handles are; where the sign belongs to the old mention, it does to
    the new one.

    Example:
        >>> written_as(Name(("New", "Tarn")), ["#Otters"], "#")
        ('#NewTarn',)
    """
    if not sign:
        return name.tokens
    word = "".join(c for c in "".join(name.tokens) if c.isalnum() or c == "_")
    if old[0] == sign:
        return (sign, word)
    return (f"{sign}{word}",) if _SIGNED.match(old[0]) else (word,)


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
    """The names in a list, a table or JSON as models write it, without bullets, quotation marks and comments.

    Example:
        >>> read_names("Here is a list:\\n1. **Mira Holt** (singer)\\n2. Dario Fenn - actor\\n- Tarn Bridge")
        ['Mira Holt', 'Dario Fenn', 'Tarn Bridge']
    """
    if glosses := read_glosses(answer):
        return [item["mention"] for item in glosses if _is_name(item["mention"])]
    lines = answer.strip().splitlines()
    if len(lines) == 1 and lines[0].count(",") > 1:
        lines = lines[0].split(",")
    rule = next((number for number, line in enumerate(lines) if re.fullmatch(r"[\s|:-]*\|[\s|:-]*", line)), -1)
    names = []
    for line in lines[rule + 1 :]:  # behind the head of a table
        if line.rstrip().endswith((":", "?", "!")) or "://" in line:
            continue
        cells = [cell for cell in line.split("|") if re.search(r"[^\W\d_]", cell)]  # of a table, without numbers
        name = _COMMENT.sub("", _BULLET.sub("", cells[0] if cells else "")).strip(" \t*_\"“”'`,;.")
        if _is_name(name):
            names.append(name)
    return names


def _is_name(text: str) -> bool:
    return 0 < len(text.split()) <= MOST_TOKENS and not re.search(r"[<>{}\[\]|=\\]|www\.", text)


@dataclass
class WrittenList:
    """The names of one entity type, and why there are fewer than wanted; `unasked` when running again can help."""

    names: list[str] = field(default_factory=list)
    why_short: str = ""
    unasked: bool = False


def list_jobs(kinds: Iterable[str], plan: AugmentPlan, known: frozenset[str]) -> Iterator[Job]:
    """Yield one job per type, whose result is a `WrittenList` without the `known` names, which are folded."""
    kinds = sorted(kinds)
    for number, kind in enumerate(kinds):
        size = plan.list_size // len(kinds) + (number < plan.list_size % len(kinds))
        yield Job(kind, partial(write_list, kind, size, plan, known))


def write_list(kind: str, size: int, plan: AugmentPlan, known: frozenset[str]) -> Conversation:
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

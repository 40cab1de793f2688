"""Write the fictional sample corpus: an invented world, posts about it, and what a language model might say of them.

    python examples/make_sample.py modeling_cotpd/data/sample

The same files come out every time. See the README beside them for what the corpus is and is not.
"""

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import yaml

from modeling_cotpd.data.duplicates import normalise

DATA = yaml.safe_load((Path(__file__).parent / "sample_world.yaml").read_text("utf-8"))
# How a gloss may begin
TYPE_WORDS = {
    "PER": ("person",), "ORG": ("organization",), "LOC": ("location",), "MISC": ("work or event", "product"),
}  # fmt: skip
RELATIONS = {
    ("PER", "ORG"): "/per/org/member_of",
    ("PER", "LOC"): "/per/loc/place_of_residence",
    ("ORG", "LOC"): "/org/loc/locate_at",
    ("PER", "PER"): "/per/per/peer",
    ("MISC", "LOC"): "/misc/loc/held_on",
}


@dataclass(frozen=True)
class Name:
    """A name of the world."""

    text: str
    kind: str
    type: str
    words: tuple[str, ...]
    picture: str


def world() -> list[Name]:
    names = []
    for line in DATA["world"].strip().splitlines():
        kind, kind_type, words, picture, listed = line.split("|")
        names += [Name(text, kind, kind_type, (kind, *words.split("/")), picture) for text in listed.split(", ")]
    return names


class Writer:
    """Posts with labels and knowledge. Some names come again in unlabelled posts, some never."""

    def __init__(self, seed: int):
        self.chance = random.Random(seed)
        self.names = world()
        rest = [name for name in self.names if name.text not in DATA["featured"]]
        self.chance.shuffle(rest)
        featured = [name for name in self.names if name.text in DATA["featured"]]
        self.roles = {"labelled": rest[:-50], "unlabelled": featured + rest[-50:], "invented": []}
        self.used: list[set[str]] = []

    def name(self, split: str, wanted: str | None = None) -> Name:
        """A name of a type, by default of any."""
        kind = wanted or self.chance.choices(tuple(TYPE_WORDS), (4, 3, 3, 3))[0]
        shares = {"labelled": (2, 0, 3), "unlabelled": (1, 9, 0)}.get(split, (3, 12, 5))
        (role,) = self.chance.choices(tuple(self.roles), shares)
        found = [name for name in self.roles[role] if name.type == kind] or [self.invented(kind)]
        return self.chance.choice(found)

    def invented(self, kind: str) -> Name:
        """A name of one post."""

        def part(name: str) -> str:
            return self.chance.choice(DATA[name].split())

        if kind == "PER" and self.chance.random() < 0.5:
            text = f"{part('given')} {part('family')}"
        elif self.chance.random() < 0.5:
            text = f"{part('first')} {part('last')}"
        else:
            text = part("start") + part("end")
        return replace(self.chance.choice([name for name in self.names if name.type == kind]), text=text)

    def post(self, core: str, *names: Name) -> tuple[list[str], list[tuple[int, int]]]:
        """Tokens of a post and where each name stands in them."""
        head = self.chance.choice([""] * 13 + DATA["heads"])
        tail = self.chance.choice([""] * 10 + DATA["tails"])
        tokens: list[str] = []
        spans: dict[str, tuple[int, int]] = {}
        for word in f"{head} {core} {tail}".split():
            if word in ("X", "Y") and len(names) > "XY".index(word):
                text = names["XY".index(word)].text
                tokens += ["@"] if text[0] == "@" else []
                spans[word] = (len(tokens), len(tokens) + len(text.split()))
                tokens += text.removeprefix("@").split()
            else:
                tokens.append(word)
        return tokens, [spans[word] for word in "XY"[: len(names)]]

    def fresh(self, tokens: list[str]) -> bool:
        """Whether no earlier post has nearly the same words."""
        words = set(normalise(tokens))
        if any(len(words & other) >= 0.75 * len(words | other) for other in self.used):
            return False
        self.used.append(words)
        return True

    def gloss(self, name: Name) -> str:
        """What a language model may call a name: now and then it is wrong."""
        about = name if self.chance.random() > 0.04 else self.chance.choice(self.names)
        word = self.chance.choice(about.words)
        return word if self.chance.random() < 0.06 else f"{self.chance.choice(TYPE_WORDS[about.type])}/{word}"

    def knowledge(self, tokens: list[str], names: tuple[Name, ...], full: bool) -> dict[str, str]:
        """Caption and explanations: one name of ten is missing, some are cut short, some nouns are no names."""
        chance = self.chance
        caption = names[0].picture if names else "a blurred photo of a street"
        if chance.random() < 0.2:
            caption = chance.choice(("a group of people", "a person with a phone", "a grey sky", "a table"))
        items, said = [], []
        for name in names:
            if chance.random() < 0.1:
                continue
            text = name.text.removeprefix("@")
            text = text.split()[0] if chance.random() < 0.03 else text
            items.append((text, self.gloss(name)))
            said.append(f"{text} is probably a {name.kind}.")
        items += [(word, DATA["nouns"][word]) for word in tokens if word in DATA["nouns"] and chance.random() < 0.7]
        if chance.random() < 0.08:
            items.append(chance.choice((("crowd", "people"), ("photo", "picture"), ("sky", "nature"))))
        found = {"cot_noun": " ".join(f"{place}. {word} ({gloss})" for place, (word, gloss) in enumerate(items, 1))}
        if full:
            found["caption"] = caption
            found["cot_sentence"] = " ".join(said) or "The writer speaks of everyday life."
            matches = chance.choice(("The picture fits the text.", f"The picture shows {caption}."))
            found["cot_multimodality"] = matches
        return found

    def mner(self, split: str) -> dict:
        chance = self.chance
        while True:
            draw = chance.random()
            names: tuple[Name, ...] = ()
            if draw < 0.13:
                core = " . ".join(chance.sample(DATA["none"], 2))
            elif draw < 0.38:
                names, core = (self.name(split), self.name(split)), chance.choice(DATA["two"])
            elif draw < 0.75:
                names, core = (self.name(split),), chance.choice(DATA["open"])
            else:
                names = (self.name(split),)
                core = chance.choice(DATA["clear"][names[0].type])
            if len(set(names)) < len(names):
                continue
            tokens, spans = self.post(core, *names)
            if self.fresh(tokens):
                break
        tags = ["O"] * len(tokens)
        for name, (start, end) in zip(names, spans, strict=True):
            tags[start:end] = [f"B-{name.type}"] + [f"I-{name.type}"] * (end - start - 1)
        full = split != "unlabelled"
        return {"tokens": tokens, "ner_tags": tags if full else None, **self.knowledge(tokens, names, full)}

    def mre(self, split: str) -> dict:
        chance = self.chance
        while True:
            related = chance.random() < 0.65
            pairs = list(RELATIONS) if related else list(product(TYPE_WORDS, TYPE_WORDS))
            first, second = chance.choice(pairs)
            names = (self.name(split, first), self.name(split, second))
            if names[0] == names[1]:
                continue
            relation = RELATIONS.get((first, second), "None")
            cores = DATA["pairs"]
            if relation != "None" and chance.random() < 0.3:
                cores = DATA["pairs_clear"][f"{first} {second}"]
            elif chance.random() < 0.1:
                cores, relation = DATA["pairs_none"], "None"
            tokens, (head, tail) = self.post(chance.choice(cores), *names)
            if self.fresh(tokens):
                break
        spans = {side: {"start": start, "end": end} for side, (start, end) in (("head", head), ("tail", tail))}
        full = split != "unlabelled"
        ordered = names if head < tail else names[::-1]
        label = relation if full else None
        return {"tokens": tokens, **spans, "relation": label, **self.knowledge(tokens, ordered, full)}


SIZES = {
    "mner": {"train": (("labelled", 220), ("unlabelled", 300)), "validation": (("new", 50),), "test": (("new", 130),)},
    "mre": {"train": (("labelled", 160), ("unlabelled", 160)), "validation": (("new", 40),), "test": (("new", 100),)},
}


def rows(seed: int = 3) -> Iterator[tuple[str, str, list[dict]]]:
    """Task, split and rows of every file."""
    writer = Writer(seed)
    for task, splits in SIZES.items():
        write = getattr(writer, task)
        for split, parts in splits.items():
            found = [write(part) for part, count in parts for _ in range(count)]
            yield task, split, [{"id": f"{task}-{split}-{place:03}", **row} for place, row in enumerate(found)]


def main() -> None:
    for task, split, found in rows():
        lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in found)
        (Path(sys.argv[1]) / f"{task}.{split}.jsonl").write_text("".join(lines), "utf-8")


if __name__ == "__main__":
    main()

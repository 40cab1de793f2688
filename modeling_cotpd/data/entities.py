"""From a label per subword token to entities in characters: the one reading of training, evaluation and inference."""

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from modeling_cotpd.data.bio import entities
from modeling_cotpd.data.words import unit_tokens, units_of, word_spans


class EntityReader:
    """Reads entities from the labels of a text's subword tokens.

    - A unit (a run of letters and digits, or one other character; see `words.units_of`) has the label of its first
      subword token.
    - `B-X` begins an entity. `I-X` continues one of its type, or begins one.
    - An entity that begins within a word, after a `#` or a hyphen, ends no earlier than the word does.
    - A sign within a word begins no entity. Where its label says that it is in one, the word is not parted there.

    So an entity is never empty, never begins or ends within a run of letters, and never overlaps another.

    Args:
        label_names (`Sequence[str]`): Tag names in id order. A name without `B-` or `I-` is read as `I-`.
        prefixes (`Iterable[str]`, *optional*): Marks with one label with the word behind them (`words.word_prefixes`).

    Example:
        >>> reader = EntityReader(["O", "B-PER", "I-PER"])
        >>> reader("(Mira Holt)", [(0, 1), (1, 5), (6, 10), (10, 11)], np.array([0, 1, 2, 0]), np.ones(4))
        [{'start': 1, 'end': 10, 'type': 'PER', 'score': 1.0, 'text': 'Mira Holt'}]
    """

    def __init__(self, label_names: Sequence[str], prefixes: Iterable[str] | None = None):
        self.prefixes = "".join(prefixes or ())
        self.outside = np.array([name == "O" for name in label_names])
        self.begins = [name.startswith("B-") for name in label_names]
        self.types = [name[2:] if name.startswith(("B-", "I-")) else name for name in label_names]

    def __call__(
        self, text: str, offsets: Sequence[tuple[int, int]], labels: np.ndarray, scores: np.ndarray
    ) -> list[dict]:
        """Read the entities of one text, in its order.

        Args:
            text (`str`): The text that was tokenized.
            offsets (`Sequence[tuple[int, int]]`): Characters of each of the n subword tokens; none for special tokens.
            labels, scores (`np.ndarray` of shape `(n,)`): The best label of every token and its probability.

        Returns:
            `list[dict]`: `start`, `end` (characters, end excluded), `type`, `score` (mean over the entity's units
            whose label says so), and `text`.
        """
        if not len(offsets) or self.outside[labels].all():
            return []
        units = units_of(text, self.prefixes)
        found: list[dict] = []
        current: dict | None = None
        for (start, end, joined), (token, reach) in zip(units, unit_tokens(units, offsets, text), strict=True):
            label = None if token is None else int(labels[token])
            if label is not None and not self.outside[label]:
                sign = joined and not text[start].isalnum()
                same = current is not None and not self.begins[label] and self.types[label] == current["type"]
                within = current is not None and joined and current["said"] == start
                if current is not None and (same or (within and (sign or current["sign"]))):
                    current["end"] = end
                elif sign:
                    current = None
                    continue
                else:
                    if current is not None and "after" in current:
                        current["end"] = current["after"]  # "Mira-Holt" of two entities: the hyphen is of neither
                    current = {"start": start, "end": end, "type": self.types[label], "scores": []}
                    found.append(current)
                current["said"], current["sign"] = end, not text[end - 1].isalnum()
                current.pop("after", None)
                current["scores"].append(scores[token])
            elif current is None or (label is None and unicodedata.category(text[start]) in ("Cc", "Cf")):
                continue  # what the tokenizer drops and no reader sees parts nothing
            elif label is None and (joined or (start < reach and text[start].isalnum())):
                current["end"] = end
            elif label is not None and joined and current["end"] == start:
                current["end"] = end  # within a word, the entity goes on to the word's end
                current.setdefault("after", current["said"])
            else:
                current = None
        return [
            {
                "start": entity["start"],
                "end": entity["end"],
                "type": entity["type"],
                "score": round(float(np.mean(entity["scores"])), 6),
                "text": text[entity["start"] : entity["end"]],
            }
            for entity in found
        ]


def gold_entities(tokens: Sequence[str], tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Entities of BIO tags, read leniently: type, first character and the one after the last, in joined tokens.

    Example:
        >>> gold_entities(["Mira", "Holt", "sings"], ["B-PER", "I-PER", "O"])
        [('PER', 0, 9)]
    """
    spans = word_spans(tokens)
    return [(kind, spans[start][0], spans[end - 1][1]) for kind, start, end in entities(tags, lenient=True)]


def entity_tags(entities: Sequence[dict], spans: Sequence[tuple[int, int]]) -> list[str]:
    """Write entities as one BIO tag per word: a word belongs to the first entity that touches it.

    Example:
        >>> entity_tags([{"start": 0, "end": 9, "type": "PER"}], [(0, 4), (5, 9), (10, 15)])
        ['B-PER', 'I-PER', 'O']
    """
    tags = []
    number, before = 0, -1
    for start, end in spans:
        while number < len(entities) and entities[number]["end"] <= start:
            number += 1
        if number < len(entities) and entities[number]["start"] < end:
            tags.append(f"{'I' if before == number else 'B'}-{entities[number]['type']}")
            before = number
        else:
            tags.append("O")
    return tags

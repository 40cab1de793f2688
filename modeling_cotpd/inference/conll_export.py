"""Predicted entities as CoNLL: a token, a tab and its tag per line, which `cotpd predict` and `prepare` read back."""

import re
from itertools import pairwise

from modeling_cotpd.data.conll import IMAGE_HEADER
from modeling_cotpd.markers_cotpd import readable

HEADERS = (IMAGE_HEADER, "-DOCSTART-")
"""What a reader would take for the head of a post; a token that begins so is cut behind its first character."""


def conll_post(row: dict) -> str:
    """One post as lines, an empty one behind it.

    Tokens are what stands between white space, cut where an entity begins or ends inside; so every tag holds exactly.
    Tags are IOB2. A lone surrogate, which UTF-8 cannot hold, becomes U+FFFD.

    Args:
        row (`dict`): `id`, `text` and `entities`, as `EntityPredictor` and `TripleExtractor` give them.

    Example:
        >>> entities = [{"start": 1, "end": 5, "type": "PER"}]
        >>> print(conll_post({"id": "7", "text": "@Maya sings", "entities": entities}).replace("\\t", " "), end="")
        # id = 7
        @ O
        Maya B-PER
        sings O
        <BLANKLINE>
    """
    text = readable(row["text"])
    cuts = {0, len(text)} | {bound for entity in row["entities"] for bound in (entity["start"], entity["end"])}
    lines = ["# id = " + " ".join(readable(row["id"]).split())]
    borders = sorted(cuts)
    for begin, end in pairwise(borders):
        entity = next((entity for entity in row["entities"] if entity["start"] <= begin < entity["end"]), None)
        for match in re.finditer(r"\S+", text[begin:end]):
            for place, token in _safe(match.group(), begin + match.start()):
                lines.append(f"{token}\t{_tag(text, entity, place)}")
    return "\n".join(lines) + "\n\n"


def _tag(text: str, entity: dict | None, place: int) -> str:
    """The tag of a token that begins at a place, in an entity or in none."""
    if entity is None:
        return "O"
    return f"{'I' if text[entity['start'] : place].strip() else 'B'}-{entity['type']}"


def _safe(token: str, place: int) -> list[tuple[int, str]]:
    """A token and where it begins; in two where a reader would take it for a header."""
    if token.startswith(HEADERS):
        return [(place, token[:1]), (place + 1, token[1:])]
    return [(place, token)]

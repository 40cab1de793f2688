"""Reader of MNRE: one Python literal or JSON object per line, and the relation ids."""

import ast
import hashlib
import json
import os
from collections.abc import Iterator

from modeling_cotpd.data.conll import unique_ids
from modeling_cotpd.data.files import place, read_json, read_lines
from modeling_cotpd.data.values import id_of, text_of, token_list, whole_number
from modeling_cotpd.errors import DataError

_KEYS = ("token", "h", "t", "img_id", "relation")


def mnre_id(image: str, tokens: list[str], head: dict, tail: dict) -> str:
    """`IMAGE#HASH`: image, sentence and pair together, the same on every run and machine.

    The image alone is no id, since a post gives one row per pair and the same sentence comes with several images.

    Args:
        image (`str`): The image id.
        tokens (`list[str]`): The sentence.
        head, tail (`dict`): `{"start": int, "end": int}`, in tokens.
    """
    spans = [head["start"], head["end"], tail["start"], tail["end"]]
    text = json.dumps([tokens, spans], ensure_ascii=False)
    return f"{image}#{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def read_mnre(path: str | os.PathLike) -> Iterator[dict]:
    """Rows of a published MNRE file.

    Args:
        path (`str` or `os.PathLike`): A file of lines such as `{'token': [...], 'h': {'name': ..., 'pos': [0, 2]},
            't': {...}, 'img_id': ..., 'relation': ...}`. The lines are read as literals and never evaluated.

    Yields:
        `dict`: `id`, `image`, `tokens`, `head`, `tail`, `relation` (name) and `place`. Rows that repeat sentence, pair
        and image are distinguished by `#2`, `#3` ... in the order of the file.

    Raises:
        DataError: A line is not a literal or lacks a key, a span is not two numbers or lies outside the tokens, or the
            name of an entity is not what stands at its span.
    """
    yield from unique_ids(_rows(path))


def literal_line(line: str, spot: str) -> dict:
    """The object of a line that is a Python literal or JSON, as `json.dumps` writes it.

    Raises:
        DataError: The line is neither, or no object.
    """
    try:
        # JSON first: it writes an emoji as two escapes, which Python reads as two halves.
        value = json.loads(line)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise DataError(
            "The line is not a Python literal of an object.",
            place=spot,
            fix="MNRE's lines look like {'token': [...], ...}.",
        )
    return value


def _rows(path: str | os.PathLike) -> Iterator[dict]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        spot = place(path, number)
        raw = literal_line(line, spot)
        missing = [key for key in _KEYS if key not in raw]
        if missing:
            raise DataError(f"The key {missing[0]!r} is missing.", place=spot, fix=f"The keys are {', '.join(_KEYS)}.")
        tokens, image = token_list(raw["token"], spot, "token"), id_of(raw["img_id"], spot, "img_id")
        if image is None:
            raise DataError("The key 'img_id' is null.", place=spot, fix="It names the picture.")
        relation = raw["relation"]
        if not isinstance(relation, str | None):
            raise DataError(f"The key 'relation' holds {relation!r:.60}.", place=spot, fix="It is a relation's name.")
        head, tail = (_span(raw[key], key, tokens, spot) for key in ("h", "t"))
        yield {
            "id": mnre_id(image, tokens, head, tail),
            "image": image,
            "tokens": tokens,
            "head": head,
            "tail": tail,
            "relation": relation,
            "place": spot,
        }


def _span(entity: dict, key: str, tokens: list[str], spot: str) -> dict:
    position = entity.get("pos") if isinstance(entity, dict) else None
    bounds = [whole_number(end) for end in position] if isinstance(position, list | tuple) else []
    numbers = [end for end in bounds if end is not None]
    if len(bounds) != 2 or len(numbers) != 2:
        raise DataError(f"{key!r} has no 'pos' of two token numbers.", place=spot, fix="It looks like 'pos': [0, 2].")
    start, end = numbers
    if not 0 <= start < end <= len(tokens):
        raise DataError(
            f"The span [{start}, {end}) of {key!r} lies outside the {len(tokens)} tokens.",
            place=spot,
            fix="Spans count tokens from 0 and exclude their end.",
        )
    name = entity.get("name")
    if name is not None and text_of(name, "name", spot) != " ".join(tokens[start:end]):
        raise DataError(
            f"{key!r} is named {name!r}, but {' '.join(tokens[start:end])!r} stands at its span.",
            place=spot,
            fix="Correct the name or the span.",
        )
    return {"start": start, "end": end}


def read_relation_ids(path: str | os.PathLike) -> list[str]:
    """Relation names in id order from a file such as `rel2id.json`, an object of name to id.

    Raises:
        DataError: The file is not such an object, or its ids are not 0, 1, 2, ...
    """
    ids = read_json(path)
    if not isinstance(ids, dict) or sorted(ids.values(), key=str) != sorted(range(len(ids)), key=str):
        raise DataError(
            "The file does not map relation names to the ids 0, 1, 2, ...",
            place=str(path),
            fix='It looks like {"None": 0, "/per/per/peer": 1}.',
        )
    return sorted(ids, key=ids.__getitem__)

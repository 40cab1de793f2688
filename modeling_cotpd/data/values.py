"""Values of rows as files, pandas and annotation tools give them: texts, ids, tokens, spans, glosses."""

import logging
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from modeling_cotpd.errors import DataError
from modeling_cotpd.text_safety import whole_characters

logger = logging.getLogger(__name__)

EXACT = 1 << 53
"""Floats from here on do not hold every whole number, so an id written as such a float has lost digits."""
SPAN_KEYS = ("spans", "entities", "ents", "label", "labels")
"""Where a row with `text` may hold its character spans."""
_SPAN_FORM = 'A span looks like [0, 4, "PER"] or {"start": 0, "end": 4, "label": "PER"}; it counts characters.'
_COUNTING = "Spans count characters from 0 and exclude their end."


def is_missing(value: object) -> bool:
    """Whether a value is `None` or NaN, which is how pandas writes a missing value."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def text_of(value: object, column: str, spot: str) -> str:
    """A text; a missing one is empty. Half of a surrogate pair becomes U+FFFD, with a warning."""
    if is_missing(value):
        return ""
    if not isinstance(value, str):
        raise DataError(f"The column {column!r} holds a {type(value).__name__}.", place=spot, fix="It holds a string.")
    text = whole_characters(value)
    if text != value and "\ufffd" in text:
        logger.warning("%s: half of a surrogate pair in %r is read as U+FFFD", spot, column)
    return text


def id_of(value: object, spot: str, column: str = "id") -> str | None:
    """An id as text, or `None` for a missing one. A whole number that pandas made a float (`17.0`) is `"17"`."""
    if is_missing(value):
        return None
    if isinstance(value, float) and value.is_integer():
        if abs(value) >= EXACT:
            fix = "Read the column as text, such as pandas.read_csv(..., dtype={'id': str})."
            raise DataError(f"The {column} {value!r} is a float that has lost digits.", place=spot, fix=fix)
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"The {column} is {str(value)[:40]!r}.", place=spot, fix="It is a string or a whole number.")
    return text_of(str(value), column, spot)


def whole_number(value: object) -> int | None:
    """The value as `int` where it is a whole number, also one that pandas made a float; else `None`."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def token_list(value: object, spot: str, column: str = "tokens") -> list[str]:
    """The tokens of a row."""
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        fix = 'It looks like ["Hello", "Bristol", "!"]; a post that is not split into tokens goes into "text".'
        raise DataError(f"The column {column!r} does not hold a list of strings.", place=spot, fix=fix)
    return [text_of(token, column, spot) for token in value]


def gloss_list(value: object, spot: str) -> list[dict[str, str]]:
    """The glosses of a row; none where they are missing."""
    if is_missing(value):
        return []
    if not isinstance(value, list) or not all(isinstance(gloss, dict) for gloss in value):
        fix = 'It looks like [{"mention": "Mira", "gloss": "a singer"}].'
        raise DataError("The column 'glosses' does not hold a list of objects.", place=spot, fix=fix)
    return [{key: text_of(gloss.get(key), key, spot) for key in ("mention", "gloss")} for gloss in value]


def bounds_of(value: object, column: str, spot: str) -> tuple[int, int]:
    """Start and end, which is excluded, of a span: `[0, 2]`, `{"start": 0, "end": 2}` or `{"pos": [0, 2]}`."""
    bounds = value.get("pos", [value.get("start"), value.get("end")]) if isinstance(value, dict) else value
    if isinstance(bounds, list | tuple) and len(bounds) == 2:
        start, end = map(whole_number, bounds)
        if start is not None and end is not None:
            return start, end
    fix = f'A span is two whole numbers, the second excluded: "{column}": [0, 2].'
    raise DataError(f"{column!r} is {value!r:.40}, not a span.", place=spot, fix=fix)


def check_token_span(start: int, end: int, count: int, what: str, spot: str) -> None:
    """Raise a `DataError` for a span outside of `count` tokens."""
    if not 0 <= start < end <= count:
        fix = "Spans count tokens from 0 and exclude their end."
        raise DataError(f"The {what} [{start}, {end}) lies outside the {count} tokens.", place=spot, fix=fix)


def trimmed(start: int, end: int, text: str, what: str, spot: str) -> tuple[int, int]:
    """A character span without white space at its ends; a `DataError` where it lies outside or nothing is left."""
    if not 0 <= start < end <= len(text):
        message = f"{what} [{start}, {end}) lies outside the {len(text)} characters."
        raise DataError(message, place=spot, fix=_COUNTING)
    inner = text[start:end]
    if not inner.strip():
        raise DataError(f"{what} [{start}, {end}) holds white space only.", place=spot, fix="Move or remove it.")
    return end - len(inner.lstrip()), start + len(inner.rstrip())


def flat_row(raw: dict, spot: str) -> dict:
    """A row of doccano, Label Studio, Prodigy or spaCy with its text under `text` and its spans under `SPAN_KEYS`.

    Other rows stay as they are. Label Studio nests the text under `data` and the spans under `annotations`; a task
    without an annotation is unlabelled. Prodigy's rejected and ignored rows are unlabelled too.

    Raises:
        DataError: A task has several annotations, so that it is unclear which one is right.
    """
    if isinstance(raw.get("data"), dict) and "text" not in raw and "tokens" not in raw:
        given = raw.get("annotations") or []
        if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
            raise DataError("The key 'annotations' does not hold a list of objects.", place=spot)
        given = [each for each in given if not each.get("was_cancelled")]
        if len(given) > 1:
            raise DataError(f"The task has {len(given)} annotations.", place=spot, fix="Keep one annotation per task.")
        row = {**raw["data"], "entities": given[0].get("result") if given else None}
        return {**row, "id": row.get("id", raw.get("id"))}
    if raw.get("answer") in ("reject", "ignore"):
        return {**{key: value for key, value in raw.items() if key not in SPAN_KEYS}, "spans": None}
    return raw


def has_spans(row: dict) -> bool:
    """Whether a row has a text with character spans, and no tokens of its own."""
    tokens = row.get("tokens")
    tokenized = isinstance(tokens, list) and any(isinstance(token, str) for token in tokens)
    return isinstance(row.get("text"), str) and not tokenized and any(key in row for key in SPAN_KEYS)


def tokens_and_tags(row: dict, spot: str) -> tuple[list[str], list[str] | None]:
    """Tokens and BIO tags of a row with character spans; no tags where its spans are null.

    White space at the ends of a span is not part of it, and white space within a label becomes `_`.
    """
    text = text_of(row["text"], "text", spot)
    key = next((key for key in SPAN_KEYS if row.get(key) is not None), None)
    if key is None:
        return [text[start:end] for start, end in cut(text)], None
    if not isinstance(row[key], list):
        raise DataError(f"{key!r} does not hold a list of spans.", place=spot, fix=_SPAN_FORM)
    spans = sorted(set(_spans(row[key], text, spot)))
    for (start, end, label), (following, last, other) in pairwise(spans):
        if following < end:
            message = f"{label} [{start}, {end}) and {other} [{following}, {last}) overlap."
            raise DataError(message, place=spot, fix="Keep one of the two: a token has one tag.")
    tokens = cut(text, [bound for start, end, _ in spans for bound in (start, end)])
    tags = ["O"] * len(tokens)
    for start, end, label in spans:
        first, last = _tokens_within(tokens, start, end)
        tags[first:last] = [f"B-{label}"] + [f"I-{label}"] * (last - first - 1)
    return [text[start:end] for start, end in tokens], tags


def tokens_and_pair(row: dict, spot: str) -> tuple[list[str], tuple[int, int], tuple[int, int]]:
    """Tokens of a row with `text`, and its `head` and `tail`, given in characters, in tokens."""
    text = text_of(row["text"], "text", spot)
    spans = [trimmed(*bounds_of(row[side], side, spot), text, f"The {side} span", spot) for side in ("head", "tail")]
    tokens = cut(text, [bound for span in spans for bound in span])
    head, tail = (_tokens_within(tokens, start, end) for start, end in spans)
    return [text[start:end] for start, end in tokens], head, tail


def _tokens_within(tokens: list[tuple[int, int]], start: int, end: int) -> tuple[int, int]:
    """The first of the tokens that stand in a span of characters, and the one after the last."""
    inside = [number for number, (first, last) in enumerate(tokens) if start <= first and last <= end]
    return inside[0], inside[-1] + 1


def cut(text: str, bounds: Iterable[int] = ()) -> list[tuple[int, int]]:
    """Character spans of the tokens of a text.

    Tokens end at white space, at `bounds`, and at punctuation that stands at the edge of a word. `#` and `@` stay with
    the word behind them.

    Example:
        >>> [text[start:end] for text in ["(Mira's) @holt!!"] for start, end in cut(text, [5])]
        ['(', 'Mira', "'s", ')', '@holt', '!!']
    """
    tokens: list[tuple[int, int]] = []
    for start, end in pairwise(sorted({0, len(text), *bounds})):
        for match in re.finditer(r"\S+", text[start:end]):
            tokens += _edges(text, start + match.start(), start + match.end())
    return tokens


def _edges(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The word in [start, end) between the runs of equal punctuation characters at its edges."""
    first, last = start, end
    while first < end and _is_edge(text[first]) and not _begins_word(text, first, end):
        first += 1
    while last > first and _is_edge(text[last - 1]):
        last -= 1
    if text[first:last] in ("#", "@", "'", "’"):  # punctuation alone after all
        first = last
    yield from _runs(text, start, first)
    if first < last:
        yield first, last
    yield from _runs(text, last, end)


def _runs(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for match in re.finditer(r"(.)\1*", text[start:end], re.DOTALL):
        yield start + match.start(), start + match.end()


def _begins_word(text: str, place: int, end: int) -> bool:
    """Whether punctuation belongs to the word behind it: `#` and `@`, and the apostrophe of an ending such as `'s`."""
    if text[place] in "#@":
        return bool(text[place:end].strip("#@"))
    return text[place] in "'’" and text[place - 1 : place].isalnum() and text[place + 1 : end][:1].isalnum()


def _is_edge(character: str) -> bool:
    return unicodedata.category(character).startswith("P") and character != "_"


def _spans(values: Sequence, text: str, spot: str) -> Iterator[tuple[int, int, str]]:
    for value in values:
        said = None
        if isinstance(value, dict):
            if isinstance(value.get("value"), dict):
                value = value["value"]
            elif value.get("type") == "relation":
                continue
            said = value.get("text")
            keys = (("start", "start_offset"), ("end", "end_offset"))
            value = [_first(value, *names) for names in (*keys, ("label", "labels", "type", "entity_group", "tag"))]
        start, end, label = value if isinstance(value, list | tuple) and len(value) == 3 else (None, None, None)
        start, end = whole_number(start), whole_number(end)
        if isinstance(label, list) and len(label) == 1:
            label = label[0]
        if start is None or end is None or not isinstance(label, str) or not label.strip():
            raise DataError(f"{value!r:.60} is not a span.", place=spot, fix=_SPAN_FORM)
        if isinstance(said, str) and text[start:end] != said:
            start, end = _from_utf16(text, start, end, said, spot)
        yield *trimmed(start, end, text, f"The {label} span", spot), "_".join(label.split())


def _first(value: dict, *keys: str):
    return next((value[key] for key in keys if value.get(key) is not None), None)


def _from_utf16(text: str, start: int, end: int, said: str, spot: str) -> tuple[int, int]:
    """Span of a text that was counted in UTF-16 units, as a browser counts, where an emoji is two."""
    units = text.encode("utf-16-le")
    if 0 <= start < end <= len(units) // 2 and units[2 * start : 2 * end] == said.encode("utf-16-le", "replace"):
        before = units[: 2 * start].decode("utf-16-le", "replace")
        return len(before), len(before) + len(said)
    message = f"[{start}, {end}) is {text[start:end]!r:.40}, but the span's text is {said!r:.40}."
    raise DataError(message, place=spot, fix=_COUNTING)

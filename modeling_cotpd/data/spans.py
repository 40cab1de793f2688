"""Texts with labelled character spans, as doccano, Label Studio, Prodigy and spaCy export them, as tokens and tags."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from modeling_cotpd.data.values import span_of, text_of, whole_number
from modeling_cotpd.errors import DataError

SPAN_KEYS = ("spans", "entities", "ents", "label", "labels")
"""Where a row with `text` may hold its spans."""
FORM = 'A span looks like [0, 4, "PER"] or {"start": 0, "end": 4, "label": "PER"}; it counts characters.'
_STARTS, _ENDS = ("start", "start_offset"), ("end", "end_offset")
_NAMES = ("label", "labels", "type", "entity_group", "tag")


def flat_row(raw: dict, spot: str) -> dict:
    """A row of any of the tools with its text under `text` and its spans under one of `SPAN_KEYS`; others as they are.

    Label Studio nests the text under `data` and the spans under `annotations`; a task without an annotation is
    unlabelled. Prodigy's rejected and ignored rows are unlabelled too, since the right spans are not known.

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
        spans = given[0].get("result") if given else None
        row = {**raw["data"], "entities": spans}
        return {**row, "id": row.get("id", raw.get("id"))}
    if raw.get("answer") in ("reject", "ignore"):
        return {**{key: value for key, value in raw.items() if key not in SPAN_KEYS}, "spans": None}
    return raw


def has_spans(row: dict) -> bool:
    """Whether a row has a text with character spans, and no tokens of its own."""
    tokens = row.get("tokens")
    return (
        isinstance(row.get("text"), str)
        and not (isinstance(tokens, list) and any(isinstance(token, str) for token in tokens))
        and any(key in row for key in SPAN_KEYS)
    )


def tokens_and_tags(row: dict, spot: str) -> tuple[list[str], list[str] | None]:
    """Tokens and BIO tags of a row with character spans; no tags where its spans are null.

    White space at the ends of a span is not part of it, and white space within a label becomes `_`.

    Raises:
        DataError: A span has no label, lies outside of the text, holds white space only, or overlaps another.
    """
    text = text_of(row["text"], "text", spot)
    key = next((key for key in SPAN_KEYS if row.get(key) is not None), None)
    if key is None:
        return [text[start:end] for start, end in cut(text)], None
    if not isinstance(row[key], list):
        raise DataError(f"{key!r} does not hold a list of spans.", place=spot, fix=FORM)
    spans = sorted(set(_spans(row[key], text, spot)))
    for (start, end, label), (following, last, other) in pairwise(spans):
        if following < end:
            raise DataError(
                f"{label} [{start}, {end}) and {other} [{following}, {last}) overlap.",
                place=spot,
                fix="Keep one of the two: a token has one tag.",
            )
    tokens = cut(text, [bound for start, end, _ in spans for bound in (start, end)])
    tags = ["O"] * len(tokens)
    for start, end, label in spans:
        inside = [number for number, (first, last) in enumerate(tokens) if start <= first and last <= end]
        for number in inside:
            tags[number] = f"{'B' if number == inside[0] else 'I'}-{label}"
    return [text[start:end] for start, end in tokens], tags


def tokens_and_pair(row: dict, spot: str) -> tuple[list[str], tuple[int, int], tuple[int, int]]:
    """Tokens of a row with `text`, and its `head` and `tail`, given in characters, in tokens.

    Raises:
        DataError: Head or tail is no span, lies outside of the text, or holds white space only.
    """
    text = text_of(row["text"], "text", spot)
    spans = [trimmed(*span_of(row[side], side, spot), text, f"The {side} span", spot) for side in ("head", "tail")]
    tokens = cut(text, [bound for span in spans for bound in span])
    head, tail = (
        (
            next(number for number, (first, _) in enumerate(tokens) if first >= start),
            1 + max(number for number, (_, last) in enumerate(tokens) if last <= end),
        )
        for start, end in spans
    )
    return [text[start:end] for start, end in tokens], head, tail


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
    for match in re.finditer(r"(.)\1*", text[start:first], re.DOTALL):
        yield start + match.start(), start + match.end()
    if first < last:
        yield first, last
    for match in re.finditer(r"(.)\1*", text[last:end], re.DOTALL):
        yield last + match.start(), last + match.end()


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
            value = [_first(value, _STARTS), _first(value, _ENDS), _first(value, _NAMES)]
        if not (isinstance(value, list | tuple) and len(value) == 3):
            raise DataError(f"{value!r:.60} is not a span.", place=spot, fix=FORM)
        start, end, label = whole_number(value[0]), whole_number(value[1]), value[2]
        if isinstance(label, list) and len(label) == 1:
            label = label[0]
        if start is None or end is None or not isinstance(label, str) or not label.strip():
            raise DataError(f"{value!r:.60} is not a span.", place=spot, fix=FORM)
        if isinstance(said, str) and text[start:end] != said:
            start, end = _from_utf16(text, start, end, said, spot)
        start, end = trimmed(start, end, text, f"The {label} span", spot)
        yield start, end, "_".join(label.split())


def _first(value: dict, keys: Sequence[str]):
    return next((value[key] for key in keys if value.get(key) is not None), None)


def _from_utf16(text: str, start: int, end: int, said: str, spot: str) -> tuple[int, int]:
    """Span of a text that was counted in UTF-16 units, as a browser counts, where an emoji is two."""
    units = text.encode("utf-16-le")
    if 0 <= start < end <= len(units) // 2 and units[2 * start : 2 * end] == said.encode("utf-16-le", "replace"):
        before = units[: 2 * start].decode("utf-16-le", "replace")
        return len(before), len(before) + len(said)
    raise DataError(
        f"[{start}, {end}) is {text[start:end]!r:.40}, but the span's text is {said!r:.40}.",
        place=spot,
        fix="Spans count characters from 0 and exclude their end.",
    )


def trimmed(start: int, end: int, text: str, what: str, spot: str) -> tuple[int, int]:
    """The span without white space at its ends.

    Raises:
        DataError: It lies outside of the text, or nothing is left of it.
    """
    if not 0 <= start < end <= len(text):
        raise DataError(
            f"{what} [{start}, {end}) lies outside the {len(text)} characters.",
            place=spot,
            fix="Spans count characters from 0 and exclude their end.",
        )
    inner = text[start:end]
    if not inner.strip():
        raise DataError(f"{what} [{start}, {end}) holds white space only.", place=spot, fix="Move or remove it.")
    return end - len(inner.lstrip()), start + len(inner.rstrip())

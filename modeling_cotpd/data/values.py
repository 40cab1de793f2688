"""Single values of a row: texts, ids, numbers and spans, in the forms that files and pandas give them."""

import logging
import math

from modeling_cotpd.errors import DataError
from modeling_cotpd.text_safety import whole_characters

logger = logging.getLogger(__name__)

EXACT = 1 << 53
"""Floats from here on do not hold every whole number, so an id written as such a float has lost digits."""


def is_missing(value: object) -> bool:
    """Whether a value is `None` or NaN, which is how pandas writes a missing value."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def text_of(value: object, column: str, spot: str) -> str:
    """A text, with a missing value as the empty string.

    Half of a surrogate pair (`"\\ud83d"`, an emoji that was cut) becomes U+FFFD, which is as long, with a warning:
    neither tokenizers nor Parquet can hold it. The two halves of one pair become their character.

    Raises:
        DataError: The value is not a string.
    """
    if is_missing(value):
        return ""
    if not isinstance(value, str):
        raise DataError(f"The column {column!r} holds a {type(value).__name__}.", place=spot, fix="It holds a string.")
    text = whole_characters(value)
    if text != value and "\ufffd" in text:
        logger.warning("%s: half of a surrogate pair in %r is read as U+FFFD", spot, column)
    return text


def id_of(value: object, spot: str, column: str = "id") -> str | None:
    """An id as text, or `None` for a missing one. A whole number that pandas made a float (`17.0`) is `"17"`.

    Raises:
        DataError: The value is neither a string nor a whole number, or a float too large to be exact.
    """
    if is_missing(value):
        return None
    if isinstance(value, float) and value.is_integer():
        if abs(value) >= EXACT:
            raise DataError(
                f"The {column} {value!r} is a float that has lost digits.",
                place=spot,
                fix="Read the column as text, such as pandas.read_csv(..., dtype={'id': str}).",
            )
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise DataError(f"The {column} is {str(value)[:40]!r}.", place=spot, fix="It is a string or a whole number.")
    return text_of(str(value), column, spot)


def whole_number(value: object) -> int | None:
    """The value as `int` where it is a whole number, also one that pandas made a float; else `None`."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def span_of(value: object, column: str, spot: str) -> tuple[int, int]:
    """First and last-but-excluded position of a span given as `[0, 2]`, `{"start": 0, "end": 2}` or `{"pos": [0, 2]}`.

    Raises:
        DataError: The value has none of these forms.
    """
    bounds = value.get("pos", [value.get("start"), value.get("end")]) if isinstance(value, dict) else value
    if isinstance(bounds, list | tuple) and len(bounds) == 2:
        start, end = map(whole_number, bounds)
        if start is not None and end is not None:
            return start, end
    raise DataError(
        f"{column!r} is {value!r:.40}, not a span.",
        place=spot,
        fix=f'A span is two whole numbers, the second excluded: "{column}": [0, 2].',
    )


def token_list(value: object, spot: str, column: str = "tokens") -> list[str]:
    """The tokens of a row.

    Raises:
        DataError: The value is not a list of strings.
    """
    if not isinstance(value, list) or not all(isinstance(token, str) for token in value):
        raise DataError(
            f"The column {column!r} does not hold a list of strings.",
            place=spot,
            fix='It looks like ["Hello", "Bristol", "!"]; a post that is not split into tokens goes into "text".',
        )
    return [text_of(token, column, spot) for token in value]


def glosses_of(value: object, spot: str) -> list[dict[str, str]]:
    """The glosses of a row; none where they are missing.

    Raises:
        DataError: The value is not a list of objects, or a mention or gloss is not a text.
    """
    if is_missing(value):
        return []
    if not isinstance(value, list) or not all(isinstance(gloss, dict) for gloss in value):
        raise DataError(
            "The column 'glosses' does not hold a list of objects.",
            place=spot,
            fix='It looks like [{"mention": "Mira", "gloss": "a singer"}].',
        )
    return [{key: text_of(gloss.get(key), key, spot) for key in ("mention", "gloss")} for gloss in value]

"""Mentions with their short explanations, read from the JSON that a language model writes."""

import ast
import json
import re
from collections.abc import Iterable

from modeling_cotpd.text_safety import storable

_MENTION = ("mention", "name", "entity", "term", "word", "text", "phrase", "noun")
_GLOSS = ("gloss", "explanation", "meaning", "description", "definition", "type", "category")
_ENTRY = re.compile(r"\s*(.+?)\s*(?::\s+|\s[-–—]\s|\()(.+?)\)?\s*", re.DOTALL)
_BEGIN = re.compile(r"[\[{]")
_GAP = re.compile(r"[\s,;]*")
_LIST_FIELD = re.compile(r'\{\s*"\w+"\s*:\s*\[')
MOST_BEGINNINGS = 200
"""Brackets that are tried as the beginning of JSON; an answer with more of them holds none."""


def read_glosses(text: str) -> list[dict[str, str]] | None:
    """Read a JSON list of mentions and glosses, as tolerantly as it can be understood; `None` when there is none.

    It may stand in a code fence or a sentence, be wrapped in an object, be cut at its end, use single quotes or
    trailing commas, use other common names for the two fields, map mentions to glosses, or be one object per line.

    Example:
        >>> read_glosses('```json\\n[{"mention": "Varro Quill", "gloss": "goalkeeper"}]\\n```')
        [{'mention': 'Varro Quill', 'gloss': 'goalkeeper'}]
    """
    found = find_json(text)
    if isinstance(found, dict) and not _field(found, _MENTION):
        lists = [value for value in found.values() if isinstance(value, list)]
        if lists or not all(isinstance(value, str) for value in found.values()):
            found = lists[0] if lists else None
        else:
            found = [{"mention": mention, "gloss": gloss} for mention, gloss in found.items()]
    elif isinstance(found, dict):
        found = _elements(text, text.find("{"))
    if not isinstance(found, list):
        return None
    glosses: dict[str, str] = {}
    for item in found:
        mention, gloss = map(storable, _mention_and_gloss(item))  # JSON may hold half an emoji, escaped
        if mention and not glosses.get(mention):
            glosses[mention] = gloss
    if found and not glosses:
        return None
    return [{"mention": mention, "gloss": gloss} for mention, gloss in glosses.items()]


def list_of(glosses: Iterable[dict[str, str]]) -> str:
    """Return glosses as the numbered list that is the noun grain of published explanations.

    Example:
        >>> list_of([{"mention": "Varro Quill", "gloss": "goalkeeper"}, {"mention": "Lindmere", "gloss": ""}])
        '1. Varro Quill (goalkeeper) 2. Lindmere'
    """
    items = (f"{item['mention']} ({item['gloss']})" if item["gloss"] else item["mention"] for item in glosses)
    return " ".join(f"{number}. {item}" for number, item in enumerate(items, 1))


def find_json(text: str) -> object:
    """Return the first JSON object or array in a text, or the complete elements of a cut one, or `None`."""
    for number, match in enumerate(_BEGIN.finditer(text)):
        if number == MOST_BEGINNINGS:
            return None
        try:
            return _decode(text, match.start())[0]
        except RecursionError:  # thousands of brackets are no answer, and the later ones no better
            return None
        except ValueError:
            pass
        if match.group() == "[" and (elements := _elements(text, match.end())):
            return elements
        if (field := _LIST_FIELD.match(text, match.start())) is not None:
            name = json.loads(field.group()[1 : field.group().index(":")].strip())
            return {name: _elements(text, field.end())}
    return None


def _decode(text: str, start: int) -> tuple[object, int]:
    """The JSON value, or Python literal, that begins at a place, and its end."""
    try:
        return json.JSONDecoder().raw_decode(text, start)
    except json.JSONDecodeError as error:
        # Single quotes and trailing commas: try up to the last closing bracket.
        end = text.rfind("]" if text[start] == "[" else "}") + 1
        if end <= start or end - start > 20_000:
            raise
        try:
            return ast.literal_eval(text[start:end]), end
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            raise error from None


def _elements(text: str, position: int) -> list:
    """The complete JSON values one after another from a place on."""
    elements: list = []
    while True:
        gap = _GAP.match(text, position)
        try:
            element, position = json.JSONDecoder().raw_decode(text, gap.end() if gap else position)
        except (ValueError, RecursionError):
            return elements
        elements.append(element)


def _field(item: dict, names: tuple[str, ...]) -> str:
    """The first of several fields that holds a text."""
    folded = {str(name).casefold(): value for name, value in item.items()}
    for name in names:
        value = folded.get(name)
        value = ", ".join(map(str, value)) if isinstance(value, list) else value
        if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
            return " ".join(str(value).split())
    return ""


def _mention_and_gloss(item: object) -> tuple[str, str]:
    if isinstance(item, dict):
        if not (mention := _field(item, _MENTION)) and len(item) == 1:
            ((mention, gloss),) = item.items()
            return " ".join(str(mention).split()), " ".join(gloss.split()) if isinstance(gloss, str) else ""
        return mention, _field(item, _GLOSS)
    if isinstance(item, list | tuple) and item and all(isinstance(part, str) for part in item):
        return " ".join(item[0].split()), " ".join(" ".join(item[1:]).split())
    if isinstance(item, str):
        entry = _ENTRY.fullmatch(item)
        return (entry.group(1), " ".join(entry.group(2).split())) if entry else (" ".join(item.split()), "")
    return "", ""

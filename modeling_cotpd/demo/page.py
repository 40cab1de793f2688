"""What the demo shows of a prediction, as HTML: the macros of `page.html`, which escape all of a post and model."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from modeling_cotpd.data.glosses import find_glosses, parse_noun_list
from modeling_cotpd.data.schema import PAIR
from modeling_cotpd.inference.colours import colour_of
from modeling_cotpd.inference.view_predictor import ViewPrediction

COLUMN_NAMES = {
    "caption": "The picture in words",
    "cot_noun": "Nouns",
    "cot_sentence": "The sentence",
    "cot_multimodality": "Text and picture",
}
BEST = 8
"""So many relations, the most probable ones, are shown; the others can be unfolded."""
MOST_WORDS = 80
"""The heat map shows the first words of a longer post; more columns would only slow the browser down."""
# Gradio fills an HTML component in as a template, in which these would be read as code; no macro has one of its own
_CODE = str.maketrans({"$": "&#36;", "{": "&#123;", "}": "&#125;", "`": "&#96;"})
# What HTML or UTF-8 cannot hold, and the marks that turn the direction of all text behind them
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def html(macro: str, *values: Any) -> str:
    """A macro of `page.html`, filled in.

    Example:
        >>> html("notice", ["<b>${x}"])
        '<section class="card notice" role="alert"><p>&lt;b&gt;&#36;&#123;x&#125;</p></section>'
    """
    return _UNPRINTABLE.sub("\ufffd", getattr(MACROS, macro)(*values)).translate(_CODE)


def render(prediction: ViewPrediction, kinds: Sequence[str]) -> str:
    """The whole answer; `kinds` are all entity types that the model knows."""
    return html("answer", prediction, kinds)


def parts(text: str, spans: Iterable[dict]) -> list[tuple[str, dict | None]]:
    """A text cut at the ends of spans, each part with its span; of two that overlap the first."""
    cut, done = list[tuple[str, dict | None]](), 0
    for span in sorted(spans, key=lambda span: (span["start"], -span["end"])):
        if span["start"] >= done:
            cut += [(text[done : span["start"]], None), (text[span["start"] : span["end"]], span)]
            done = span["end"]
    return [*cut, (text[done:], None)]


def spans_of(view: dict) -> list[dict]:
    """The pair of entities of a relation."""
    return [{"start": view[side][0], "end": view[side][1], "type": side} for side in PAIR]


def glosses_in(text: str, knowledge: dict[str, str]) -> list[dict]:
    """The glosses of the noun explanation, where their mentions stand in the text."""
    found = find_glosses(text, parse_noun_list(knowledge.get("cot_noun", "")))
    return [{"start": start, "end": end, "gloss": gloss} for start, end, gloss in found]


def shade(share: float, most: float) -> str:
    """The style of a cell as dark as its share of the largest; its text stays readable."""
    depth = share / most if most > 0 else 0.0
    return f"background:rgba(37,99,235,{0.9 * depth:.2f});color:{'#fff' if depth > 0.7 else 'inherit'}"


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
)
_environment.globals |= {
    **{"colour_of": colour_of, "parts": parts, "spans_of": spans_of, "glosses_in": glosses_in, "shade": shade},
    **{"BEST": BEST, "MOST_WORDS": MOST_WORDS, "COLUMN_NAMES": COLUMN_NAMES},
}
MACROS: Any = _environment.get_template("page.html").module

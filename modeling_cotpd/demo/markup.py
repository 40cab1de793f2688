"""Small pieces of HTML: escaped text, marked entities, bars, shades. Nothing of a post or model enters as it is."""

import re
from collections.abc import Iterable, Sequence
from html import escape

from modeling_cotpd.inference.colours import colour_of

# Gradio fills an HTML component in as a template, in which these would be read as code
_TEMPLATE = str.maketrans({"$": "&#36;", "{": "&#123;", "}": "&#125;", "`": "&#96;"})
# What HTML or UTF-8 cannot hold, and the marks that turn the direction of all text behind them
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


def plain(text: str) -> str:
    """A text as HTML that shows it, whatever it holds.

    Example:
        >>> plain("<b>${x}")
        '&lt;b&gt;&#36;&#123;x&#125;'
    """
    return escape(_UNPRINTABLE.sub("\ufffd", text)).translate(_TEMPLATE)


def marked(text: str, entities: Sequence[dict], kinds: Iterable[str]) -> str:
    """A post with its entities marked; of two that overlap the first."""
    ordered = sorted(entities, key=lambda entity: (entity["start"], -entity["end"]))
    spans = ((entity["start"], entity["end"], entity["type"]) for entity in ordered)
    return _post(text, ((start, end, chip(text[start:end], kind, kinds)) for start, end, kind in spans))


def _post(text: str, spans: Iterable[tuple[int, int, str]]) -> str:
    """A post with spans of its characters replaced by HTML; one that begins within an earlier one is left out."""
    parts, done = [], 0
    for start, end, html in spans:
        if start >= done:
            parts += [plain(text[done:start]), html]
            done = end
    return f'<p class="post" dir="auto">{"".join(parts)}{plain(text[done:])}</p>'


def chip(mention: str, kind: str, kinds: Iterable[str]) -> str:
    """An entity with its type. The type stays on the line of the last word."""
    words, space, last = mention.rpartition(" ")
    if len(last) > 30:
        words, space, last = mention, "", ""
    end = f'<span class="end"><bdi>{plain(last)}</bdi><small>{plain(kind)}</small></span>'
    return f'<mark style="background:{colour_of(kind, kinds)}">{plain(words + space)}{end}</mark>'


def with_glosses(text: str, glosses: Sequence[tuple[int, int, str]]) -> str:
    """A post with each gloss behind its mention, from `find_glosses`."""
    html = '<u>{}</u> <i class="gloss">{}</i>'
    return _post(text, ((a, b, html.format(plain(text[a:b]), plain(gloss))) for a, b, gloss in glosses))


def bar(share: float) -> str:
    """A share between 0 and 1 as a bar with its percentage."""
    share = min(max(share, 0.0), 1.0)
    # Rounded, a probability would look like certainty
    percent = "&gt;&#8239;99" if 0.995 <= share < 1 else f"{100 * share:.0f}"
    return f'<span class="bar"><i style="width:{100 * share:.0f}%"></i></span><b class="percent">{percent}&#8239;%</b>'


def shade(share: float, most: float) -> str:
    """The style of a cell as dark as its share of the largest; its text stays readable."""
    depth = share / most if most > 0 else 0.0
    return f"background:rgba(37,99,235,{0.9 * depth:.2f});color:{'#fff' if depth > 0.7 else 'inherit'}"

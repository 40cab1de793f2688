"""Case studies as one HTML page that needs nothing but itself."""

from collections.abc import Sequence
from html import escape

from modeling_cotpd.experiments.cases import Case, Span

COLOURS = ("#cfe3ff", "#ffe0b8", "#d3f0d4", "#f6cfd3", "#e3d6f5", "#e6e6e6")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b }
section { border: 1px solid #d5d5d5; border-radius: 6px; padding: .8rem 1.2rem; margin: 1.2rem 0 }
h2 { font-size: .95rem; margin: 0 0 .6rem; color: #555; font-weight: 600 }
table { border-collapse: collapse; width: 100% } td { vertical-align: top; padding: .2rem .4rem }
td:first-child { width: 9.5rem; color: #555; white-space: nowrap }
mark { border-radius: 3px; padding: .05rem .2rem; color: inherit } mark small { color: #444; margin-left: .25rem }
mark.wrong { outline: 2px solid #b8433e } .right { color: #23703a } .wrong-text { color: #b8433e }
.look span { padding: .05rem .12rem; border-radius: 2px } details { margin-top: .4rem }
dt { color: #555; font-size: .85rem; margin-top: .4rem } dd { margin: 0 0 0 .8rem; overflow-wrap: anywhere }
"""


def render_page(title: str, cases: Sequence[Case], about: str = "") -> str:
    """The page as HTML; every text of the data is escaped.

    Args:
        title (`str`): Its heading.
        cases (`Sequence[Case]`): The posts.
        about (`str`): A line below the heading, such as model and data.
    """
    types = sorted({span[0] for case in cases for spans in (case.gold, *case.views.values()) for span in spans})
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(types)}
    legend = " ".join(f'<mark style="background:{colours[name]}">{escape(name)}</mark>' for name in types)
    body = "\n".join(_section(case, colours) for case in cases) or "<p>No post to show.</p>"
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n<p>{escape(about)}</p>\n"
        f"<p>{legend} A red frame marks a prediction that is not in the gold. The last line shades the tokens that "
        f"the prompt's queries look at, their mean first.</p>\n{body}\n</body>\n</html>\n"
    )


def _section(case: Case, colours: dict[str, str]) -> str:
    lines = [("gold", _marked(case.tokens, case.gold, case.gold, colours))]
    lines += [(name_of(view), _marked(case.tokens, spans, case.gold, colours)) for view, spans in case.views.items()]
    if case.relations:
        gold = case.relations["gold"]
        pair = " → ".join(" ".join(case.tokens[first : last + 1]) for _, first, last in case.gold)
        lines = [("post", _marked(case.tokens, case.gold, case.gold, colours)), ("pair", escape(pair))]
        for view, relation in case.relations.items():
            kind = "right" if relation == gold else "wrong-text"
            lines.append((name_of(view), f'<span class="{kind}">{escape(relation)}</span>'))
    attention = ""
    if case.attention:
        count = len(case.attention)
        mean = [sum(query[index] for query in case.attention) / count for index in range(len(case.tokens))]
        lines.append(("the prompt looks at", _shaded(case.tokens, mean)))
        each = "".join(
            f"<tr><td>query {number}</td><td>{_shaded(case.tokens, query)}</td></tr>"
            for number, query in enumerate(case.attention, start=1)
        )
        attention = f"<details><summary>every query</summary><table>{each}</table></details>"
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{html}</td></tr>" for name, html in lines)
    texts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in case.knowledge.items())
    knowledge = f"<details open><summary>knowledge</summary><dl>{texts}</dl></details>" if texts else ""
    return f"<section>\n<h2>{escape(case.id)}</h2>\n<table>{rows}</table>\n{attention}{knowledge}\n</section>"


def name_of(view: str) -> str:
    """How the page calls a view."""
    return {"prompt": "text only", "knowledge": "with knowledge", "baseline": "baseline, text only"}.get(view, view)


def _marked(tokens: list[str], spans: list[Span], gold: list[Span], colours: dict[str, str]) -> str:
    """The post with its entities marked; of two that overlap, which only a pair does, the first."""
    apart: list[Span] = []
    for span in sorted(spans, key=lambda span: span[1:]):
        if not apart or span[1] > apart[-1][2]:
            apart.append(span)
    starts, ends = {span[1]: span for span in apart}, {span[2]: span for span in apart}
    parts = []
    for index, token in enumerate(tokens):
        if index in starts:
            kind = starts[index][0]
            wrong = "" if starts[index] in gold else ' class="wrong"'
            parts.append(f'<mark{wrong} style="background:{colours[kind]}">{escape(token)}')
        else:
            parts.append(escape(token))
        if index in ends:
            parts[-1] += f"<small>{escape(ends[index][0])}</small></mark>"
    return " ".join(parts)


def _shaded(tokens: list[str], shares: list[float]) -> str:
    """The post with every token as dark as its share of attention, relative to the largest."""
    most = max(shares) or 1.0
    blue = "background:rgba(59,111,182,{:.2f})"
    spans = (
        f'<span title="{share:.3f}" style="{blue.format(0.75 * share / most)}">{escape(token)}</span>'
        for token, share in zip(tokens, shares, strict=True)
    )
    return f'<span class="look">{" ".join(spans)}</span>'

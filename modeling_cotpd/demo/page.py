"""What the demo shows of a prediction, as HTML."""

import itertools
from collections.abc import Sequence

from modeling_cotpd.data.glosses import find_glosses, parse_noun_list
from modeling_cotpd.demo.markup import bar, chip, marked, plain, shade, with_glosses
from modeling_cotpd.inference.predictor import WordAttention
from modeling_cotpd.inference.similar import SimilarPost
from modeling_cotpd.inference.view_predictor import ViewPrediction

VIEW_NAMES = {"prompt": "From the text alone", "knowledge": "With knowledge"}
COLUMN_NAMES = {
    "caption": "The picture in words",
    "cot_noun": "Nouns",
    "cot_sentence": "The sentence",
    "cot_multimodality": "Text and picture",
}
KIND_NAMES = {
    "added": "only with knowledge",
    "removed": "only from the text",
    "type": "another type",
    "span": "another span",
    "relation": "another relation",
}
BEST = 8
"""So many relations, the most probable ones, are shown; the others can be unfolded."""
MOST_WORDS = 80
"""The heat map shows the first words of a longer post; more columns would only slow the browser down."""


def render(prediction: ViewPrediction, kinds: Sequence[str]) -> str:
    """The whole answer; `kinds` are all entity types that the model knows."""
    views = "".join(_view(prediction, name, kinds) for name in prediction.views)
    parts = [f'<div class="views">{views}</div>']
    if prediction.problems:
        parts.append(notice("".join(f"<p>{plain(problem)}</p>" for problem in prediction.problems)))
    if len(prediction.views) > 1:
        parts.append(_changes(prediction, kinds))
    if prediction.attention is not None:
        parts.append(_attention(prediction.attention, prediction.text))
    if prediction.knowledge:
        parts.append(_knowledge(prediction.knowledge, prediction.text))
    if prediction.similar:
        parts.append(_similar(prediction.similar, kinds))
    return "".join(parts)


def notice(html: str) -> str:
    """A framed notice; takes HTML."""
    return f'<section class="card notice" role="alert">{html}</section>'


def _card(title: str, body: str, kind: str = "", hint: str = "") -> str:
    more = f'<p class="hint">{hint}</p>' if hint else ""
    return f'<section class="card {kind}"><h3>{title}</h3>{more}{body}</section>'


def _view(prediction: ViewPrediction, name: str, kinds: Sequence[str]) -> str:
    view = prediction.views[name]
    if "relation" in view:
        pair = [
            {"start": start, "end": end, "type": side}
            for side, (start, end) in (("head", view["head"]), ("tail", view["tail"]))
        ]
        body = marked(prediction.text, pair, ("head", "tail")) + _relation_of_pair(view)
        return _card(VIEW_NAMES[name], body, f"view {name}")
    body = marked(prediction.text, view["entities"], kinds) if prediction.text.strip() else ""
    rows = [(chip(entity["text"], entity["type"], kinds), entity["score"]) for entity in view["entities"]]
    body += _scores(rows) if rows else '<p class="none">No entities found.</p>'
    if "relations" in view:
        body += "<h4>Relations</h4>" + _triples(view, kinds)
    return _card(VIEW_NAMES[name], body, f"view {name}")


def _scores(rows: Sequence[tuple[str, float]]) -> str:
    """A table of HTML with its scores."""
    cells = "".join(f"<tr><td>{html}</td><td>{bar(score)}</td></tr>" for html, score in rows)
    return f'<table class="scores">{cells}</table>'


def _relation_of_pair(view: dict) -> str:
    if view["relation"] is None:
        return f'<p class="none">{plain(view["problem"])}</p>'
    return _scores([(f'<span class="relation">{plain(view["relation"])}</span>', view["score"])])


def _triples(view: dict, kinds: Sequence[str]) -> str:
    rows = []
    for relation in sorted(view["relations"], key=lambda relation: -relation["score"]):
        head, tail = (view["entities"][relation[side]] for side in ("head", "tail"))
        ends = (chip(each["text"], each["type"], kinds) for each in (head, tail))
        name = f' <span class="relation">{plain(relation["relation"])}</span> '
        rows.append((name.join(ends), relation["score"]))
    unread = view.get("unread_pairs", 0)
    note = f'<p class="none">{unread} pairs lie too far apart to be read.</p>' if unread else ""
    if not rows:
        return '<p class="none">None between these.</p>' + note
    html = _scores(rows[:BEST])
    if rows[BEST:]:
        html += f"<details><summary>{len(rows) - BEST} less probable ones</summary>{_scores(rows[BEST:])}</details>"
    return html + note


def _changes(prediction: ViewPrediction, kinds: Sequence[str]) -> str:
    def side(found: dict) -> str:
        if "relation" in found:
            return _relation(prediction.text, found)
        return chip(found["text"], found["type"], kinds)

    rows = ""
    for change in itertools.chain(*(prediction.changes.get(what, ()) for what in ("entities", "relations"))):
        sides = '<span class="arrow">→</span>'.join(
            side(found) for found in (change["prompt"], change["knowledge"]) if found
        )
        kind = change["kind"]
        rows += f'<tr><td><span class="kind {kind}">{KIND_NAMES[kind]}</span></td><td>{sides}</td></tr>'
    body = f'<table class="changes">{rows}</table>' if rows else '<p class="none">Nothing: both views agree.</p>'
    return _card("What the knowledge changes", body, "changes")


def _relation(text: str, relation: dict) -> str:
    name = f'<span class="relation">{plain(relation["relation"])}</span>'
    if "head" not in relation:
        return name
    head, tail = (plain(text[slice(*relation[side])]) for side in ("head", "tail"))
    return f"<bdi>{head}</bdi> {name} <bdi>{tail}</bdi>"


def _attention(attention: WordAttention, text: str) -> str:
    words = [plain(text[start:end]) for start, end in attention.spans]
    mean = attention.mean
    most = max(mean)
    line = " ".join(
        f'<span style="{shade(share, most)}" title="{share:.3f}">{word}</span>'
        for word, share in zip(words, mean, strict=True)
    )
    top = max(map(max, attention.shares))
    head = "".join(f'<th scope="col"><span><bdi>{word}</bdi></span></th>' for word in words[:MOST_WORDS])
    rows = "".join(
        f'<tr><th scope="row">{number}</th>'
        + "".join(f'<td style="{shade(share, top)}" title="{share:.3f}"></td>' for share in query[:MOST_WORDS])
        + f'<td class="rest">{100 * max(0.0, 1 - sum(query)):.0f}</td></tr>'
        for number, query in enumerate(attention.shares, start=1)
    )
    rest = '<th scope="col" class="rest"><span>elsewhere, %</span></th>'
    cut = f"<p>The first {MOST_WORDS} words.</p>" if len(words) > MOST_WORDS else ""
    table = (
        f'<div class="scroll" tabindex="0"><table class="heat"><tr><th>query</th>{head}{rest}</tr>{rows}</table></div>'
    )
    hint = (
        "The prompt is a few vectors, each a weighted mean of the post's words: darker words weigh more. This shows "
        "what the prompt is made of, not why a word is an entity. First the mean over the vectors (queries), then "
        "each one. Elsewhere: special tokens and entity markers."
    )
    return _card(
        "Where the prompt looks", f'<p class="post look" dir="auto">{line}</p>{table}{cut}', "attention", hint
    )


def _knowledge(knowledge: dict[str, str], text: str) -> str:
    found = find_glosses(text, parse_noun_list(knowledge.get("cot_noun", "")))
    at_mentions = with_glosses(text, found) if found else ""
    return _card("Knowledge that was read", at_mentions + _columns(knowledge), "knowledge-card")


def _columns(knowledge: dict[str, str]) -> str:
    rows = (f'<dt>{COLUMN_NAMES[name]}</dt><dd dir="auto">{plain(text)}</dd>' for name, text in knowledge.items())
    return f"<dl>{''.join(rows)}</dl>"


def _similar(posts: Sequence[SimilarPost], kinds: Sequence[str]) -> str:
    items = ""
    for post in posts:
        relation = f'<p>Relation: <span class="relation">{plain(post.relation)}</span></p>' if post.relation else ""
        known = _columns(post.knowledge) if post.knowledge else ""
        details = f"<details><summary>Explanation</summary>{known}</details>" if known else ""
        items += (
            f'<li><div class="head"><code>{plain(post.id)}</code>{bar(post.similarity)}</div>'
            f"{marked(post.text, post.entities, kinds)}{relation}{details}</li>"
        )
    hint = "Posts that the model was trained on, with their gold labels; the bar is the cosine of sentence vectors."
    return _card("Similar training posts", f'<ol class="similar">{items}</ol>', "similar-card", hint)

"""What the page shows, and that nothing of a post gets into it as code."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cotpd.demo.page import BEST, MOST_WORDS, html, render
from modeling_cotpd.inference.predictor import WordAttention
from modeling_cotpd.inference.similar import SimilarPost
from modeling_cotpd.inference.view_predictor import ViewPrediction

ATTACKS = st.sampled_from(
    [
        "<script>",
        "</p>",
        "<img src=x onerror=alert(1)>",
        "${alert(1)}",
        "{{value}}",
        "`",
        "&lt;",
        '" onmouseover="x',
        "'",
    ]
)
texts = st.lists(st.one_of(st.text(max_size=6), ATTACKS), min_size=1, max_size=6).map("".join)
TAGS = {
    "u",
    "b",
    "bdi",
    "code",
    "dd",
    "details",
    "div",
    "dl",
    "dt",
    "h3",
    "h4",
    "i",
    "li",
    "mark",
    "ol",
    "p",
    "section",
}
TAGS |= {"small", "span", "summary", "table", "td", "th", "tr"}
ATTRIBUTES = {"class", "dir", "role", "scope", "style", "tabindex", "title"}


class Reader(HTMLParser):
    """Collects tags, attributes and text; refuses what does not nest."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        assert {name for name, _ in attrs} <= ATTRIBUTES, attrs
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def entity(text: str, start: int, end: int, kind: str) -> dict:
    return {"start": start, "end": end, "type": kind, "score": 0.5, "text": text[start:end]}


def prediction(text: str, kind: str, name: str) -> ViewPrediction:
    """A prediction in which the given texts stand wherever a text can stand."""
    entities = [entity(text, 0, 1, kind), entity(text, 1, len(text), kind)] if len(text) > 1 else []
    relation = {"head": 0, "tail": 1, "relation": name, "score": 0.4}
    view = {"entities": entities, "relations": [relation] if entities else [], "unread_pairs": 2}
    spans = {**relation, "head": (0, 1), "tail": (1, len(text))}
    changes = {
        "entities": [{"kind": "added", "prompt": None, "knowledge": found} for found in entities],
        "relations": [{"kind": "relation", "prompt": spans, "knowledge": spans}],
    }
    similar = [SimilarPost(name, text, 0.3, entities, name, {"cot_noun": text})]
    attention = WordAttention([(0, len(text))], [[0.25], [0.75]])
    views = {"prompt": view, "knowledge": view}
    return ViewPrediction(text, "knowledge", views, {"caption": text}, changes, [text], attention, similar)


@settings(max_examples=200, deadline=None)
@given(texts, texts, texts)
def test_nothing_of_a_post_or_a_model_becomes_code(text: str, kind: str, name: str):
    page = render(prediction(text, kind, name), ["PER", kind])
    page.encode()
    assert not {"$", "{", "}", "`"} & set(page)
    Reader(page)


@settings(max_examples=100, deadline=None)
@given(texts)
def test_the_text_is_shown_as_it_is(text: str):
    shown = "".join(Reader(html("notice", [text])).text)
    assert len(shown) == len(text)
    for before, after in zip(text, shown, strict=True):
        assert after in (before, "\ufffd")
    assert all(character in shown for character in text if character.isascii() and character.isprintable())


def test_every_part_of_a_prediction_is_there():
    page = render(prediction("Mira sings", "PER", "/per/loc"), ["LOC", "PER"])
    for title in (
        "From the text alone",
        "With knowledge",
        "What the knowledge changes",
        "Where the prompt looks",
        "Knowledge that was read",
        "Similar training posts",
    ):
        assert page.count(f"<h3>{title}</h3>") == 1, title
    for shown in ("only with knowledge", "another relation", "2 pairs lie too far apart", "50&#8239;%", "/per/loc"):
        assert shown in page


def test_a_prediction_from_the_text_alone_compares_nothing():
    view = {"entities": [entity("Mira", 0, 4, "PER")]}
    page = render(ViewPrediction("Mira", "prompt", {"prompt": view}), ["PER"])
    assert "With knowledge" not in page and "changes" not in page and "Relations" not in page
    assert "No entities found" in render(ViewPrediction("x", "prompt", {"prompt": {"entities": []}}), [])


def test_the_relation_of_one_pair():
    pair = {"head": (0, 4), "tail": (11, 15), "relation": "/per/loc", "score": 0.25}
    far = {**pair, "relation": None, "score": None, "problem": "The two entities lie <far> apart."}
    page = render(ViewPrediction("Mira is in Tarn", "prompt", {"prompt": pair}), [])
    assert (
        '<mark style="background:#cfe1ff"><span class="end"><bdi>Mira</bdi><small>head</small></span></mark>' in page
    )
    assert "25&#8239;%" in page
    assert "&lt;far&gt;" in render(ViewPrediction("Mira is in Tarn", "prompt", {"prompt": far}), [])


def test_the_heat_map_has_a_row_for_every_query_and_the_rest():
    attention = WordAttention([(0, 4), (5, 10)], [[0.5, 0.25], [0.0, 0.125], [0.0, 0.0]])
    page = render(ViewPrediction("Mira sings", "prompt", {"prompt": {"entities": []}}, attention=attention), [])
    assert page.count('<th scope="row">') == 3
    assert [page.count(f'<td class="rest">{rest}</td>') for rest in (25, 88, 100)] == [1, 1, 1]
    assert 'title="0.500"' in page
    words = " ".join("ab" for _ in range(MOST_WORDS + 5))
    spans = [(3 * number, 3 * number + 2) for number in range(MOST_WORDS + 5)]
    long = WordAttention(spans, [[0.0] * len(spans)])
    page = render(ViewPrediction(words, "prompt", {"prompt": {"entities": []}}, attention=long), [])
    assert page.count('<th scope="col"><span>') == MOST_WORDS and f"first {MOST_WORDS} words" in page


def test_entities_are_marked_where_they_stand():
    text = "hi Mira & Tarn"
    shown = html("marked", text, [entity(text, 10, 14, "LOC"), entity(text, 3, 7, "PER")], [])
    assert "".join(Reader(shown).text) == "hi MiraPER & TarnLOC"
    overlapping = [entity("Mira Holt", 0, 9, "head"), entity("Mira Holt", 5, 9, "tail")]
    assert "".join(Reader(html("marked", "Mira Holt", overlapping, ("head", "tail"))).text) == "Mira Holthead"


@pytest.mark.parametrize(
    ("share", "shown"), [(0.999, "&gt;&#8239;99"), (1.0, "100"), (0.994, "99"), (0.0, "0"), (1.2, "100")]
)
def test_a_probability_never_looks_like_certainty(share: float, shown: str):
    assert f'<b class="percent">{shown}&#8239;%</b>' in html("bar", share)


def test_the_most_probable_relations_stand_open_and_the_others_folded():
    entities = [entity("Mira Tarn", 0, 4, "PER"), entity("Mira Tarn", 5, 9, "LOC")]
    relations = [{"head": 0, "tail": 1, "relation": f"r{n}", "score": n / 100} for n in range(BEST + 3)]
    view = {"entities": entities, "relations": relations}
    page = render(ViewPrediction("Mira Tarn", "prompt", {"prompt": view}), [])
    shown, folded = page.split("<details>")
    assert "3 less probable ones" in folded and f">r{BEST + 2}<" in shown and ">r2<" in folded and ">r2<" not in shown
    Reader(page)

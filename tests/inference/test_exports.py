"""Every export holds what the predictions hold, whatever the characters."""

import json
import re
from pathlib import Path

import pytest
import rdflib
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_cotpd.data.posts import PostFile, read_posts
from modeling_cotpd.errors import SettingError
from modeling_cotpd.files import json_line
from modeling_cotpd.inference.exports import RdfWriter, conll_post, export, literal

# The grammar of N-Triples (W3C Recommendation of 25 February 2014)
IRI = r"<[A-Za-z][^\x00-\x20<>\"{}|^`\\]*>"
LITERAL = r"\"(?:[^\"\\\n\r]|\\[tbnrf\"'\\]|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8})*\""
BLANK = r"_:[A-Za-z0-9_]+"
TRIPLE = re.compile(rf"(?:{IRI}|{BLANK}) {IRI} (?:{IRI}|{BLANK}|{LITERAL}(?:\^\^{IRI})?) \.\n")
ESCAPES = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f", '"': '"', "\\": "\\"}

HEADERS = ["-DOCSTART-", "IMGID:", "# id "]
ODD = st.sampled_from([*'"\\\n\r\t<>{}^`|', "\u2028", "\x85", "\x00", "👩‍🎤", "שלום", "\ud83d", "\ufffe", *HEADERS])
TYPES = st.sampled_from(["PER", "LOC"])
texts = st.lists(st.one_of(st.text(max_size=8), ODD), max_size=10).map("".join)


@st.composite
def rows(draw: st.DrawFn) -> dict:
    """A post with disjoint entities anywhere, and relations between them."""
    text = draw(texts)
    bounds = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6, unique=True)))
    entities = [
        {
            "start": start,
            "end": end,
            "type": draw(TYPES),
            "score": 0.5,
            "text": text[start:end],
        }
        for start, end in zip(bounds[::2], bounds[1::2], strict=False)
        if text[start:end].strip()
    ]
    relations = [
        {"head": head, "tail": tail, "relation": draw(st.sampled_from(["/per/loc/born in", "a<b>"])), "score": 0.25}
        for head in range(len(entities))
        for tail in range(len(entities))
        if head != tail and draw(st.booleans())
    ]
    return {"id": draw(texts), "text": text, "entities": entities, "relations": relations}


def as_utf8(text: str) -> str:
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)


@settings(max_examples=200, deadline=None)
@given(rows())
def test_conll_tokens_and_tags_are_the_text_and_its_entities(row: dict):
    lines = conll_post(row).split("\n")
    assert lines[0].startswith("# id = ") and lines[-2:] == ["", ""]
    text, place, found = as_utf8(row["text"]), 0, []
    for line in lines[1:-2]:
        token, tag = line.split("\t")
        place = text.index(token, place)
        assert not token[:1].isspace() and token
        if tag.startswith("B-"):
            found.append([place, place + len(token), tag[2:]])
        elif tag.startswith("I-"):
            assert found[-1][2] == tag[2:]
            found[-1][1] = place + len(token)
        place += len(token)
    assert "".join(line.split("\t")[0] for line in lines[1:-2]) == "".join(text.split())
    expected = []
    for entity in row["entities"]:
        mention = text[entity["start"] : entity["end"]]
        start = entity["start"] + len(mention) - len(mention.lstrip())
        expected.append([start, start + len(mention.strip()), entity["type"]])
    assert found == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(rows(), max_size=4))
def test_conll_is_read_back_as_the_same_posts(tmp_path_factory: pytest.TempPathFactory, posts: list[dict]):
    posts = [post for post in posts if post["text"].split() and post["id"].split()]
    if not posts:
        return  # an empty file is refused
    path = tmp_path_factory.mktemp("conll") / "posts.conll"
    path.write_bytes("".join(map(conll_post, posts)).encode())
    again = list(read_posts(PostFile(path, "conll", "posts"), "mner"))
    assert [post.text.replace(" ", "") for post in again] == ["".join(as_utf8(post["text"]).split()) for post in posts]


@settings(max_examples=200, deadline=None)
@given(rows())
def test_every_line_of_ntriples_follows_the_grammar_and_holds_the_text(row: dict):
    lines = list(RdfWriter("https://example.org/x/")(row))
    for line in lines:
        line.encode()
        assert TRIPLE.fullmatch(line), line
        assert len(line.splitlines()) == 1
    strings = [line.split("#isString> ", 1)[1][1:-4] for line in lines if "#isString> " in line]
    plain = re.sub(
        r"\\(?:u(....)|(.))", lambda match: chr(int(match[1], 16)) if match[1] else ESCAPES[match[2]], strings[0]
    )
    assert [plain] == [as_utf8(row["text"])]
    assert sum("/relation/" in line and not line.startswith("_:") for line in lines) == len(row["relations"])


def test_ntriples_of_a_post():
    entities = [
        {"start": 0, "end": 4, "type": "PER", "score": 0.9, "text": "Mira"},
        {"start": 14, "end": 18, "type": "LOC", "score": 0.8, "text": "Tarn"},
    ]
    relations = [{"head": 0, "tail": 1, "relation": "/per/loc/place_of_birth", "score": 0.7}]
    writer = RdfWriter("https://example.org/")
    lines = list(writer({"id": "a b/1", "text": "Mira was born Tarn", "entities": entities, "relations": relations}))
    mira, tarn = "<https://example.org/post/a%20b%2F1#char=0,4>", "<https://example.org/post/a%20b%2F1#char=14,18>"
    assert f"{mira} <https://example.org/relation/per/loc/place_of_birth> {tarn} .\n" in lines
    assert sum(line.startswith("_:s0 ") for line in lines) == 5
    list(writer({"id": "2", "text": "", "entities": entities, "relations": relations}))
    assert writer.statements == 2


def test_rdflib_reads_it():
    text = 'say "hi"\\\n\u2028\x00<b> 👩‍🎤 \ud83d'
    row = {"id": '<x> "y"', "text": text, "entities": [], "relations": []}
    graph = rdflib.Graph().parse(data="".join(RdfWriter()(row)), format="nt")
    (read,) = [str(value) for _, name, value in graph if str(name).endswith("isString")]
    assert read == as_utf8(text)


def test_a_literal_keeps_its_length():
    assert literal("\ud83d") == '"\ufffd"'
    assert literal('\\u0041"') == '"\\\\u0041\\""'


@pytest.mark.parametrize("base", ["", "posts/", "http://a b/", "http://x/<y>", "http://x/\n", "//x/", "http://x/é"])
def test_a_base_that_is_no_iri_is_refused(base: str):
    with pytest.raises(SettingError, match="absolute IRI"):
        RdfWriter(base)


@pytest.mark.parametrize("suffix", [".conll", ".nt"])
def test_files(tmp_path: Path, suffix: str):
    entity = {"start": 0, "end": 4, "type": "PER", "score": 1.0, "text": "Mira"}
    posts = [
        {"id": "1", "text": "Mira \ud83d", "entities": [entity], "relations": []},
        {"id": "2", "text": "", "entities": [], "relations": []},
    ]
    (tmp_path / "in.jsonl").write_text("".join(map(json_line, posts)), "utf-8")
    out = tmp_path / f"out{suffix}"
    assert export(tmp_path / "in.jsonl", out) == 2
    content = out.read_text("utf-8")
    assert content.count("Mira") and sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", out.name]
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert export(tmp_path / "empty.jsonl", out) == 0
    assert out.read_text("utf-8") == ""


def test_an_unknown_suffix_is_refused(tmp_path: Path):
    with pytest.raises(SettingError, match="means no format"):
        export(tmp_path / "in.jsonl", tmp_path / "out.xml")


def test_a_failed_export_leaves_nothing(tmp_path: Path):
    (tmp_path / "in.jsonl").write_text('{"id": "1", "text": "x", "entities": []}\nnot json\n', "utf-8")
    with pytest.raises(json.JSONDecodeError):
        export(tmp_path / "in.jsonl", tmp_path / "out.conll")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]

"""Every reader with arbitrary bytes and with broken copies of what it should read: refused in words, or read."""

import json
import os

import pytest
from fuzz.readers import READERS, SEEDS, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("COTPD_FUZZ_EXAMPLES", "30"))
MANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
JSON_LINES = ("records", "texts", "posts", "stored", "captions", "answers", "prepared", "provenance")
KEYS = {
    "id", "tokens", "ner_tags", "head", "tail", "relation", "text", "image", "caption", "start", "end", "pos", "name",
    "token", "h", "t", "img_id", "choices", "message", "content", "usage", "custom_id", "response", "error", "body",
    "splits", "task", "label_names", "rows", "reason", "detail", "key", "request", "prompt", "endpoint",
}  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(KEYS)), inner, max_size=6),
    max_leaves=12,
)
LINES = st.lists(
    st.sampled_from(["IMGID:", "IMGID:7", "# id = 7", "-DOCSTART-", "<EOS>\tX", "", " ", "\t", "O", "\u2028\tO"])
    | st.tuples(st.text(), st.sampled_from([" ", "\t"]), st.sampled_from(["O", "B-PER", "I-PER", "X"])).map("".join),
    max_size=8,
)  # fmt: skip


@st.composite
def broken(draw, name: str) -> bytes:
    """A good input with a stretch replaced, doubled or cut."""
    data = draw(st.sampled_from(SEEDS[name]))
    begin = draw(st.integers(0, len(data)))
    end = draw(st.integers(begin, min(len(data), begin + 12)))
    middle = draw(st.binary(max_size=6) | st.text(max_size=4).map(lambda text: text.encode("utf-8", "surrogatepass")))
    return data[:begin] + middle * draw(st.integers(0, 3)) + data[end:]


@pytest.mark.parametrize("name", READERS)
def test_arbitrary_and_broken(name):
    @MANY
    @given(st.binary(max_size=200) | broken(name))
    def check(data):
        read(name, data)

    check()
    for seed in SEEDS[name]:
        read(name, seed)


@pytest.mark.parametrize("name", JSON_LINES)
def test_json_of_any_shape(name):
    @MANY
    @given(st.lists(VALUES, max_size=3))
    def check(rows):
        read(name, "\n".join(json.dumps(row) for row in rows).encode())

    check()


@pytest.mark.parametrize("name", ["mnre"])
def test_literals_of_any_shape(name):
    @MANY
    @given(st.lists(VALUES, max_size=3))
    def check(rows):
        read(name, "\n".join(map(repr, rows)).encode("utf-8", "surrogatepass"))

    check()


@pytest.mark.parametrize("name", ["published", "own_conll", "own_folder", "posts"])
def test_lines_of_any_order(name):
    @MANY
    @given(LINES)
    def check(lines):
        read(name, "\n".join(lines).encode("utf-8", "surrogatepass"))

    check()


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"id": ' * 50_000,
        b'{"id": ' + b"9" * 5_000 + b"}",
        b"{[]: 1}",
        b"1 " * 50_000,
        b"&a [*a]",
        b"a: &a [1]\nb: {*a : 1}",
        b"\xef\xbb\xbf",
        b"\x00" * 100,
        b"-" * 100_000,
        b'{"id": "\\ud800", "text": "\\ud800", "tokens": ["\\ud800"], "ner_tags": null}',
    ],
    ids=["brackets", "braces", "digits", "unhashable", "words", "cycle", "odd key", "mark", "zeros", "dashes", "half"],
)
def test_known_troublemakers(name, data):
    read(name, data)

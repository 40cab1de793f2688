"""Knowledge within the text: both views by hand, independence of the batch, markers, CRF, both placements alike."""

import pytest
import torch
from support.tiny_models import ENCODER_FAMILIES, PROMPT_TYPES, pad_id, padded, tiny_model

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.training.collator import CoTPDCollator
from modeling_cotpd.training.losses import distillation_kl

TIGHT = {"atol": 1e-5, "rtol": 0}


def row(text: list[int], insertions: dict[int, list[int]], behind: list[int], labels: list[int]) -> dict:
    """Features of one post; `insertions` stand behind the token of that number, `behind` behind the text."""
    view: list[int] = []
    positions = []
    for place, token in enumerate(text):
        positions.append(len(view))
        view += [token, *insertions.get(place, [])]
    return {
        "input_ids": text,
        "labels": labels,
        "distillation_mask": [int(label >= 0) for label in labels],
        "knowledge_input_ids": view + behind,
        "knowledge_text_positions": positions,
    }


ROWS = [
    row([2, 31, 47, 53, 60, 3], {1: [71, 72], 3: [73, 74, 75]}, [80, 3], [-100, 3, 4, 0, 1, -100]),
    row([2, 9, 3], {}, [90, 91, 3], [-100, 0, -100]),
    row([2, *range(11, 21), 3], {10: [33]}, [], [-100] * 12),
]


def batch_of(model, rows=ROWS) -> dict[str, torch.Tensor]:
    batch = CoTPDCollator(pad_id(model))(rows)
    return {name: value for name, value in batch.items() if name != "distillation_mask"}


@pytest.mark.parametrize(
    ("family", "prompt_type"), [(family, "conditional") for family in ENCODER_FAMILIES] + [("bert", "prefix")]
)
@torch.no_grad()
def test_nll_and_kl_of_two_views_by_hand(family, prompt_type):
    """Each row alone: the encoder on the whole inline view, read where the text's tokens stand."""
    model = tiny_model(CoTPDForTokenClassification, family, prompt_type=prompt_type)
    output = model(**batch_of(model))
    mask = CoTPDCollator(pad_id(model))(ROWS)["distillation_mask"]
    divergence = 0.0
    for index, each in enumerate(ROWS):
        states = model.cotpd.encoder(input_ids=torch.tensor([each["knowledge_input_ids"]])).last_hidden_state[0]
        knowledge = model.classifier(states[each["knowledge_text_positions"]]).log_softmax(-1)
        prompt = model(input_ids=torch.tensor([each["input_ids"]])).logits[0].log_softmax(-1)
        size = len(each["input_ids"])
        torch.testing.assert_close(output.knowledge_logits[index, :size].log_softmax(-1), knowledge, **TIGHT)
        labelled = [(place, label) for place, label in enumerate(each["labels"]) if label >= 0]
        expected = -sum((knowledge[place, label] for place, label in labelled), torch.tensor(0.0))
        torch.testing.assert_close(output.knowledge_nll[index], expected, **TIGHT)
        for place, _ in labelled:
            divergence += (knowledge[place].exp() * (knowledge[place] - prompt[place])).sum()
    kl = distillation_kl(output.logits, output.knowledge_logits, mask)
    torch.testing.assert_close(kl, divergence, atol=1e-4, rtol=0)
    assert kl > 1e-3


@pytest.mark.parametrize("family", ENCODER_FAMILIES)
@pytest.mark.parametrize("use_crf", [False, True])
@torch.no_grad()
def test_a_row_does_not_depend_on_its_batch(family, use_crf):
    model = tiny_model(CoTPDForTokenClassification, family, use_crf=use_crf)
    together = model(**batch_of(model))
    for index, each in enumerate(ROWS):
        alone = model(**batch_of(model, [each]))
        size = len(each["input_ids"])
        for name in ("logits", "knowledge_logits"):
            torch.testing.assert_close(together[name][index, :size], alone[name][0], **TIGHT)
        torch.testing.assert_close(together.knowledge_nll[index], alone.knowledge_nll[0], **TIGHT)


@pytest.mark.parametrize("prompt_type", PROMPT_TYPES)
@torch.no_grad()
def test_relations_are_read_at_the_markers_within_the_view(prompt_type):
    model = tiny_model(CoTPDForRelationExtraction, prompt_type=prompt_type)
    rows = [
        {
            **{name: value for name, value in each.items() if name != "distillation_mask"},
            "labels": 1,
            "marker_positions": places,
        }
        for each, places in zip(ROWS[:1] + ROWS[2:], ([1, 4], [10, 3]), strict=True)
    ]
    output = model(**batch_of(model, rows))
    for index, each in enumerate(rows):
        states = model.cotpd.encoder(input_ids=torch.tensor([each["knowledge_input_ids"]])).last_hidden_state[0]
        places = [each["knowledge_text_positions"][place] for place in each["marker_positions"]]
        expected = model.classifier(states[places].flatten())
        torch.testing.assert_close(output.knowledge_logits[index], expected, **TIGHT)


@torch.no_grad()
def test_positions_of_the_first_n_are_the_appended_placement():
    model = tiny_model(CoTPDForTokenClassification)
    rows = [row(each["input_ids"], {}, [70, 71, 3], each["labels"]) for each in ROWS]
    inline = model(**batch_of(model, rows))
    plain = [{name: value for name, value in each.items() if name != "knowledge_text_positions"} for each in rows]
    appended = model(**batch_of(model, plain))
    for index, each in enumerate(rows):
        size = len(each["input_ids"])
        torch.testing.assert_close(inline.knowledge_logits[index, :size], appended.knowledge_logits[index, :size])


def test_checkpointing_gives_equal_gradients():
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model(CoTPDForTokenClassification, prompt_type="prefix").train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        output = model(**batch_of(model))
        (output.knowledge_nll.sum() + output.logits.square().sum()).backward()
        gradients.append({name: value.grad.clone() for name, value in model.named_parameters()})
    torch.testing.assert_close(*gradients)


def test_positions_of_another_shape_are_refused():
    model = tiny_model(CoTPDForTokenClassification)
    batch = batch_of(model)
    batch["knowledge_text_positions"] = batch["knowledge_text_positions"][:, :2]
    with pytest.raises(
        ValueError, match=r"knowledge_text_positions needs the shape \(3, 12\) of input_ids, got \(3, 2\)"
    ):
        model(**batch)


def test_padding_on_the_right_of_the_text_may_point_anywhere():
    model = tiny_model(CoTPDForTokenClassification)
    batch = batch_of(model)
    other = {
        **batch,
        "knowledge_text_positions": batch["knowledge_text_positions"].masked_fill(batch["attention_mask"] == 0, 5),
    }
    for index, each in enumerate(ROWS):
        size = len(each["input_ids"])
        torch.testing.assert_close(
            model(**batch).knowledge_logits[index, :size], model(**other).knowledge_logits[index, :size]
        )
    assert padded([[1]], 1, 0)["input_ids"].shape == (1, 1)

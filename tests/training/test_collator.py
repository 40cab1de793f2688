"""Batches: padding on the right, masks, labels, what is compared."""

import torch

from modeling_cotpd.training.collator import CoTPDCollator

MNER = [
    {
        "input_ids": [2, 7, 8, 9, 3],
        "labels": [-100, 1, -100, 4, -100],
        "distillation_mask": [0, 1, 0, 1, 0],
        "knowledge_input_ids": [2, 7, 8, 9, 3, 5, 3],
    },
    {"input_ids": [2, 6, 3], "labels": [-100] * 3, "distillation_mask": [0, 1, 0], "knowledge_input_ids": [2, 6, 3]},
]
MRE = [
    {"input_ids": [2, 7, 8, 9, 3], "labels": 2, "marker_positions": [1, 3]},
    {"input_ids": [2, 6, 3], "labels": -100, "marker_positions": [2, 1]},
]


def test_mner():
    batch = CoTPDCollator(pad_token_id=11)(MNER)
    assert {name: value.tolist() for name, value in batch.items()} == {
        "input_ids": [[2, 7, 8, 9, 3], [2, 6, 3, 11, 11]],
        "attention_mask": [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]],
        "labels": [[-100, 1, -100, 4, -100], [-100] * 5],
        "distillation_mask": [[0, 1, 0, 1, 0], [0, 1, 0, 0, 0]],
        "knowledge_input_ids": [[2, 7, 8, 9, 3, 5, 3], [2, 6, 3, 11, 11, 11, 11]],
        "knowledge_attention_mask": [[1] * 7, [1, 1, 1, 0, 0, 0, 0]],
    }
    assert all(value.dtype == torch.long for value in batch.values())


def test_mre():
    batch = CoTPDCollator(pad_token_id=0)(MRE)
    assert {name: value.tolist() for name, value in batch.items()} == {
        "input_ids": [[2, 7, 8, 9, 3], [2, 6, 3, 0, 0]],
        "attention_mask": [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]],
        "labels": [2, -100],
        "distillation_mask": [1, 1],
        "marker_positions": [[1, 3], [2, 1]],
    }


def test_the_padding_id_inside_a_text_is_attended():
    batch = CoTPDCollator(pad_token_id=8)(MNER)
    assert batch["attention_mask"][0].tolist() == [1] * 5


def test_multiples():
    batch = CoTPDCollator(pad_token_id=0, pad_to_multiple_of=4)(MNER)
    assert batch["input_ids"].shape == batch["labels"].shape == batch["distillation_mask"].shape == (2, 8)
    assert batch["knowledge_input_ids"].shape == batch["knowledge_attention_mask"].shape == (2, 8)
    assert batch["attention_mask"].sum(1).tolist() == [5, 3]
    assert CoTPDCollator(0, 5)(MNER[:1])["input_ids"].shape == (1, 5)


def test_a_post_without_any_word():
    row = {"input_ids": [2, 3], "labels": [-100, -100], "distillation_mask": [0, 0]}
    batch = CoTPDCollator(pad_token_id=0)([row])
    assert batch["distillation_mask"].tolist() == [[0, 0]]


def test_rows_are_not_changed():
    rows = [{name: list(value) for name, value in row.items()} for row in MNER]
    CoTPDCollator(pad_token_id=0)(rows)
    assert rows == MNER


def test_targets_of_frozen_teachers_stand_at_their_tokens():
    rows = [
        {**MNER[0], "target_log_probs": [[], [-1.0, -2.0], [], [], []]},
        {**MNER[1], "target_log_probs": [[], [-3.0, -4.0], []]},
    ]
    batch = CoTPDCollator(pad_token_id=0)(rows)
    assert batch["target_log_probs"].shape == (2, 5, 2)
    assert batch["target_log_probs"][0, 1].tolist() == [-1.0, -2.0]
    assert batch["target_log_probs"][1, 1].tolist() == [-3.0, -4.0]
    # a token without a target is not compared
    assert batch["distillation_mask"].tolist() == [[0, 1, 0, 0, 0], [0, 1, 0, 0, 0]]
    assert batch["target_log_probs"].sum() == -10
    relations = CoTPDCollator(pad_token_id=0)([{**row, "target_log_probs": [-1.0, -2.0, -3.0]} for row in MRE])
    assert relations["target_log_probs"].tolist() == [[-1.0, -2.0, -3.0]] * 2


def test_text_positions_of_the_inline_placement():
    rows = [
        {**MNER[0], "knowledge_text_positions": [0, 2, 3, 5, 6]},
        {**MNER[1], "knowledge_text_positions": [0, 1, 2]},
    ]
    batch = CoTPDCollator(pad_token_id=0)(rows)
    assert batch["knowledge_text_positions"].tolist() == [[0, 2, 3, 5, 6], [0, 1, 2, 0, 0]]
    assert "knowledge_text_positions" not in CoTPDCollator(pad_token_id=0)(MNER)

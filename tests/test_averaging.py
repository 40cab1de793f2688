"""The mean of the last checkpoints, and which of the two models stays."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from modeling_cotpd.averaging import average_if_better, check_averaging, mean_weights
from modeling_cotpd.errors import SettingError
from modeling_cotpd.training_args import CoTPDTrainingArguments


def checkpoints(folder, values):
    """Checkpoints of a one-weight model, numbered 10, 20, ..."""
    for number, value in enumerate(values, 1):
        (folder / f"checkpoint-{10 * number}").mkdir()
        save_file({"weight": torch.full((1, 1), value)}, folder / f"checkpoint-{10 * number}" / "model.safetensors")


def trained(folder, count, average_scores, best_metric=0.5, greater_is_better=True):
    """As much of a Trainer as averaging reads, with a model whose weight is 7."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 7.0)
    return SimpleNamespace(
        model=model,
        accelerator=SimpleNamespace(unwrap_model=lambda model: model),
        args=SimpleNamespace(
            output_dir=str(folder),
            average_checkpoints=count,
            metric_for_best_model="prompt_f1",
            greater_is_better=greater_is_better,
        ),
        state=SimpleNamespace(best_metric=best_metric),
        evaluate=lambda: {"eval_prompt_f1": average_scores},
    )


def test_the_mean_of_the_last_checkpoints_by_number(tmp_path):
    checkpoints(tmp_path, [float(value) for value in range(1, 12)])  # checkpoint-110 comes before 20 in the alphabet
    trainer = trained(tmp_path, 3, 0.6)
    assert average_if_better(trainer) == {"averaged_checkpoints": 3, "average_eval_prompt_f1": 0.6}
    assert trainer.model.weight.item() == 10.0


@pytest.mark.parametrize(("score", "greater", "kept"), [(0.5, True, 7.0), (0.4, True, 7.0), (0.4, False, 1.5)])
def test_the_better_one_stays(tmp_path, score, greater, kept):
    checkpoints(tmp_path, [1.0, 2.0])
    trainer = trained(tmp_path, 2, score, greater_is_better=greater)
    assert average_if_better(trainer)["averaged_checkpoints"] == (2 if kept == 1.5 else 0)
    assert trainer.model.weight.item() == kept


def test_too_few_checkpoints(tmp_path):
    checkpoints(tmp_path, [1.0])
    with pytest.raises(SettingError, match=r"average_checkpoints=2, but 1 checkpoints were saved"):
        average_if_better(trained(tmp_path, 2, 0.6))


def test_the_mean_keeps_the_precision(tmp_path):
    for name, value in (("a", 1.0), ("b", 2.0)):
        save_file({"w": torch.tensor([value], dtype=torch.bfloat16)}, tmp_path / name)
    mean = mean_weights([tmp_path / "a", tmp_path / "b"])["w"]
    assert mean.dtype == torch.bfloat16 and mean.item() == 1.5


@pytest.mark.parametrize(
    ("settings", "lora", "message"),
    [
        ({"save_total_limit": 3}, False, r"average_checkpoints=3 needs more checkpoints.*Give save_total_limit=4"),
        ({"load_best_model_at_end": False}, False, "chooses between the average and the best checkpoint"),
        ({}, True, "not LoRA's adapters"),
    ],
)
def test_settings_that_leave_nothing_to_average(tmp_path, settings, lora, message):
    settings = {
        "average_checkpoints": 3,
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_prompt_f1",
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "use_cpu": True,
        **settings,
    }
    args = CoTPDTrainingArguments(str(tmp_path), **settings)
    with pytest.raises(SettingError, match=message):
        check_averaging(args, lora)


def test_a_negative_number(tmp_path):
    with pytest.raises(SettingError, match="average_checkpoints must not be negative, got -1"):
        CoTPDTrainingArguments(str(tmp_path), average_checkpoints=-1)

"""Checkpoints are marked when they are whole and rotate by step; an epoch is one line."""

import os
from types import SimpleNamespace

import pytest
from transformers import TrainerControl, TrainerState

from modeling_cotpd.training.callbacks import COMPLETE_FILE, CompleteCheckpoints, EpochLines, last_complete_checkpoint


def checkpoint(folder, step: int, complete: bool = True) -> None:
    (folder / f"checkpoint-{step}").mkdir()
    if complete:
        (folder / f"checkpoint-{step}" / COMPLETE_FILE).touch()


def save(folder, step: int, limit: int | None, best: str | None = None) -> None:
    checkpoint(folder, step, complete=False)
    state = TrainerState(global_step=step, best_model_checkpoint=best)
    CompleteCheckpoints(limit).on_save(SimpleNamespace(output_dir=str(folder)), state, TrainerControl())


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_checkpoint_is_marked(tmp_path):
    save(tmp_path, 5, None)
    assert (tmp_path / "checkpoint-5" / COMPLETE_FILE).is_file()


def test_the_oldest_step_goes_whatever_the_clock_says(tmp_path):
    for step, time in ((9, 100), (10, 90), (100, 80)):
        save(tmp_path, step, None)
        os.utime(tmp_path / f"checkpoint-{step}", (time, time))
    save(tmp_path, 101, 2)
    assert names(tmp_path) == {"checkpoint-100", "checkpoint-101"}


def test_the_best_one_stays(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step, None)
    save(tmp_path, 4, 2, best=str(tmp_path / "checkpoint-1"))
    assert names(tmp_path) == {"checkpoint-1", "checkpoint-4"}


@pytest.mark.parametrize(
    ("complete", "incomplete", "expected"), [((2, 10), (11, 12), "checkpoint-10"), ((), (3,), None), ((), (), None)]
)
def test_the_last_complete_checkpoint(tmp_path, complete, incomplete, expected):
    for step in complete:
        checkpoint(tmp_path, step)
    for step in incomplete:
        checkpoint(tmp_path, step, complete=False)
    found, skipped = last_complete_checkpoint(str(tmp_path))
    assert (found and os.path.basename(found)) == expected and len(skipped) == len(incomplete)


def test_one_line_per_epoch(capsys):
    lines = EpochLines()
    state = TrainerState(global_step=0, max_steps=20, num_train_epochs=2, is_world_process_zero=True)
    each_epoch, never = (SimpleNamespace(eval_strategy=value) for value in ("epoch", "no"))
    lines.on_train_begin(each_epoch, state, None)
    state.global_step, state.epoch = 10, 1.0
    lines.on_log(each_epoch, state, None, logs={"loss": "0.5", "kl": 0.25, "learning_rate": 1e-3})
    lines.on_epoch_end(each_epoch, state, None)
    assert capsys.readouterr().out == ""
    metrics = {"eval_prompt_f1": 0.5, "eval_knowledge_f1": 0.625, "eval_prompt_strict_f1": 0.1, "eval_loss": 1.0}
    lines.on_evaluate(each_epoch, state, None, metrics=metrics)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("epoch 1/2, step 10/20: loss 0.5000, kl 0.2500, prompt F1 50.0, knowledge F1 62.5, 0 min")
    lines.on_epoch_end(never, state, None)
    assert capsys.readouterr().out.startswith("epoch 1/2")
    state.is_world_process_zero = False
    lines.on_epoch_end(never, state, None)
    assert capsys.readouterr().out == ""

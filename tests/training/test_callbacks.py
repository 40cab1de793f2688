"""Checkpoints get their name when they are whole and rotate by step; an epoch is one line."""

import json
import os
from types import SimpleNamespace

from transformers import TrainerControl, TrainerState

from modeling_cotpd.training.callbacks import STAGING_CHECKPOINT, CompleteCheckpoints, EpochLines


def save(folder, step: int, limit: int | None, best: int | None = None) -> TrainerState:
    (folder / STAGING_CHECKPOINT / f"checkpoint-{step}").mkdir(parents=True)
    state = TrainerState(global_step=step, best_global_step=best)
    if best is not None:  # as the trainer sets it
        place = folder / STAGING_CHECKPOINT if best == step else folder
        state.best_model_checkpoint = str(place / f"checkpoint-{best}")
    CompleteCheckpoints(limit).on_save(SimpleNamespace(output_dir=str(folder)), state, TrainerControl())
    return state


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_checkpoint_gets_its_name_and_its_own_place_as_the_best(tmp_path):
    state = save(tmp_path, 5, None, best=5)
    assert names(tmp_path) == {"checkpoint-5"} and state.best_model_checkpoint == str(tmp_path / "checkpoint-5")
    written = json.loads((tmp_path / "checkpoint-5" / "trainer_state.json").read_text("utf-8"))
    assert written["best_model_checkpoint"] == str(tmp_path / "checkpoint-5")


def test_the_oldest_step_goes_whatever_the_clock_says(tmp_path):
    for step, time in ((9, 100), (10, 90), (100, 80)):
        save(tmp_path, step, None)
        os.utime(tmp_path / f"checkpoint-{step}", (time, time))
    save(tmp_path, 101, 2)
    assert names(tmp_path) == {"checkpoint-100", "checkpoint-101"}


def test_the_best_one_stays(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step, None)
    save(tmp_path, 4, 2, best=1)
    assert names(tmp_path) == {"checkpoint-1", "checkpoint-4"}


def test_one_line_per_epoch(capsys):
    lines = EpochLines()
    state = TrainerState(global_step=0, max_steps=20, num_train_epochs=2, is_world_process_zero=True)
    each_epoch, never = (SimpleNamespace(eval_strategy=value) for value in ("epoch", "no"))
    lines.on_train_begin(each_epoch, state, None, train_dataloader=SimpleNamespace(dataset=range(1600)))
    assert capsys.readouterr().out == "training on 1,600 rows: 2 epochs, 20 steps\n"
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

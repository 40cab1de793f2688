"""Callbacks of the trainer: complete checkpoints, rotated by step, and one line per epoch."""

import os
import shutil
import time
from pathlib import Path

from accelerate import PartialState
from transformers import ProgressCallback, TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, SaveStrategy, rotate_checkpoints

from modeling_cotpd.files import sync_folder, sync_tree
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

STAGING_CHECKPOINT = ".saving-checkpoint"
"""Where a checkpoint lies while it is written, within the output folder."""


class CompleteCheckpoints(TrainerCallback):
    """Gives a checkpoint its name when all of it is on the disk, and removes the oldest ones.

    The trainer writes checkpoints in `STAGING_CHECKPOINT`, so a killed run leaves none that is half-written.
    """

    def __init__(self, limit: int | None):
        self.limit = limit

    def on_save(self, args, state, control, **kwargs) -> None:
        processes = PartialState()
        processes.wait_for_everyone()
        best = Path(state.best_model_checkpoint or "")
        if best.parent.name == STAGING_CHECKPOINT:
            state.best_model_checkpoint = str(best.parent.parent / best.name)
        if state.is_world_process_zero:
            # a hyperparameter search has a folder per trial
            for staging in list(Path(args.output_dir).rglob(STAGING_CHECKPOINT)):
                self._finish(staging, f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}", state)
        processes.wait_for_everyone()

    def _finish(self, staging: Path, name: str, state: TrainerState) -> None:
        written, final = staging / name, staging.parent / name
        if not written.is_dir():
            return
        state.save_to_json(str(written / TRAINER_STATE_NAME))
        sync_tree(written)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(written, final)
        shutil.rmtree(staging)
        sync_folder(final.parent)
        # by step: file times change when a folder is copied or a clock is set
        rotate_checkpoints(str(final.parent), self.limit, state.best_model_checkpoint, use_mtime=False)


class EpochLines(TrainerCallback):
    """Prints a line when training begins, and one per epoch and per evaluation: progress, losses, F1, time left."""

    def __init__(self):
        self.losses: dict[str, float] = {}
        self.begin, self.first_step = 0.0, 0

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self.begin, self.first_step = time.monotonic(), state.global_step
        rows = kwargs["train_dataloader"].dataset
        if state.is_world_process_zero:
            print(
                f"training on {len(rows):,} rows: {state.num_train_epochs} epochs, {state.max_steps} steps", flush=True
            )

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        parts = ("loss", "knowledge_nll", "kl", "prompt_nll")
        if logs and "loss" in logs:
            self.losses = {name: logs[name] for name in parts if name in logs}

    def on_epoch_end(self, args, state, control, **kwargs) -> None:
        if args.eval_strategy != SaveStrategy.EPOCH:
            self._print(args, state, {})

    def on_evaluate(self, args, state, control, metrics=None, **kwargs) -> None:
        if state.max_steps:
            self._print(args, state, metrics or {})

    def _print(self, args: CoTPDTrainingArguments, state: TrainerState, metrics: dict[str, float]) -> None:
        if not state.is_world_process_zero:
            return
        line = f"epoch {state.epoch or 0:.3g}/{state.num_train_epochs}, step {state.global_step}/{state.max_steps}"
        shown = [f"{name} {float(value):.4f}" for name, value in self.losses.items()]
        shown += [
            f"{name.removeprefix('eval_').removesuffix('_f1').replace('_', ' ')} F1 {100 * value:.1f}"
            for name, value in metrics.items()
            if name.endswith("_f1") and not name.endswith(("strict_f1", "macro_f1"))
        ]
        done, left = state.global_step - self.first_step, state.max_steps - state.global_step
        if done > 0 and left > 0:
            shown.append(f"{_duration((time.monotonic() - self.begin) / done * left)} left")
        print(f"{line}: {', '.join(shown)}" if shown else line, flush=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"


class ProgressBar(ProgressCallback):
    """The progress bar without a dictionary per log; `EpochLines` prints what is logged."""

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        pass

"""What happens beside the steps: complete checkpoints, rotated by step, and one line per epoch."""

import time
from pathlib import Path

from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, SaveStrategy, rotate_checkpoints, sort_checkpoints

from modeling_cotpd.files import atomic_write, sync_tree
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

COMPLETE_FILE = "complete"
"""Written into a checkpoint when all of it is on the disk."""


class CompleteCheckpoints(TrainerCallback):
    """Marks a checkpoint as complete when all processes have written it, and removes the oldest ones.

    Args:
        limit (`int`, *optional*): How many checkpoints are kept; the best one is kept beside them.
    """

    def __init__(self, limit: int | None):
        self.limit = limit

    def on_save(self, args: CoTPDTrainingArguments, state: TrainerState, control: TrainerControl, **kwargs) -> None:
        PartialState().wait_for_everyone()
        folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        if state.is_world_process_zero and folder.is_dir():  # a hyperparameter search saves elsewhere
            sync_tree(folder)
            with atomic_write(folder / COMPLETE_FILE):
                pass
            # by step: file times change when a folder is copied or a clock is set
            rotate_checkpoints(args.output_dir, self.limit, state.best_model_checkpoint, use_mtime=False)


def last_complete_checkpoint(folder: str) -> tuple[str | None, list[str]]:
    """The last complete checkpoint of a run, and the later ones that a killed run left incomplete.

    Args:
        folder (`str`): The run's output folder.
    """
    incomplete: list[str] = []
    for checkpoint in reversed(sort_checkpoints(folder)):
        if (Path(checkpoint) / COMPLETE_FILE).is_file():
            return checkpoint, incomplete
        incomplete.append(checkpoint)
    return None, incomplete


class EpochLines(TrainerCallback):
    """Prints one line per epoch and per evaluation: progress, losses, F1 of every view, time left."""

    def __init__(self):
        self.losses: dict[str, float] = {}
        self.begin, self.first_step = 0.0, 0

    def on_train_begin(
        self, args: CoTPDTrainingArguments, state: TrainerState, control: TrainerControl, **kwargs
    ) -> None:
        self.begin, self.first_step = time.monotonic(), state.global_step

    def on_log(
        self, args: CoTPDTrainingArguments, state: TrainerState, control: TrainerControl, logs=None, **kwargs
    ) -> None:
        parts = ("loss", "knowledge_nll", "kl", "prompt_nll")
        if logs and "loss" in logs:
            self.losses = {name: logs[name] for name in parts if name in logs}

    def on_epoch_end(
        self, args: CoTPDTrainingArguments, state: TrainerState, control: TrainerControl, **kwargs
    ) -> None:
        if args.eval_strategy != SaveStrategy.EPOCH:
            self._print(args, state, {})

    def on_evaluate(
        self, args: CoTPDTrainingArguments, state: TrainerState, control: TrainerControl, metrics=None, **kwargs
    ) -> None:
        if state.max_steps:
            self._print(args, state, metrics or {})

    def _print(self, args: CoTPDTrainingArguments, state: TrainerState, metrics: dict[str, float]) -> None:
        if not state.is_world_process_zero:
            return
        line = f"epoch {state.epoch or 0:.3g}/{state.num_train_epochs}, step {state.global_step}/{state.max_steps}:"
        shown = [f"{name} {float(value):.4f}" for name, value in self.losses.items()]
        shown += [
            f"{name.removeprefix('eval_').removesuffix('_f1').replace('_', ' ')} F1 {100 * value:.1f}"
            for name, value in metrics.items()
            if name.endswith("_f1") and not name.endswith(("strict_f1", "macro_f1"))
        ]
        done, left = state.global_step - self.first_step, state.max_steps - state.global_step
        if done > 0 and left > 0:
            shown.append(f"{_duration((time.monotonic() - self.begin) / done * left)} left")
        print(line, ", ".join(shown), flush=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"

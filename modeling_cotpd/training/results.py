"""What a run leaves behind: the saved model, settings, results, predictions."""

import copy
import dataclasses
import importlib.metadata
import json
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from peft import PeftModel

from modeling_cotpd.data.schema import gold_labels
from modeling_cotpd.errors import SettingError
from modeling_cotpd.files import STAGING, exclusive, read_object, staged_folder, write_json, write_json_lines
from modeling_cotpd.text_safety import without_secrets
from modeling_cotpd.training.model_card import example_output, write_model_card
from modeling_cotpd.training.tasks import Evaluation
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

if TYPE_CHECKING:
    from modeling_cotpd.training.trainer import CoTPDTrainer

logger = logging.getLogger(__name__)

RUN_FILE, RESULTS_FILE, LOCK_FILE = "run.json", "results.json", ".lock"
ADAPTER_FOLDER, ONNX_FOLDER, THRESHOLD_FILE = "adapter", "onnx", "on_demand.json"
"""What is made of a trained model: LoRA's adapter, `cotpd export MODEL --out MODEL/onnx`, `cotpd threshold`."""
OF_A_RUN = ("checkpoint-*", RESULTS_FILE, "predictions.*.jsonl", ADAPTER_FOLDER, ONNX_FOLDER, THRESHOLD_FILE)
LIBRARIES = ("modeling_cotpd", "torch", "transformers", "accelerate", "datasets", "peft", "tokenizers")
TRAINING_SETTINGS = (
    "seed", "data_seed", "learning_rate", "new_parameters_learning_rate", "num_train_epochs", "max_steps",
    "per_device_train_batch_size", "gradient_accumulation_steps", "warmup_steps", "weight_decay", "max_grad_norm",
    "alpha", "alpha_schedule", "temperature", "detach_knowledge_view", "prompt_nll_weight", "prompt_view_masking",
    "eval_views", "bf16", "fp16", "metric_for_best_model", "load_best_model_at_end",
)  # fmt: skip
"""Training arguments that change the outcome of a run."""
MORE_SETTINGS = (
    "optim", "optim_args", "adam_beta1", "adam_beta2", "adam_epsilon", "lr_scheduler_kwargs", "neftune_noise_alpha",
    "dataloader_drop_last", "train_sampling_strategy",
)  # fmt: skip
"""More of these. A run names those that are not at their default."""
MODEL_SETTINGS = (
    "prompt_type", "prompt_length", "prompt_layers", "prompt_attention_heads", "use_crf", "classifier_dropout"
)  # fmt: skip
"""Settings of prompt and head, which a model's configuration holds."""
_SECRET_FLAG = re.compile(r"token|key|secret|password", re.IGNORECASE)


def training_settings(args: CoTPDTrainingArguments) -> dict[str, Any]:
    """The training arguments that change a run's outcome."""
    settings = {name: getattr(args, name) for name in TRAINING_SETTINGS}
    return settings | {"lr_scheduler_type": str(args.lr_scheduler_type)}


def changed_settings(args: CoTPDTrainingArguments) -> dict[str, Any]:
    """Those of `MORE_SETTINGS` that are not at their default."""
    return {
        each.name: getattr(args, each.name)
        for each in dataclasses.fields(args)
        if each.name in MORE_SETTINGS and getattr(args, each.name) not in (each.default, None, {})
    }


def run_results(trainer: "CoTPDTrainer") -> dict:
    """What is known of a run: task, encoder, views, seed, rows, scores of what was evaluated, settings."""
    args, config = trainer.args, trainer.head_model.config
    found = {
        "task": trainer.task.name,
        "encoder": getattr(config.encoder_config, "_name_or_path", "") or None,
        "label_names": [config.id2label[index] for index in range(config.num_labels)],
        "reading": "words",
        "knowledge_columns": config.knowledge_columns or [],
        "knowledge_placement": config.knowledge_placement,
        "train_rows": len(trainer.train_dataset) if isinstance(trainer.train_dataset, Dataset) else 0,
        "seed": args.seed,
        "splits": {name: each.scores for name, each in trainer.evaluations.items() if each.scores},
        "training": trainer.train_metrics,
        "log": _log_rows(trainer.state.log_history),
        "settings": {name: getattr(config, name) for name in MODEL_SETTINGS} | training_settings(args),
        **environment(),
        **trainer.facts,
    }
    if args.world_size == 1 and trainer.processing_class is not None:
        found["example"] = example_output(trainer.task.name, trainer.head_model.eval(), trainer.processing_class)
    return found


def _log_rows(history: list[dict]) -> list[dict[str, float]]:
    """Epoch, step, loss and F1 of every view, for every evaluation."""
    rows = []
    loss: dict[str, float] = {}
    for log in history:
        loss = {"loss": float(log["loss"])} if "loss" in log else loss
        f1 = {f"{view}_f1": log[f"eval_{view}_f1"] for view in ("prompt", "knowledge") if f"eval_{view}_f1" in log}
        if f1:
            rows.append({"epoch": log.get("epoch", 0.0), "step": log["step"], **loss, **f1})
    return rows


def save_finished(trainer: "CoTPDTrainer", folder: Path, save: Callable[..., None]) -> None:
    """Save a trained model with its code, tokenizer and card; every file appears complete or not at all.

    With LoRA the folder gets the merged model, and its folder `adapter` the adapter. `save` writes the trainer's model
    into a folder, on all processes.
    """
    model, writes = trainer.accelerator.unwrap_model(trainer.model), trainer.args.should_save
    merged = isinstance(model, PeftModel)
    with staged_folder(folder / ADAPTER_FOLDER if merged else folder, writes) as staging:
        save(str(staging), _internal_call=True)
    if writes:
        with staged_folder(folder) as staging:
            if merged:
                copy.deepcopy(model).merge_and_unload().save_pretrained(staging)
                trainer.processing_class.save_pretrained(staging)
            write_model_card(staging, run_results(trainer), folder.absolute().name)


@contextmanager
def output_folder(folder: str | os.PathLike, writes: bool = True) -> Iterator[Path]:
    """Make a run's output folder and hold its lock, unless this is not the process that writes."""
    folder = Path(folder)
    if not writes:
        yield folder
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"The output folder cannot be made ({error.strerror})."
        raise SettingError(message, place=str(folder), fix="Name another one.") from error
    with exclusive(folder / LOCK_FILE, "writes this output folder"):
        yield folder


def claim_output_dir(folder: str | Path, settings: dict, resume: bool, overwrite: bool) -> None:
    """Make the output folder this run's own.

    Args:
        settings (`dict`): What defines the run; written to `run.json`.
        resume (`bool`): Continue the run that is there; its settings must be the same.
        overwrite (`bool`): Remove what the run that is there made, but for the model, which the new run replaces.

    Raises:
        SettingError: The folder holds another run. One that was stopped before it made anything does not count.
    """
    folder = Path(folder)
    known = folder / RUN_FILE
    settings = without_secrets(json.loads(json.dumps(settings)))
    if known.is_file():
        if overwrite:
            for path in (path for pattern in OF_A_RUN for path in folder.glob(pattern)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif not resume and made(folder):
            fix = "Name a new folder, or give --resume_from_checkpoint true or --overwrite_output_dir true."
            raise SettingError("The output folder holds another run.", place=str(folder), fix=fix)
        elif resume:
            before = read_settings(known)
            if name := changed_setting(before, settings):
                message = f"The run in this folder has {name} = {before.get(name)!r}, this one {settings.get(name)!r}."
                fix = "Resume with the same settings, or name a new folder."
                raise SettingError(message, place=str(folder), fix=fix)
    elif not overwrite and any(
        path.name not in (LOCK_FILE, STAGING) and not path.name.startswith(f".{RUN_FILE}-")  # what a killed run leaves
        for path in folder.glob("*")
    ):
        raise SettingError("The output folder is not empty.", place=str(folder), fix="Name a new folder.")
    write_json(known, settings)


def made(folder: str | Path) -> list[Path]:
    """What the runs in an output folder have made so far."""
    return [path for pattern in (*OF_A_RUN, "model*.safetensors") for path in Path(folder).glob(pattern)]


def changed_setting(before: dict, now: dict) -> str | None:
    """The first setting, by name, in which an unfinished run and the one that would continue it differ."""
    return min((name for name in {*before, *now} if before.get(name) != now.get(name)), default=None)


def read_settings(path: Path) -> dict:
    """The settings in a `run.json`."""
    settings = read_object(path)
    if settings is None:
        raise SettingError(
            "The file is not what a run writes.", place=str(path), fix="Copy the run again, or start it anew."
        )
    return settings


def environment() -> dict[str, Any]:
    """Versions, machine and commit that a result was obtained with; `None` where the machine cannot tell."""
    return {
        "versions": {name: _version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "git_commit": _git_commit(),
        "command": command_line(sys.argv),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def command_line(argv: list[str]) -> str:
    """The command as it was typed, without secrets: values of flags that hold one, tokens, user and keys in URLs.

    Example:
        >>> command_line(["run_mner.py", "--hub-tok", "abc", "--seed", "3"])
        'run_mner.py --hub-tok ... --seed 3'
    """
    shown = [Path(argv[0]).name]
    hidden = False
    for word in argv[1:]:
        flag, equals, _ = word.partition("=")
        if hidden and not word.startswith("--"):
            shown.append("...")
            hidden = False
            continue
        secret = _holds_secret(flag)
        hidden = secret and not equals
        shown.append(f"{flag}=..." if equals and secret else without_secrets(word))
    return " ".join(shown)


def _holds_secret(flag: str) -> bool:
    """Whether a flag holds a secret, in any spelling and any prefix that argparse takes for it."""
    name = flag.lstrip("-").replace("-", "_")
    short = len(name) > 4 and any(full.startswith(name) for full in ("hub_token", "push_to_hub_token"))
    return flag.startswith("--") and bool(short or _SECRET_FLAG.search(name))


def write_predictions(path: Path, split: Dataset, evaluation: Evaluation) -> None:
    """One JSON line per row: id, tokens, entity spans (MRE), gold, and prediction and uncertainty of every view."""
    shown = split.select_columns([name for name in ("id", "tokens", "head", "tail") if name in split.column_names])

    def rows() -> Iterator[dict]:
        for index, (row, gold) in enumerate(zip(shown, gold_labels(split), strict=True)):
            predicted = {view: values[index] for view, values in evaluation.predictions.items()}
            doubts = {view: values[index] for view, values in evaluation.uncertainty.items()}
            yield {**row, "gold": gold, **predicted, "uncertainty": doubts}

    write_json_lines(path, rows())


def summary(results: dict, folder: Path) -> str:
    """The end of a run in a few lines: precision, recall and F1 of every view, and what to do next."""
    lines = [f"{'split':<12}{'view':<20}{'precision':>10}{'recall':>10}{'F1':>10}"]
    for split, views in results["splits"].items():
        for view, scores in views.items():
            numbers = "".join(f"{100 * scores[name]:>10.1f}" for name in ("precision", "recall", "f1"))
            lines.append(f"{split:<12}{view.replace('prompt', 'prompt (text alone)'):<20}{numbers}")
    if len(lines) == 1:
        lines = ["No split was scored."]
    following = f"cotpd predict {folder} --input posts.txt --output o.jsonl"
    if {view for views in results["splits"].values() for view in views} == {"knowledge"}:
        data, columns = results["settings"]["dataset_dir"], " ".join(results["knowledge_columns"])
        following = f"cotpd train {results['task']} student --dataset_dir {data} --knowledge_columns {columns}"
        following += f" --distill_from {folder}"
    return "\n".join([*lines, f"Model, results and card: {folder}", f"Next: {following}"])

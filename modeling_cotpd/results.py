"""What a run leaves behind besides the model: settings, results, predictions."""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from datasets import Dataset

from modeling_cotpd.errors import SettingError
from modeling_cotpd.evaluation import gold_labels

RUN_FILE, RESULTS_FILE = "run.json", "results.json"
LIBRARIES = ("modeling_cotpd", "torch", "transformers", "accelerate", "datasets", "peft", "tokenizers")


def write_json(path: Path, value: Any) -> None:
    """Write JSON under a temporary name first, so that no half-written file stands under the final one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")
    os.replace(temporary, path)


def claim_output_dir(folder: str | Path, settings: dict, resume: bool, overwrite: bool) -> None:
    """Make the output folder this run's own.

    Args:
        folder (`str` or `Path`): The output folder.
        settings (`dict`): What defines the run; written to `run.json`.
        resume (`bool`): Continue the run that is there; its settings must be the same.
        overwrite (`bool`): Remove the checkpoints and results of the run that is there.

    Raises:
        SettingError: The folder holds another run.
    """
    folder = Path(folder)
    known = folder / RUN_FILE
    settings = json.loads(json.dumps(settings))
    if known.is_file():
        before = json.loads(known.read_text("utf-8"))
        if overwrite:
            for path in folder.glob("checkpoint-*"):
                shutil.rmtree(path)
            (folder / RESULTS_FILE).unlink(missing_ok=True)
        elif not resume:
            raise SettingError(
                "The output folder holds another run.",
                place=str(folder),
                fix="Name a new folder, or give --resume_from_checkpoint true or --overwrite_output_dir true.",
            )
        else:
            changed = sorted(name for name in {*before, *settings} if before.get(name) != settings.get(name))
            if changed:
                name = changed[0]
                raise SettingError(
                    f"The run in this folder has {name} = {before.get(name)!r}, this one {settings.get(name)!r}.",
                    place=str(folder),
                    fix="Resume with the same settings, or name a new folder.",
                )
    elif folder.is_dir() and not overwrite and any(path.name != f"{RUN_FILE}.tmp" for path in folder.iterdir()):
        raise SettingError("The output folder is not empty.", place=str(folder), fix="Name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(known, settings)


def environment() -> dict[str, Any]:
    """Versions, machine and commit that a result was obtained with."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return {
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "git_commit": commit.stdout.strip() if commit.returncode == 0 else None,
        "command": command_line(sys.argv),
    }


def command_line(argv: list[str]) -> str:
    """The command as it was typed, without the value of a flag that holds an access token."""
    shown = [Path(argv[0]).name]
    for before, word in pairwise(argv):
        flag, equals, _ = word.partition("=")
        if flag.endswith("_token") and equals:
            word = f"{flag}=..."
        shown.append("..." if before.startswith("--") and before.endswith("_token") else word)
    return " ".join(shown)


def write_predictions(path: Path, split: Dataset, predictions: dict[str, list]) -> None:
    """One JSON line per row: id, tokens, entity spans (MRE), gold, and the prediction of every view.

    Args:
        predictions (`dict[str, list]`): Per view the decoded predictions in the order of the split.
    """
    temporary = path.with_name(path.name + ".tmp")
    shown = [name for name in ("id", "tokens", "head", "tail") if name in split.column_names]
    with temporary.open("w", encoding="utf-8") as file:
        for index, (row, gold) in enumerate(zip(split.select_columns(shown), gold_labels(split), strict=True)):
            row = {**row, "gold": gold, **{view: rows[index] for view, rows in predictions.items()}}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    os.replace(temporary, path)

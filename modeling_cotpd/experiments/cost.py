"""What a sweep will cost, judged by the runs that are finished."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modeling_cotpd.experiments.launch import OUTPUT, is_finished, read_spec
from modeling_cotpd.experiments.plan import Run
from modeling_cotpd.training.results import RESULTS_FILE


@dataclass(frozen=True)
class Finished:
    """How long a finished run took: its seconds, and the rows it read in training."""

    row: str
    encoder: str
    work: float
    seconds: float


def finished_runs(root: Path) -> list[Finished]:
    """The finished runs below `root/runs` whose seconds are known."""
    found = []
    for folder in sorted((root / "runs").glob("*")):
        spec = read_spec(folder)
        if not is_finished(folder) or not spec.get("seconds"):
            continue
        results = json.loads((folder / OUTPUT / RESULTS_FILE).read_text("utf-8"))
        work = rows_read(results["train_rows"], results["settings"])
        found.append(Finished(spec["row"], spec["encoder"], work, spec["seconds"]))
    return found


def rows_read(train_rows: int, settings: Mapping[str, Any]) -> float:
    """Training rows that a run reads, each as often as it does; `max_steps` wins over epochs, as in the Trainer."""
    if (settings.get("max_steps") or -1) > 0:
        return settings["max_steps"] * settings.get("per_device_train_batch_size", 8) if train_rows else 0
    return train_rows * settings.get("num_train_epochs", 3)


def estimate(run: Run, train_rows: int | None, finished: Iterable[Finished]) -> float | None:
    """Seconds that a run will take, or `None` where no finished run tells.

    Finished runs of the same row and encoder count first, then those of the encoder; their seconds are scaled by
    the training rows that are read.
    """
    rows = min(train_rows, run.settings.get("max_train_samples") or train_rows) if train_rows else None
    of_encoder = [other for other in finished if other.encoder == run.encoder and bool(other.work) == run.trains]
    for likes in ([other for other in of_encoder if other.row == run.row], of_encoder):
        if not likes:
            continue
        seconds = sum(other.seconds for other in likes)
        work = sum(other.work for other in likes)
        if run.trains and rows and work:
            return seconds / work * rows_read(rows, run.settings)
        return seconds / len(likes)
    return None


def spoken(seconds: float | None) -> str:
    """`2 h 05 min`, `13 min`, `40 s`, or `unknown`."""
    if seconds is None:
        return "unknown"
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"

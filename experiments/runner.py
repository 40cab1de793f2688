"""Running a sweep: finished runs stay, interrupted ones resume, failures are reported at the end."""

import contextlib
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from experiments.identity import data_hash, with_effect
from experiments.plan import Plan, Run
from experiments.process import (
    COTPD,
    LOG_FILE,
    OUTPUT,
    RECIPE_FILE,
    RESULTS_FILE,
    SPEC_FILE,
    call,
    entry_point,
    is_finished,
    last_lines,
    locked,
    read_json,
)
from modeling_cotpd.errors import DataError
from modeling_cotpd.files import atomic_write, write_json

PATIENCE = 5.0
"""Seconds between looks at the runs of another process."""


@dataclass
class Outcome:
    """Titles of runs by outcome; a failure with the end of its log."""

    finished_before: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


class Runner:
    """Runs a plan, one run after another.

    Args:
        plan (`Plan`): The runs.
        folders (`Mapping[str, Path]`): Prepared folder of every preparation that is there.
        root (`Path`): Runs go to its folder `runs`.
        launcher (`Sequence[str]`): Such as `["accelerate", "launch"]`; empty: this interpreter.
        keep_models (`bool`): Keep the weights of finished runs. Checkpoints are removed in any case.
    """

    def __init__(
        self,
        plan: Plan,
        folders: Mapping[str, Path],
        root: Path,
        launcher: Sequence[str] = (),
        keep_models: bool = True,
    ):
        self.plan, self.folders, self.root = plan, dict(folders), root
        self.launcher, self.keep_models = list(launcher) or [sys.executable], keep_models

    def folder(self, run: Run) -> Path:
        """The folder of a run."""
        return self.plan.folder(run, self.folders, self.root)

    def lacking(self, run: Run) -> list[str]:
        """The preparations that a run needs and that are not there."""
        return [name for name in dict.fromkeys(self.plan.data_of(run)) if name not in self.folders]

    def is_done(self, run: Run) -> bool:
        """Whether the run is finished; a finished run of other settings or data in its folder is an error."""
        if not is_finished(self.folder(run)):
            return False
        check_results(self.folder(run), run, self.folders)
        return True

    def describe(self) -> list[str]:
        """The runs and their expected time, as lines."""
        times, lines, total, unknown = self.times(), [], 0.0, 0
        for run in self.plan.runs:
            if lacking := self.lacking(run):
                lines.append(f"  without data  {run.title}: needs {', '.join(lacking)}")
            elif self.is_done(run):
                lines.append(f"  finished      {run.title}")
            else:
                seconds = self.estimate(run, times)
                total, unknown = total + (seconds or 0.0), unknown + (seconds is None)
                begun = "to resume" if (self.folder(run) / OUTPUT).is_dir() else "to run"
                lines.append(f"  {begun:<13} {run.title}: {duration(seconds)}")
        waiting = sum(line.startswith("  to r") for line in lines)
        guess = f"{duration(total)}{f' and {unknown} runs of unknown length' if unknown else ''}"
        return [*lines, f"{waiting} of {len(lines)} runs to do; estimated time: {guess}"]

    def times(self) -> list[dict[str, Any]]:
        """Row, encoder, seconds and training rows read of every finished run below `root`."""
        found = []
        for folder in sorted((self.root / "runs").glob("*")):
            spec = read_json(folder / SPEC_FILE)
            if is_finished(folder) and spec.get("seconds"):
                results = read_json(folder / OUTPUT / RESULTS_FILE)
                work = rows_read(results.get("train_rows", 0), results.get("settings", {}))
                found.append({**spec, "work": work})
        return found

    def estimate(self, run: Run, times: Sequence[dict[str, Any]]) -> float | None:
        """Seconds of a run, scaled by the training rows it reads from runs of its row, or else of its encoder."""
        rows = self._rows(run.data, "train")
        rows = min(rows, run.settings.get("max_train_samples") or rows)
        splits = run.settings.get("unlabelled_splits", ["train"])
        rows += sum(self._rows(name, split) for name in run.unlabelled for split in splits)
        work = rows_read(rows, run.settings) if run.trains else 0
        alike = [other for other in times if other["encoder"] == run.encoder and bool(other["work"]) == run.trains]
        alike = [other for other in alike if other["row"] == run.row] or alike
        if not alike:
            return None
        seconds, done = (sum(other[name] for other in alike) for name in ("seconds", "work"))
        return seconds / done * work if work and done else seconds / len(alike)

    def _rows(self, data: str, split: str) -> int:
        return read_json(self.folders[data] / "dataset.json")["splits"].get(split, {}).get("rows", 0)

    def run_all(self) -> Outcome:
        """Run everything that is not finished. After Ctrl-C, a later call resumes.

        A run that another process has started, and the runs that need it, wait until it ends there.
        """
        outcome, waiting, put_off = Outcome(), [], 0
        for run in self.plan.runs:
            if lacking := self.lacking(run):
                outcome.left_out[run.title] = f"needs {', '.join(lacking)}"
            elif self.is_done(run):
                outcome.finished_before.append(run.title)
            else:
                waiting.append(run)
        total = len(waiting)
        while waiting:
            run = waiting.pop(0)
            needed = {need.declared for need in run.all_needs} & {other.declared for other in waiting}
            if needed or self._busy([run, *run.all_needs]):
                waiting.append(run)
                put_off += 1
                if put_off >= len(waiting):
                    time.sleep(PATIENCE)
                continue
            put_off = 0
            left = f"[{total - len(waiting)}/{total}] {time.strftime('%H:%M')} {run.title}"
            print(
                f"{left}: about {duration(self.estimate(run, self.times()))}; log {self.folder(run) / LOG_FILE}",
                flush=True,
            )
            self._run_one(run, outcome)
        return outcome

    def _busy(self, runs: Sequence[Run]) -> bool:
        """Whether another process runs one of them."""
        for folder in (self.folder(run) for run in runs):
            with contextlib.ExitStack() as stack:
                if not is_finished(folder) and not stack.enter_context(locked(folder)):
                    return True
        return False

    def _run_one(self, run: Run, outcome: Outcome) -> None:
        folder = self.folder(run)
        unmet = [need.title for need in run.all_needs if not is_finished(self.folder(need))]
        if unmet:
            outcome.failed[run.title] = f"    the run it needs is not finished: {unmet[0]}"
            return
        with locked(folder) as free:
            if not free:  # started within this moment
                outcome.left_out[run.title] = "another process runs it"
                return
            if self.is_done(run):  # by another process, since the last look
                outcome.finished_before.append(run.title)
                return
            command = self.command(run)
            about = {name: getattr(run, name) for name in ("column", "encoder", "row", "seed", "task", "declared")}
            about["run"] = self.plan.key(run, self.folders)
            about["data"] = {name: data_hash(self.folders[name]) for name in (run.data, *run.unlabelled)}
            write_json(folder / SPEC_FILE, {**read_json(folder / SPEC_FILE), **about})
            code, seconds = call(command, folder)
            if run.command and not code:
                write_json(folder / SPEC_FILE, {**read_json(folder / SPEC_FILE), "finished": True})
            if code or not is_finished(folder):
                print(f"    failed with exit code {code} after {duration(seconds)}", flush=True)
                outcome.failed[run.title] = f"    {folder / LOG_FILE}, exit code {code}:\n{last_lines(folder)}"
                return
            for checkpoint in (folder / OUTPUT).glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
            for weights in () if self.keep_models else (folder / OUTPUT).glob("*.safetensors"):
                weights.unlink()
            outcome.done.append(run.title)
            print(f"    done after {duration(seconds)}{headline(folder)}", flush=True)

    def command(self, run: Run) -> list[str]:
        """The command line of a run, which resumes what an earlier attempt left; writes its recipe."""
        folder = self.folder(run)
        if run.command:
            settings = self.recipe(run)
            names = {**settings, "data": settings["dataset_dir"], "output": settings["output_dir"]}
            words = [word.format_map(names) for word in run.command]
            return [*COTPD, *words[1:]] if words[0] == "cotpd" else words
        with atomic_write(folder / RECIPE_FILE) as file:
            yaml.safe_dump(self.recipe(run), file, sort_keys=True, allow_unicode=True)
        command = [*self.launcher, str(entry_point(run.task)), str(folder / RECIPE_FILE)]
        if (folder / OUTPUT / "run.json").is_file():
            command += ["--resume_from_checkpoint", "true"]
        return command

    def recipe(self, run: Run) -> dict[str, Any]:
        """All settings of a run, with its folders and the models it needs."""
        settings = {
            **run.settings,
            "dataset_dir": str(self.folders[run.data]),
            "output_dir": str(self.folder(run) / OUTPUT),
        }
        if run.unlabelled:
            settings["unlabelled_dataset_dir"] = [str(self.folders[name]) for name in run.unlabelled]
        for name, needs in run.needs.items():
            models = [str(self.folder(need) / OUTPUT) for need in needs]
            settings[name] = models[0] if len(models) == 1 else models
        return settings


def rows_read(train_rows: int, settings: Mapping[str, Any]) -> float:
    """Training rows that a run reads, with repetition; `max_steps` overrides epochs, as in the Trainer."""
    if (settings.get("max_steps") or -1) > 0:
        return settings["max_steps"] * settings.get("per_device_train_batch_size", 8) if train_rows else 0
    return train_rows * settings.get("num_train_epochs", 3)


def duration(seconds: float | None) -> str:
    """`2 h 05 min`, `13 min`, `40 s`, or `unknown`."""
    if seconds is None:
        return "unknown"
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def headline(folder: Path) -> str:
    """F1 of every split and view, for the progress line."""
    splits = read_json(folder / OUTPUT / RESULTS_FILE).get("splits", {})
    scores = [f"{split} {view} {100 * of['f1']:.1f}" for split, views in splits.items() for view, of in views.items()]
    return f": {', '.join(scores)}" if scores else ""


def check_results(folder: Path, run: Run, folders: Mapping[str, Path]) -> None:
    """Compare a finished run with the declaration and the data of its folder.

    Raises:
        DataError: It was run on another copy of the data, or with other settings.
    """
    results = read_json(folder / OUTPUT / RESULTS_FILE)
    if not results:
        return
    fix = "Remove the folder to run it again."
    for split, facts in read_json(folders[run.data] / "dataset.json")["splits"].items():
        if split == "train" and "dataset_dir" in run.needs:  # labelled by the run it needs
            continue
        if results["dataset"]["splits"].get(split, {}).get("gold_hash") != facts["gold_hash"]:
            raise DataError(f"The run and its data differ in the gold hash of {split}.", place=str(folder), fix=fix)
    for name, value in with_effect(run.settings).items():
        recorded = results.get("settings", {}).get(name, value)  # labels from lists have none
        wanted = [] if value == ["none"] else value
        # an enumeration such as `SchedulerType.LINEAR` is recorded in full
        spellings = {str(recorded).lower(), str(recorded).lower().rpartition("type.")[2]}
        if name not in run.needs and recorded != wanted and str(wanted).lower() not in spellings:
            raise DataError(f"The run has {name} = {recorded!r}, not {wanted!r}.", place=str(folder), fix=fix)

"""Running a sweep: what is finished stays, what crashed resumes, what fails is reported at the end."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modeling_cotpd.errors import CoTPDError, DataError
from modeling_cotpd.experiments.cost import estimate, finished_runs, spoken
from modeling_cotpd.experiments.identity import data_hash, with_effect
from modeling_cotpd.experiments.launch import (
    LOG_FILE,
    OUTPUT,
    SPEC_FILE,
    call,
    is_finished,
    last_lines,
    locked,
    read_spec,
    run_command,
    write_recipe,
)
from modeling_cotpd.experiments.plan import Plan, Run
from modeling_cotpd.experiments.search import best_learning_rates
from modeling_cotpd.training.results import RESULTS_FILE, write_json

PATIENCE = 5.0
"""Seconds between looks at what another process runs."""


@dataclass
class Outcome:
    """What became of a sweep's runs: titles by fate, and the log's end of every failure."""

    finished_before: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


class Runner:
    """Runs a plan, one run after another.

    Args:
        plan (`Plan`): What to run.
        folders (`Mapping[str, Path]`): Prepared folder of every preparation that is there.
        root (`Path`): Where runs go, below `runs`.
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
        self.launcher, self.keep_models = list(launcher), keep_models

    def folder(self, run: Run) -> Path:
        """The folder of a run."""
        return self.plan.folder(run, self.folders, self.root)

    def lacking(self, run: Run) -> list[str]:
        """The preparations that a run needs and that are not there."""
        return [name for name in dict.fromkeys(self.plan.data_of(run)) if name not in self.folders]

    def is_done(self, run: Run) -> bool:
        """Whether the run is finished; a finished run of other settings in its folder is an error."""
        if not is_finished(self.folder(run)):
            return False
        check_results(self.folder(run), run, self.folders)
        return True

    def describe(self) -> list[str]:
        """What would be run and what it would cost, as lines."""
        finished, lines, total, unknown = finished_runs(self.root), [], 0.0, 0
        for run in self.plan.runs:
            lacking = self.lacking(run)
            if lacking:
                lines.append(f"  without data  {run.title}: needs {', '.join(lacking)}")
                continue
            if self.is_done(run):
                lines.append(f"  finished      {run.title}")
                continue
            seconds = self.estimate(run, finished)
            total, unknown = total + (seconds or 0.0), unknown + (seconds is None)
            begun = "to resume" if (self.folder(run) / OUTPUT).is_dir() else "to run"
            lines.append(f"  {begun:<13} {run.title}: {spoken(seconds)}")
        trials = self.plan.search.trials
        searched = f", after a search of {trials} trials for every row" if trials else ""
        guess = f"{spoken(total)}{f' and {unknown} runs of unknown length' if unknown else ''}"
        waiting = sum(not line.startswith(("  finished", "  without")) for line in lines)
        return [*lines, f"{waiting} of {len(lines)} runs to do{searched}; estimated time: {guess}"]

    def estimate(self, run: Run, finished: list) -> float | None:
        """Seconds that a run will take, if finished runs tell."""
        info = json.loads((self.folders[run.data] / "dataset.json").read_text("utf-8"))
        return estimate(run, info["splits"].get("train", {}).get("rows"), finished)

    def run_all(self) -> Outcome:
        """Run what is not finished. Ctrl-C ends it between or within runs, and a later call goes on.

        What another process runs, and what needs that, waits until it is done there or was given up.
        """
        outcome = Outcome()
        waiting = self._to_run(outcome)
        total, put_off = len(waiting), 0
        while waiting:
            run = waiting.pop(0)
            needed = {need.declared for need in run.all_needs} & {other.declared for other in waiting}
            if needed or self._in_other_hands([run, *run.all_needs]):
                waiting.append(run)
                put_off += 1
                if put_off >= len(waiting):
                    time.sleep(PATIENCE)
                continue
            put_off = 0
            self._announce([run, *waiting], total)
            self._run_one(run, outcome)
        return outcome

    def _to_run(self, outcome: Outcome) -> list[Run]:
        """The runs that are neither finished nor without data."""
        waiting = []
        for run in self.plan.runs:
            if self.lacking(run):
                outcome.left_out[run.title] = f"needs {', '.join(self.lacking(run))}"
            elif self.is_done(run):
                outcome.finished_before.append(run.title)
            else:
                waiting.append(run)
        return waiting

    def _announce(self, left: Sequence[Run], total: int) -> None:
        """One line on the run that begins and on how long everything will take."""
        finished = finished_runs(self.root)
        seconds = [self.estimate(run, finished) for run in left]
        eta = spoken(None if None in seconds else sum(value for value in seconds if value))
        print(
            f"[{total - len(left) + 1}/{total}] {time.strftime('%H:%M')} {left[0].title}: about {spoken(seconds[0])}, "
            f"all that is left {eta}; log {self.folder(left[0]) / LOG_FILE}",
            flush=True,
        )

    def _in_other_hands(self, runs: Sequence[Run]) -> bool:
        """Whether another process is at one of the runs."""
        for run in runs:
            if not is_finished(self.folder(run)):
                with locked(self.folder(run)) as free:
                    if not free:
                        return True
        return False

    def _run_one(self, run: Run, outcome: Outcome) -> None:
        folder = self.folder(run)
        unmet = [need.title for need in run.all_needs if not is_finished(self.folder(need))]
        if unmet:
            outcome.failed[run.title] = f"    the run it needs is not finished: {unmet[0]}"
            return
        with locked(folder) as free:
            if not free:  # taken within this moment
                outcome.left_out[run.title] = "another process runs it"
                return
            if self.is_done(run):  # by another process since this one looked
                outcome.finished_before.append(run.title)
                return
            try:
                settings = self.recipe(run)
            except CoTPDError as error:
                outcome.failed[run.title] = f"    {error}"
                return
            write_recipe(folder, settings)
            write_json(folder / SPEC_FILE, {**read_spec(folder), **self._spec(run)})
            code, seconds = call(run_command(folder, run.task, self.launcher), folder)
            if code or not is_finished(folder):
                print(f"    failed with exit code {code} after {spoken(seconds)}", flush=True)
                outcome.failed[run.title] = f"    {folder / LOG_FILE}, exit code {code}:\n{last_lines(folder)}"
                return
            self._tidy(folder)
            outcome.done.append(run.title)
            print(f"    done after {spoken(seconds)}: {headline(folder)}", flush=True)

    def recipe(self, run: Run) -> dict[str, Any]:
        """All settings of a run, with folders, the models it needs, and the learning rate that a search found."""
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
        if run.search.trials and run.trains:
            settings |= best_learning_rates(self.plan, run, settings, self.folders, self.root)
        return settings

    def _spec(self, run: Run) -> dict[str, Any]:
        return {
            "column": run.column,
            "encoder": run.encoder,
            "row": run.row,
            "seed": run.seed,
            "declared": run.declared,
            "run": self.plan.key(run, self.folders),
            "data": {name: data_hash(self.folders[name]) for name in (run.data, *run.unlabelled)},
        }

    def _tidy(self, folder: Path) -> None:
        for checkpoint in (folder / OUTPUT).glob("checkpoint-*"):
            shutil.rmtree(checkpoint)
        if not self.keep_models:
            for weights in (folder / OUTPUT).glob("*.safetensors"):
                weights.unlink()


def headline(folder: Path) -> str:
    """Test F1 of every view, for the progress line."""
    splits = json.loads((folder / OUTPUT / RESULTS_FILE).read_text("utf-8"))["splits"]
    scores = [f"{split} {view} {100 * of['f1']:.1f}" for split, views in splits.items() for view, of in views.items()]
    return ", ".join(scores) or "no scores"


def check_results(folder: Path, run: Run, folders: Mapping[str, Path]) -> None:
    """Compare a finished run with what its folder should hold.

    Raises:
        DataError: It was run on another copy of the data, or with other settings.
    """
    results = json.loads((folder / OUTPUT / RESULTS_FILE).read_text("utf-8"))
    fix = "Remove the folder to run it again."
    info = json.loads((folders[run.data] / "dataset.json").read_text("utf-8"))
    for split, facts in info["splits"].items():
        if results["dataset"]["splits"].get(split, {}).get("gold_hash") != facts["gold_hash"]:
            raise DataError(f"The run's gold hash of {split} is another than its data's.", place=str(folder), fix=fix)
    # a search and the models of other runs fill these in
    filled = {*run.needs, *(("learning_rate", "new_parameters_learning_rate") if run.search.trials else ())}
    for name, value in with_effect(run.settings).items():
        recorded = results["settings"].get(name, value)
        wanted = [] if value == ["none"] else value
        if name not in filled and recorded != wanted and str(wanted).lower() not in _spellings(recorded):
            raise DataError(f"The run has {name} = {recorded!r}, not {wanted!r}.", place=str(folder), fix=fix)


def _spellings(recorded: Any) -> set[str]:
    """How a recipe may write a recorded value: an enumeration such as `SchedulerType.LINEAR` by its last part."""
    return {str(recorded).lower(), str(recorded).lower().rpartition("type.")[2]}

"""Running a sweep: finished runs stay, interrupted ones resume, failures are reported at the end."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from experiments.plan import Plan, Run, data_hash
from modeling_cotpd.errors import SettingError
from modeling_cotpd.files import atomic_write, exclusive, write_json

SPEC_FILE, RECIPE_FILE, LOG_FILE, OUTPUT, RESULTS_FILE = "run.json", "recipe.yaml", "log.txt", "output", "results.json"
COTPD = (sys.executable, "-m", "modeling_cotpd")
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
    """Runs a plan, one run after another, in the folder `runs` of `root`; `folders` are the prepared ones."""

    def __init__(self, plan: Plan, folders: Mapping[str, Path], root: Path):
        self.plan, self.folders, self.root = plan, dict(folders), root
        self._failed: set[str] = set()  # declarations, since a run may have several titles

    def folder(self, run: Run) -> Path:
        """The folder of a run."""
        return self.plan.folder(run, self.folders, self.root)

    def lacking(self, run: Run) -> str:
        """The preparations that a run needs and that are not there, as text."""
        return ", ".join(name for name in dict.fromkeys(self.plan.data_of(run)) if name not in self.folders)

    def describe(self) -> list[str]:
        """The runs and their expected time, as lines."""
        lines, times = [], []
        for run in self.plan.runs:
            if lacking := self.lacking(run):
                lines.append(f"  without data  {run.title}: needs {lacking}")
            elif is_finished(self.folder(run)):
                lines.append(f"  finished      {run.title}")
            else:
                times.append(self.estimate(run))
                begun = "to resume" if (self.folder(run) / OUTPUT).is_dir() else "to run"
                lines.append(f"  {begun:<13} {run.title}: {duration(times[-1])}")
        known = [seconds for seconds in times if seconds is not None]
        rest = f" and {len(times) - len(known)} runs of unknown length" if len(known) < len(times) else ""
        summary = f"{len(times)} of {len(lines)} runs to do; estimated time: {duration(sum(known))}{rest}"
        return [*lines, summary]

    def estimate(self, run: Run) -> float | None:
        """Mean seconds of the finished runs below `root` of the run's row, or else of its encoder."""
        finished = [folder for folder in (self.root / "runs").glob("*") if is_finished(folder)]
        specs = [spec for folder in finished if (spec := read_json(folder / SPEC_FILE)).get("seconds")]
        alike = [spec for spec in specs if spec["encoder"] == run.encoder]
        alike = [spec for spec in alike if spec["row"] == run.row] or alike
        return sum(spec["seconds"] for spec in alike) / len(alike) if alike else None

    def run_all(self) -> Outcome:
        """Run everything that is not finished. After Ctrl-C, a later call resumes.

        A run that another process has started, and the runs that need it, wait until it ends there.
        """
        outcome, waiting, put_off = Outcome(), list[Run](), 0
        self._failed.clear()
        for run in self.plan.runs:
            if lacking := self.lacking(run):
                outcome.left_out[run.title] = f"needs {lacking}"
            elif is_finished(self.folder(run)):
                outcome.finished_before.append(run.title)
            else:
                waiting.append(run)
        total = len(waiting)
        while waiting:
            run = waiting.pop(0)
            if self._run_one(run, outcome, f"[{total - len(waiting)}/{total}]"):
                put_off = 0
            else:
                waiting.append(run)
                put_off += 1
                if put_off >= len(waiting):
                    time.sleep(PATIENCE)
        return outcome

    def _run_one(self, run: Run, outcome: Outcome, number: str) -> bool:
        """Run one, unless it has to wait; returns whether it is over."""
        folder = self.folder(run)
        unmet = [need for need in run.all_needs if not is_finished(self.folder(need))]
        for need in unmet:
            if need.declared in self._failed:
                self._failed.add(run.declared)
                outcome.failed[run.title] = f"    the run it needs is not finished: {need.title}"
                return True
        if unmet:
            return False
        with locked(folder) as free:
            if not free:
                return False
            if is_finished(folder):  # by another process, since the last look
                outcome.finished_before.append(run.title)
                return True
            about = f"about {duration(self.estimate(run))}; log {folder / LOG_FILE}"
            print(f"{number} {time.strftime('%H:%M')} {run.title}: {about}", flush=True)
            command = self.command(run)
            facts = {name: getattr(run, name) for name in ("column", "encoder", "row", "seed", "task", "declared")}
            facts["data"] = {name: data_hash(self.folders[name]) for name in (run.data, *run.unlabelled)}
            note(folder, **facts, run=self.plan.key(run, self.folders))
            code, seconds = call(command, folder)
            if run.command and not code:
                note(folder, finished=True)
            if code or not is_finished(folder):
                print(f"    failed with exit code {code} after {duration(seconds)}", flush=True)
                self._failed.add(run.declared)
                outcome.failed[run.title] = f"    {folder / LOG_FILE}, exit code {code}:\n{last_lines(folder)}"
                return True
            for checkpoint in (folder / OUTPUT).glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
            outcome.done.append(run.title)
            print(f"    done after {duration(seconds)}{headline(folder)}", flush=True)
            return True

    def command(self, run: Run) -> list[str]:
        """The command line of a run, which resumes what an earlier attempt left; writes its recipe."""
        folder, settings = self.folder(run), self.recipe(run)
        if run.command:
            names = {**settings, "data": settings["dataset_dir"], "output": settings["output_dir"]}
            words = [word.format_map(names) for word in run.command]
            return [*COTPD, *words[1:]] if words[0] == "cotpd" else words
        with atomic_write(folder / RECIPE_FILE) as file:
            yaml.safe_dump(settings, file, sort_keys=True, allow_unicode=True)
        resume = ["--resume_from_checkpoint", "true"] if (folder / OUTPUT / "run.json").is_file() else []
        return [sys.executable, str(entry_point(run.task)), str(folder / RECIPE_FILE), *resume]

    def recipe(self, run: Run) -> dict[str, Any]:
        """All settings of a run, with its folders and the models it needs."""
        settings = {**run.settings, "dataset_dir": str(self.folders[run.data])}
        settings["output_dir"] = str(self.folder(run) / OUTPUT)
        if run.unlabelled:
            settings["unlabelled_dataset_dir"] = [str(self.folders[name]) for name in run.unlabelled]
        for name, needs in run.needs.items():
            models = [str(self.folder(need) / OUTPUT) for need in needs]
            settings[name] = models[0] if len(models) == 1 else models
        return settings


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


def entry_point(task: str) -> Path:
    """`run_mner.py` or `run_mre.py`, in the working directory or beside this package."""
    name = f"run_{task}.py"
    return path if (path := Path.cwd() / name).is_file() else Path(__file__).parents[1] / name


def is_finished(folder: Path) -> bool:
    """Whether a run has finished: it has results, or the predictions of a command that writes no results."""
    return (folder / OUTPUT / RESULTS_FILE).is_file() or bool(read_json(folder / SPEC_FILE).get("finished"))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file, or nothing where there is none."""
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def note(folder: Path, **facts: Any) -> None:
    """Add facts to a run's `run.json`."""
    write_json(folder / SPEC_FILE, {**read_json(folder / SPEC_FILE), **facts})


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a run's lock; yields whether it was free. Two processes never run the same run at once."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(folder / "lock", "runs this"))
            free = True
        except SettingError:
            free = False
        yield free


def call(command: Sequence[str], folder: Path) -> tuple[int, float]:
    """Run a command with its output in the folder's log, and return its exit code and its seconds.

    The seconds are also added to `run.json`. Ctrl-C also stops the command, and is raised again; checkpoints stay.
    """
    start = time.monotonic()
    with (folder / LOG_FILE).open("a", encoding="utf-8") as log:
        log.write(f"\n$ {' '.join(command)}\n")
        log.flush()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        # in a session of its own, so that Ctrl-C reaches it once, from here
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environment
        )
        try:
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
        finally:
            seconds = time.monotonic() - start
            note(folder, seconds=read_json(folder / SPEC_FILE).get("seconds", 0.0) + seconds)
    return code, seconds


def _stop(process: subprocess.Popen, patience: float = 20.0) -> None:
    """End a command and its children, first with SIGTERM."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)


def last_lines(folder: Path, count: int = 3) -> str:
    """The end of a run's log, for the report of failures."""
    lines = (folder / LOG_FILE).read_text("utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line[:300]}" for line in [line for line in lines if line.strip()][-count:])

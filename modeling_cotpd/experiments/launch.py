"""Launching one run in its own process, with its own folder, lock and log."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

import modeling_cotpd
from modeling_cotpd.errors import SettingError
from modeling_cotpd.training.results import RESULTS_FILE, RUN_FILE, write_json

SPEC_FILE, RECIPE_FILE, LOG_FILE, OUTPUT = "run.json", "recipe.yaml", "log.txt", "output"


def entry_point(task: str) -> Path:
    """`run_mner.py` or `run_mre.py`, in the working directory or beside the package.

    Raises:
        SettingError: It is in neither.
    """
    name = f"run_{task}.py"
    for folder in (Path.cwd(), Path(modeling_cotpd.__file__).parents[1]):
        if (folder / name).is_file():
            return folder / name
    raise SettingError(f"There is no {name} here.", fix="Run the command in a clone of the repository.")


def is_finished(folder: Path) -> bool:
    """Whether a run has written its results."""
    return (folder / OUTPUT / RESULTS_FILE).is_file()


def read_spec(folder: Path) -> dict[str, Any]:
    """What the runner noted about a run: its place, hashes and seconds."""
    path = folder / SPEC_FILE
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def write_recipe(folder: Path, settings: Mapping[str, Any]) -> Path:
    """Write a run's recipe; with it the run can be repeated by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECIPE_FILE
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(yaml.safe_dump(dict(settings), sort_keys=True, allow_unicode=True), "utf-8")
    os.replace(temporary, path)
    return path


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a run's lock; yields whether it was free, so that two sweeps never run the same run at once."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def run_command(folder: Path, task: str, launcher: Sequence[str]) -> list[str]:
    """The command line of a run; it resumes what an earlier attempt left in its output folder."""
    command = [*(launcher or [sys.executable]), str(entry_point(task)), str(folder / RECIPE_FILE)]
    if (folder / OUTPUT / RUN_FILE).is_file():
        command += ["--resume_from_checkpoint", "true"]
    return command


def call(command: Sequence[str], folder: Path) -> tuple[int, float]:
    """Run a command with its output in the folder's log.

    Ctrl-C stops the command, too, and is raised again; what it saved so far stays.

    Returns:
        `tuple[int, float]`: Its exit code and its seconds, which are also added to the folder's notes.
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
            stop(process)
            raise
        finally:
            spec = read_spec(folder)
            spec["seconds"] = spec.get("seconds", 0.0) + time.monotonic() - start
            write_json(folder / SPEC_FILE, spec)
    return code, time.monotonic() - start


def stop(process: subprocess.Popen, patience: float = 20.0) -> None:
    """End a command and its children, first politely."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                continue


def last_lines(folder: Path, count: int = 3) -> str:
    """The end of a run's log, for the report of failures."""
    lines = (folder / LOG_FILE).read_text("utf-8", errors="replace").splitlines()
    return "\n".join(f"    {line[:300]}" for line in [line for line in lines if line.strip()][-count:])

"""One run in its own process, with its own folder, lock and log."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from modeling_cotpd.errors import SettingError
from modeling_cotpd.files import exclusive, write_json

SPEC_FILE, RECIPE_FILE, LOG_FILE, OUTPUT, RESULTS_FILE = "run.json", "recipe.yaml", "log.txt", "output", "results.json"
COTPD = (sys.executable, "-m", "modeling_cotpd")


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
    """Run a command with its output in the folder's log.

    Ctrl-C also stops the command, and is raised again; checkpoints stay.

    Returns:
        `tuple[int, float]`: Its exit code and its seconds, which are also added to `run.json`.
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

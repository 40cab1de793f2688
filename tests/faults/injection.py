"""Faults for a command that runs in a forked child: killed at a chosen moment, or its writes cut by a size limit.

The child is a fork, so that hundreds of runs pay for the imports once. What starts threads (torch, pyarrow) is done
in children alone: a fork of a process with threads may wait for a lock that no thread holds.
"""

import ast
import json
import os
import pickle
import resource
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as parquet
import torch
from safetensors import safe_open

Command = Callable[[], None]
EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")
"""Python's audit events around which files change; C and Rust writers stand between two of them."""
HANGS_AFTER = 240
FINISHED, REFUSED, FAILED = 0, 78, 79


def in_child(command: Command, prepare: Command = lambda: None) -> int:
    """Run a command in a fork.

    Returns:
        Its exit status: `FINISHED`, `REFUSED` for a `CoTPDError`, `FAILED` for anything else, or the negative number
        of the signal that ended it.
    """
    sys.stdout.flush(), sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = FAILED
        try:
            prepare()
            command()
            status = FINISHED
        except BaseException as error:
            from modeling_cotpd.errors import CoTPDError

            status = REFUSED if isinstance(error, CoTPDError) else FAILED
            traceback.print_exc()
        finally:
            os._exit(status)
    end = time.monotonic() + HANGS_AFTER
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"The command did not end within {HANGS_AFTER} seconds.")


def from_child(question: Callable[[], object]) -> object:
    """What a function returns in a fork."""
    with tempfile.NamedTemporaryFile() as file:
        assert in_child(lambda: Path(file.name).write_bytes(pickle.dumps(question()))) == FINISHED
        return pickle.loads(file.read())


def watch(folder: Path, reach: Callable[[int], None]) -> Command:
    """Call `reach(n)` at the n-th event that concerns a file below `folder`, from 0."""
    place, count = str(folder), iter(range(1_000_000))

    def hook(event: str, arguments: tuple) -> None:
        if event in EVENTS and any(isinstance(each, str | Path) and place in str(each) for each in arguments[:2]):
            reach(next(count))

    return lambda: sys.addaudithook(hook)


def count_events(command: Command, folder: Path) -> int:
    """How many events a whole run has."""
    read, write = os.pipe()
    assert in_child(command, watch(folder, lambda _: os.write(write, b"."))) == FINISHED
    os.close(write)
    with os.fdopen(read, "rb") as dots:
        return len(dots.read())


def killed_at(command: Command, folder: Path, event: int, number: int = signal.SIGKILL) -> int:
    """Run a command and kill it just before its event of that number."""

    def reach(current: int) -> None:
        if current == event:
            os.kill(os.getpid(), number)

    return in_child(command, watch(folder, reach))


def with_size_limit(command: Command, most: int) -> int:
    """Run a command whose files may not grow beyond `most` bytes: a write fails in the middle, as on a full disk."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return in_child(command, limit)


def unfinished(folder: Path) -> list[str]:
    """Files that stand under their final name and are not whole; hidden ones and `.tmp` are not final names."""
    wrong = []
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if not path.is_file() or path.suffix in (".tmp", ".lock") or any(part.startswith(".") for part in below.parts):
            continue
        try:
            _read_whole(path)
        except Exception as error:
            wrong.append(f"{below}: {type(error).__name__}: {error}")
    return wrong


def _read_whole(path: Path) -> None:
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                tensors.get_tensor(name)
    elif path.suffix == ".parquet":
        parquet.read_table(path)
    elif path.suffix in (".pt", ".pth", ".bin"):
        torch.load(path, weights_only=False)
    elif path.suffix == ".json":
        json.loads(path.read_text("utf-8"))
    elif path.suffix == ".jsonl":
        text = path.read_text("utf-8")
        assert not text or text.endswith("\n")
        for line in text.splitlines():
            json.loads(line)
    elif path.suffix == ".py":
        ast.parse(path.read_text("utf-8"))
    elif path.suffix == ".sqlite":
        database = sqlite3.connect(path)
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
    elif path.suffix == ".md":
        assert path.read_text("utf-8").strip()

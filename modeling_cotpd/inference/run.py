"""From files of posts to a file of predictions: in windows, so that memory stays flat and a killed run continues."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from pathlib import Path

import torch
from accelerate import PartialState
from tqdm import tqdm

from modeling_cotpd.errors import SettingError
from modeling_cotpd.inference.posts import Post, PostFile, count_posts, read_posts

WINDOW_POSTS = 4096
WINDOW_CHARACTERS = 1 << 20
"""A window holds this many posts, or fewer when their texts are long; ours: about 30 MB, enough to sort by length."""

RUN_FILE = "run.json"


@dataclass(frozen=True)
class Predicted:
    """What a finished run wrote.

    Args:
        posts (`int`): Rows in the output.
        problems (`int`): Rows that have a `problem` instead of a prediction.
    """

    posts: int
    problems: int


def parts_folder(output: Path) -> Path:
    """Where the finished windows of an unfinished run lie."""
    return output.with_name(output.name + ".parts")


def start_processes(cpu: bool) -> PartialState:
    """This process among those that `torchrun` or `accelerate launch` started; alone without them.

    Args:
        cpu (`bool`): Predict on the CPU even where there is an accelerator.
    """
    # accelerate joins processes without an accelerator only when told so; they may finish hours apart
    return PartialState(cpu=cpu or not torch.accelerator.is_available(), timeout=timedelta(days=30))


def claim_output(output: Path, settings: dict, overwrite: bool) -> int:
    """Begin a run, or continue the one that was broken off; returns how many windows are done.

    Args:
        output (`Path`): The file that will hold the predictions.
        settings (`dict`): What the predictions depend on; an unfinished run must have the same.
        overwrite (`bool`): Begin again, whatever is there.

    Raises:
        SettingError: The output exists, does not end in `.jsonl`, or belongs to a run with other settings.
    """
    if output.suffix != ".jsonl":
        raise SettingError("Predictions are JSON Lines.", place=str(output), fix="Let the name end in .jsonl.")
    parts, fix = parts_folder(output), "Name another file, or add --overwrite."
    if overwrite:
        shutil.rmtree(parts, ignore_errors=True)
        output.unlink(missing_ok=True)
    if output.exists():
        raise SettingError("The output exists.", place=str(output), fix=fix)
    parts.mkdir(parents=True, exist_ok=True)
    settings = json.loads(json.dumps(settings))
    known = parts / RUN_FILE
    if known.is_file():
        before = json.loads(known.read_text("utf-8"))
        changed = sorted(name for name in {*before, *settings} if before.get(name) != settings.get(name))
        if changed:
            raise SettingError(
                f"The unfinished run of this output had another {changed[0]}.", place=str(parts), fix=fix
            )
    else:
        _write_whole(known, json.dumps(settings, indent=2).encode())
    return sum(1 for path in parts.iterdir() if path.suffix == ".jsonl")


def run_settings(model: str, files: Sequence[PostFile], **further) -> dict:
    """What predictions depend on: the model's and the posts' files by name, size and time, and further settings."""
    folder = Path(model)
    weights = [path for path in sorted(folder.iterdir()) if path.is_file()] if folder.is_dir() else []
    return {
        "model": [model, *map(_stamp, weights)],
        "input": [[*_stamp(file.path), file.format] for file in files],
        "window": [WINDOW_POSTS, WINDOW_CHARACTERS],
        **further,
    }


def _stamp(path: Path) -> list:
    stat = path.stat()
    return [path.name, stat.st_size, stat.st_mtime_ns]


def predict_windows(
    predictor: Callable[[Sequence[Post]], list[dict]],
    files: Sequence[PostFile],
    task: str,
    output: Path,
    text_column: str = "text",
    process: int = 0,
    processes: int = 1,
) -> int:
    """Predict this process's share of the windows, every `processes`-th, that are not done yet.

    Every window is a file of its own that appears when it is complete, so a run that is killed loses at most the
    windows that it was at, and may continue with another number of processes.

    Returns:
        The number of windows in the input.
    """
    parts = parts_folder(output)
    posts = chain.from_iterable(read_posts(file, task, text_column) for file in files)
    count = 0
    with tqdm(total=count_posts(list(files)), desc="Posts", unit="post", disable=process > 0) as bar:
        for number, window in enumerate(windows(posts)):
            path = part_path(parts, number)
            if number % processes == process and not path.exists():
                _write_whole(path, b"".join(map(json_line, predictor(window))))
            bar.update(len(window))
            count = number + 1
    return count


def windows(
    posts: Iterator[Post], most_posts: int = WINDOW_POSTS, most_characters: int = WINDOW_CHARACTERS
) -> Iterator[list[Post]]:
    """Posts in lists of at most `most_posts`, fewer when a list reaches `most_characters`."""
    window: list[Post] = []
    characters = 0
    for post in posts:
        window.append(post)
        characters += len(post.text)
        if len(window) == most_posts or characters >= most_characters:
            yield window
            window, characters = [], 0
    if window:
        yield window


def part_path(parts: Path, number: int) -> Path:
    """The file of one window."""
    return parts / f"{number:08d}.jsonl"


def json_line(row: dict) -> bytes:
    """A row as a UTF-8 line; one with a lone surrogate, which UTF-8 can not hold, has its characters escaped."""
    try:
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(row).encode() + b"\n"


def merge_windows(output: Path, count: int) -> Predicted:
    """Put the windows together in the order of the input under the final name, and remove them.

    Raises:
        SettingError: A window is missing.
    """
    parts = parts_folder(output)
    temporary = output.with_name(output.name + ".tmp")
    posts = problems = 0
    with temporary.open("wb") as merged:
        for number in range(count):
            path = part_path(parts, number)
            if not path.is_file():
                raise SettingError(f"Window {number} is missing.", place=str(path), fix="Run the same command again.")
            with path.open("rb") as part:
                for line in part:
                    merged.write(line)
                    posts += 1
                    # Inside a string the quotes would be escaped
                    problems += b', "problem": "' in line
        merged.flush()
        os.fsync(merged.fileno())
    os.replace(temporary, output)
    shutil.rmtree(parts)
    return Predicted(posts, problems)


def _write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears complete or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)

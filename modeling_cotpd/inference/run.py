"""From files of posts to a file of predictions: in chunks, so that memory stays flat and a killed run continues."""

import json
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

import torch
from accelerate import PartialState
from huggingface_hub import try_to_load_from_cache
from tqdm import tqdm

from modeling_cotpd.data.posts import Post, PostFile, count_posts, read_posts
from modeling_cotpd.errors import SettingError, interruptible
from modeling_cotpd.files import atomic_write, exclusive, write_json, write_json_lines
from modeling_cotpd.training.results import LOCK_FILE, RUN_FILE, changed_setting, read_settings

CHUNK_POSTS = 1024
CHUNK_CHARACTERS = 1 << 20
"""A chunk holds this many posts, or fewer when their texts are long. It is what one thread predicts: sorted by length,
its batches hold about 2 % padding, and a file of a few thousand posts gives every core a share."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Predicted:
    """What a finished run wrote: rows, and how many of them have a `problem` instead of a prediction."""

    posts: int
    problems: int


def parts_folder(output: Path) -> Path:
    """The folder of the finished chunks of an unfinished run."""
    return output.with_name(output.name + ".parts")


def start_processes(cpu: bool) -> PartialState:
    """This process among those that `torchrun` or `accelerate launch` started; on the CPU alone with `cpu`."""
    # accelerate joins processes without an accelerator only with this argument; they may finish hours apart
    return PartialState(cpu=cpu or not torch.accelerator.is_available(), timeout=timedelta(days=30))


def take_threads(device: torch.device) -> int:
    """How many threads predict chunks side by side, each with one thread of matrix products.

    On a CPU as many as PyTorch had for one product (`OMP_NUM_THREADS`, by default every core), which it then uses one
    of. Small products gain less from two cores than two batches do. On a GPU 1. Call it before the model is loaded.
    """
    if device.type != "cpu":
        return 1
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    return threads


def map_in_threads(function: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`map` with several threads, in the order of the items; takes at most one item more than there are threads."""
    if threads == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    pool, wait = ThreadPoolExecutor(threads), True
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except KeyboardInterrupt:
        wait = False  # a chunk takes seconds
        raise
    finally:
        pool.shutdown(wait, cancel_futures=not wait)


def check_output(output: Path, overwrite: bool) -> None:
    """Refuse an output that exists or does not end in `.jsonl`, before a model is loaded."""
    if output.suffix != ".jsonl":
        raise SettingError("Predictions are JSON Lines.", place=str(output), fix="Let the name end in .jsonl.")
    if output.exists() and not overwrite:
        raise SettingError("The output exists.", place=str(output), fix="Name another file, or add --overwrite.")


@contextmanager
def claimed_output(output: Path, settings: dict, overwrite: bool) -> Iterator[int]:
    """Begin a run, or continue an interrupted one; yields how many chunks are done. No other process may write there.

    Args:
        settings (`dict`): What the predictions depend on; an unfinished run must have the same.
        overwrite (`bool`): Begin again, whatever is there.

    Raises:
        SettingError: The output cannot be used (see `check_output`), belongs to a run with other settings, or another
            process writes it.
    """
    check_output(output, overwrite)
    parts = parts_folder(output)
    parts.mkdir(parents=True, exist_ok=True)
    with exclusive(parts / LOCK_FILE, "writes this output"):
        check_output(output, overwrite)
        if overwrite:
            for path in parts.iterdir():
                if path.name != LOCK_FILE:
                    path.unlink()
            output.unlink(missing_ok=True)
        for path in parts.glob(".*.tmp"):  # a killed writer's
            path.unlink()
        settings = json.loads(json.dumps(settings))
        known = parts / RUN_FILE
        if known.is_file():
            if name := changed_setting(read_settings(known), settings):
                message = f"The unfinished run of this output had another {name}."
                raise SettingError(message, place=str(parts), fix="Name another file, or add --overwrite.")
        else:
            write_json(known, settings)
        yield done_chunks(output)
    if output.exists():
        shutil.rmtree(parts, ignore_errors=True)


def done_chunks(output: Path) -> int:
    """How many chunks of an unfinished run are stored."""
    parts = parts_folder(output)
    return sum(1 for path in parts.iterdir() if path.suffix == ".jsonl") if parts.is_dir() else 0


def run_settings(model: str, files: Sequence[PostFile], revision: str | None = None, **further) -> dict:
    """What predictions depend on: the model's and the posts' files by name, size and time, and further settings.

    Of a Hub repository, which was loaded, the commit counts.
    """
    folder = Path(model)
    facts: list[list | str | None]
    if folder.is_dir():
        facts = [_stamp(path) for path in sorted(folder.iterdir()) if path.is_file()]
    else:
        cached = try_to_load_from_cache(model, "config.json", revision=revision)
        facts = [Path(cached).parent.name if isinstance(cached, str) else revision]
    return {
        "model": [model, *facts],
        "input": [[*_stamp(file.path), file.format] for file in files],
        "chunk": [CHUNK_POSTS, CHUNK_CHARACTERS],
        **further,
    }


def _stamp(path: Path) -> list:
    stat = path.stat()
    return [path.name, stat.st_size, stat.st_mtime_ns]


def predict_chunks(
    predictor: Callable[..., list[dict]],
    files: Sequence[PostFile],
    task: str,
    output: Path,
    text_column: str = "text",
    process: int = 0,
    processes: int = 1,
    min_score: float = 0.0,
    threads: int = 1,
) -> list[int]:
    """Predict this process's share of the chunks, every `processes`-th, that are not done yet.

    Every chunk is a file of its own that appears when it is complete, so a run that is killed loses at most the
    chunks that it was working on, and may continue with another number of processes.

    Args:
        predictor (`Callable`): Takes posts and `on_progress`, called with the share that is done; returns rows.
        process, processes (`int`, *optional*): This process's number and how many there are.
        threads (`int`, *optional*, defaults to 1): Chunks predicted side by side, from `take_threads`.

    Returns:
        The number of posts of every chunk of the input.
    """
    shown: dict[int, float] = {}  # posts done of every chunk

    def show(number: int, size: int, share: float) -> None:
        """Move the bar within a chunk; a few posts may be long ones, of which parts are shown."""
        shown[number] = share * size
        posts = sum(list(shown.values()))
        bar.n = posts if posts == int(posts) else round(posts, 2) if (bar.total or 0) <= 100 else int(posts)
        bar.refresh()

    def predict(numbered: tuple[int, list[Post]]) -> int:
        number, chunk = numbered
        path = part_path(output, number)
        if number % processes == process and not path.exists():
            rows = predictor(chunk, on_progress=partial(show, number, len(chunk)))
            write_json_lines(path, [probable(row, min_score) for row in rows])
        show(number, len(chunk), 1.0)
        return len(chunk)

    total = count_posts(list(files))
    with tqdm(total=total, desc="Posts", unit="post", disable=None if process == 0 else True) as bar:
        return list(map_in_threads(predict, enumerate(chunks(all_posts(files, task, text_column))), threads))


def all_posts(files: Sequence[PostFile], task: str, text_column: str = "text") -> Iterator[Post]:
    """The posts of all files, one after another."""
    return chain.from_iterable(read_posts(file, task, text_column) for file in files)


def chunks(
    posts: Iterator[Post], max_posts: int = CHUNK_POSTS, max_characters: int = CHUNK_CHARACTERS
) -> Iterator[list[Post]]:
    """Posts in lists of at most `max_posts`, fewer when a list reaches `max_characters`."""
    chunk: list[Post] = []
    characters = 0
    for post in posts:
        chunk.append(post)
        characters += len(post.text)
        if len(chunk) == max_posts or characters >= max_characters:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk


def part_path(output: Path, number: int) -> Path:
    """The file of one chunk."""
    return parts_folder(output) / f"{number:08d}.jsonl"


def read_part(path: Path) -> list[dict]:
    """The rows of one chunk."""
    with path.open("rb") as file:
        return [json.loads(line) for line in file]


def merge_chunks(output: Path, sizes: Sequence[int]) -> Predicted:
    """Join the chunks, of `sizes` posts, in the order of the input under the final name."""
    problems = 0
    with atomic_write(output, "wb") as merged:
        for number, size in enumerate(sizes):
            path = part_path(output, number)
            if not path.is_file():
                raise SettingError(f"Chunk {number} is missing.", place=str(path), fix="Run the same command again.")
            found = 0
            with path.open("rb") as part:
                for line in part:
                    merged.write(line)
                    found += 1
                    # Inside a string the quotes would be escaped
                    problems += b', "problem": "' in line
            if found != size:
                fix = "Remove the file and run the same command again."
                raise SettingError(f"Chunk {number} holds {found} of {size} posts.", place=str(path), fix=fix)
    return Predicted(sum(sizes), problems)


def probable(row: dict, min_score: float) -> dict:
    """A row without entities below a score; a relation below it becomes `None`."""
    if not min_score:
        return row
    if "relation" in row:
        return {**row, "relation": row["relation"] if (row["score"] or 0.0) >= min_score else None}
    kept = [entity for entity in row["entities"] if entity["score"] >= min_score]
    return {**row, "entities": kept}


def _kept(output: Path) -> str:
    """What an interrupted run keeps, and how to go on."""
    done = done_chunks(output)
    chunks = f"{done} chunks of posts are kept in {parts_folder(output)}" if done else "no posts are kept"
    return f"{chunks}. The same command continues."


def predict_to_file(
    predictor: Callable[..., list[dict]],
    files: Sequence[PostFile],
    task: str,
    output: Path,
    settings: dict,
    state: PartialState,
    *,
    text_column: str = "text",
    min_score: float = 0.0,
    overwrite: bool = False,
    threads: int = 1,
    second_pass: Callable[[list[int]], bool] | None = None,
) -> Predicted | None:
    """Predict on files of posts, together with the other processes, and write one file.

    Args:
        predictor, files, task, output, text_column, min_score, threads: As for `predict_chunks`.
        settings (`dict`): What the predictions depend on, from `run_settings`.
        state (`PartialState`): From `start_processes`.
        overwrite (`bool`, *optional*, defaults to `False`): Begin again, whatever is there.
        second_pass (`Callable`, *optional*): Changes the chunks of the main process, given their sizes, before they
            are joined; when it returns `False`, they are not.

    Returns:
        What was written; `None` where nothing was, as in all processes but the main one.

    Raises:
        SettingError: As for `claimed_output`, or a chunk is missing or has lost posts.
        Interrupted: After Ctrl-C; it says what is kept.
    """
    with ExitStack() as stack:
        stack.enter_context(interruptible(partial(_kept, output)))
        if state.is_main_process and (done := stack.enter_context(claimed_output(output, settings, overwrite))):
            tqdm.write(f"Resuming: {done} chunks of posts are done.", file=sys.stderr)
        state.wait_for_everyone()
        sizes = predict_chunks(
            predictor, files, task, output, text_column, state.process_index, state.num_processes, min_score, threads
        )
        state.wait_for_everyone()
        if not state.is_main_process:
            return None
        if second_pass is not None and not second_pass(sizes):
            return None
        return merge_chunks(output, sizes)

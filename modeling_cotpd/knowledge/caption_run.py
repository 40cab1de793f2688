"""A captioning run: what is missing, shared out among the processes, answered in batches, merged at the end."""

import importlib.metadata
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from tqdm import tqdm

from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.knowledge.caption_store import (
    Answer,
    CaptionPlan,
    PartFile,
    captions_so_far,
    merge_parts,
)
from modeling_cotpd.knowledge.images import ImageProblem, load_image, resolve_image

if TYPE_CHECKING:
    from PIL import Image

    from modeling_cotpd.knowledge.caption_endpoint import EndpointCaptioner
    from modeling_cotpd.knowledge.captioner import TransformersCaptioner

FAILURES_IN_A_ROW = 20
"""Ours: after this many failed requests without a success the endpoint is taken for gone and the run stops."""
Batches = Iterator[list[tuple[str, Answer]]]


@dataclass
class CaptionSummary:
    """What a run did.

    Args:
        captioned (`int`): Pictures captioned by this process in this run.
        before (`int`): Pictures that had their caption already.
        failed (`dict[str, int]`): Reason to number of rows without a caption; filled in the first process alone.
    """

    captioned: int
    before: int
    failed: dict[str, int]


def open_images(folder: Path, names: Sequence[str], max_pixels: int) -> list["Image.Image | ImageProblem"]:
    """Each picture as RGB, or its problem."""
    opened: list[Image.Image | ImageProblem] = []
    for name in names:
        try:
            opened.append(load_image(resolve_image(folder, name), max_pixels))
        except ImageProblem as problem:
            opened.append(problem)
    return opened


def local_answers(
    captioner: "TransformersCaptioner", folder: Path, names: Sequence[str], batch_size: int, max_pixels: int
) -> Batches:
    """Caption with a local model; the next batch is read from disk while the model works on this one."""
    if batch_size < 1:
        raise SettingError(f"The batch size is {batch_size}.", place="--batch-size", fix="It is at least 1.")
    chunks = deque(names[start : start + batch_size] for start in range(0, len(names), batch_size))
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(open_images, folder, chunks[0], max_pixels)
        while chunks:
            chunk, opened = chunks.popleft(), coming.result()
            if chunks:
                coming = reader.submit(open_images, folder, chunks[0], max_pixels)
            good = [image for image in opened if not isinstance(image, ImageProblem)]
            texts = iter(captioner.caption(good) if good else [])
            yield [
                (name, image if isinstance(image, ImageProblem) else next(texts))
                for name, image in zip(chunk, opened, strict=True)
            ]


def endpoint_answers(
    captioner: "EndpointCaptioner", folder: Path, names: Sequence[str], concurrency: int, max_pixels: int
) -> Batches:
    """Caption over HTTP with at most `concurrency` requests at a time; answers come as they arrive.

    Raises:
        KnowledgeError: The endpoint failed `FAILURES_IN_A_ROW` times without a success in between.
    """
    if concurrency < 1:
        raise SettingError(f"The concurrency is {concurrency}.", place="--concurrency", fix="It is at least 1.")

    def ask(name: str) -> tuple[str, Answer]:
        (image,) = open_images(folder, [name], max_pixels)
        return name, image if isinstance(image, ImageProblem) else captioner.caption(image)

    failures = 0
    todo = iter(names)
    with ThreadPoolExecutor(concurrency) as pool:
        asked: set[Future] = {pool.submit(ask, name) for name in islice(todo, concurrency)}
        while asked:
            finished, asked = wait(asked, return_when=FIRST_COMPLETED)
            answers = [future.result() for future in finished]
            yield answers
            for _, answer in answers:
                if isinstance(answer, str):
                    failures = 0
                elif answer.reason == "endpoint":
                    failures += 1
            if failures >= FAILURES_IN_A_ROW:
                raise KnowledgeError(
                    f"The endpoint failed {failures} times in a row, last with: {answers[-1][1]}",
                    fix="Check the server; run the same command again to go on.",
                )
            asked |= {pool.submit(ask, name) for name in islice(todo, len(finished))}


def versions_of(*packages: str) -> dict[str, str]:
    """Installed versions, for provenance."""
    return {package: importlib.metadata.version(package) for package in packages}


def check_provenance(plan: CaptionPlan, settings: dict) -> None:
    """Refuse to mix captions of two settings under one captioner's name.

    Raises:
        SettingError: The provenance file tells other settings for this name.
    """
    before = _read_provenance(plan).get(plan.name, {}).get("settings", settings)
    changed = sorted(key for key in {*before, *settings} if before.get(key) != settings.get(key))
    if changed:
        key = changed[0]
        raise SettingError(
            f"The captions {plan.name!r} were made with {key} = {before.get(key)!r}, not {settings.get(key)!r}.",
            place=str(plan.provenance),
            fix="Give the other setting, or another --name or --out.",
        )


def write_provenance(plan: CaptionPlan, entry: dict) -> None:
    """Store one captioner's settings, versions and counts beside the captions, keeping those of others."""
    plan.provenance.parent.mkdir(parents=True, exist_ok=True)
    temporary = plan.provenance.with_name(f".{plan.provenance.name}.{os.getpid()}.tmp")
    content = _read_provenance(plan) | {plan.name: entry}
    temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    os.replace(temporary, plan.provenance)


def _read_provenance(plan: CaptionPlan) -> dict:
    return json.loads(plan.provenance.read_text("utf-8")) if plan.provenance.is_file() else {}


def run_captioner(
    plan: CaptionPlan,
    answer: Callable[[list[str]], Batches],
    settings: dict,
    versions: dict[str, str],
    *,
    rank: int = 0,
    processes: int = 1,
    barrier: Callable[[], None] = lambda: None,
    limit: int | None = None,
) -> CaptionSummary:
    """Caption what has no caption yet.

    Every process works out the same list of missing pictures, takes each `processes`-th one, and appends its answers
    to its own part file. The first process merges the parts when all are done. Cut off at any moment and started
    again, with any number of processes, a run asks only for what is missing; pictures with problems are tried again.

    Args:
        plan (`CaptionPlan`): What is to be captioned, and where the captions go.
        answer (`Callable`): Takes image names, yields batches of (image name, caption or problem). It is called only
            if something is missing, so that a model is loaded only when needed.
        settings (`dict`): What the captions depend on; a run with other settings is refused.
        versions (`dict[str, str]`): Library versions, for the record.
        rank (`int`, defaults to 0), processes (`int`, defaults to 1): This process among all.
        barrier (`Callable`): Returns when all processes have called it.
        limit (`int`, *optional*): Caption no more than this many pictures now.

    Returns:
        `CaptionSummary`: Counts of this process; the failures in the first one.

    Raises:
        KnowledgeError: Another run is writing the same captions.
        SettingError: Earlier captions under this name were made with other settings.
    """
    with _alone(plan) if rank == 0 else nullcontext():
        return _run(plan, answer, settings, versions, rank, processes, barrier, limit)


@contextmanager
def _alone(plan: CaptionPlan) -> Iterator[None]:
    path = plan.parts.with_name(f".{plan.parts.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise KnowledgeError(
            "Another run is writing these captions.", place=str(plan.base), fix="Wait for it, or give another --out."
        ) from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def _run(
    plan: CaptionPlan,
    answer: Callable[[list[str]], Batches],
    settings: dict,
    versions: dict[str, str],
    rank: int,
    processes: int,
    barrier: Callable[[], None],
    limit: int | None,
) -> CaptionSummary:
    check_provenance(plan, settings)
    done = captions_so_far(plan)
    missing = [image for image in plan.images() if image not in done][:limit]
    share = missing[rank::processes]
    barrier()  # nobody writes before all have read the same state
    if rank == 0:
        write_provenance(plan, {"settings": settings, "versions": versions})
        print(
            f"{len(plan.images()):,} pictures: {len(done):,} have a caption, {len(missing):,} to go"
            f"{f' in {processes} processes' if processes > 1 else ''}.",
            flush=True,
        )
    captioned = 0
    if share:
        part = PartFile(plan.parts, rank)
        try:
            with tqdm(total=len(share), unit="picture", disable=rank > 0) as bar:
                for batch in answer(share):
                    part.append(batch)
                    captioned += sum(isinstance(text, str) for _, text in batch)
                    bar.update(len(batch))
        finally:
            part.close()
    barrier()  # all part files are complete
    if rank > 0:
        return CaptionSummary(captioned, len(done), {})
    failed = merge_parts(plan, done)
    counts = {"pictures": len(plan.images()), "rows_without_image": plan.without_image, "rows_failed": failed}
    write_provenance(plan, {"settings": settings, "versions": versions, **counts})
    return CaptionSummary(captioned, len(done), failed)

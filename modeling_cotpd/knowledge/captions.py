"""Captions: which pictures need one, the requests for them, and the files that hold them.

A caption is a request with a picture. An endpoint is asked by the runner that also asks for knowledge; a local model
answers the same requests in batches. Both store every answer in a response store.
"""

import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from modeling_cotpd.data.joins import TextFile, read_provenance
from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.data.refusals import is_refusal
from modeling_cotpd.errors import DataError, SettingError, check_at_least, check_choice
from modeling_cotpd.files import atomic_write, json_line, write_json, write_json_lines
from modeling_cotpd.knowledge.answer import ANSWERED, CUT, EMPTY, FAILED, FINAL, REFUSED, Answer
from modeling_cotpd.knowledge.endpoint import EndpointSettings
from modeling_cotpd.knowledge.images import ImageProblem, Picture, find_picture, list_images
from modeling_cotpd.knowledge.prompt import Prompt
from modeling_cotpd.knowledge.request import Conversation, Dialogue, Job, Request, with_picture
from modeling_cotpd.knowledge.runner import Asking, run_jobs
from modeling_cotpd.knowledge.store import ResponseStore

if TYPE_CHECKING:
    from PIL import Image

    from modeling_cotpd.knowledge.captioner import TransformersCaptioner

Caption = str | ImageProblem
"""A caption, or why there is none."""


@dataclass
class CaptionFiles:
    """Which rows of which file need the caption of which picture.

    Args:
        name (`str`): The captioner's name: the field that its captions get, such as `blip2`.
        outputs (`dict[Path, list[tuple[str, str]]]`): Per caption file the (row id, image name) pairs.
        base (`Path`): What the names of the report, the provenance and the lock begin with.
        without_image (`int`, *optional*, defaults to 0): Rows of the prepared folder that name no picture.
    """

    name: str
    outputs: dict[Path, list[tuple[str, str]]]
    base: Path
    without_image: int = 0

    def __post_init__(self):
        if not re.fullmatch(r"[\w.+-]+", self.name) or self.name in ("id", "image"):
            raise SettingError(f"{self.name!r} cannot name a captioner.", place="--name", fix="Try --name blip2.")
        self.report = self.base.with_name(f"{self.base.name}.{self.name}.report.jsonl")
        self.provenance = self.base.with_name(f"{self.base.name}.provenance.json")
        self.lock = self.base.with_name(f".{self.base.name}.{self.name}.lock")

    def captions(self) -> dict[str, str]:
        """Return image name to caption from the files of earlier runs."""
        done: dict[str, str] = {}
        for path, rows in self.outputs.items():
            stored = read_caption_file(path)
            texts = ((image, stored.get(id, {}).get(self.name)) for id, image in rows)
            done |= {image: text for image, text in texts if isinstance(text, str) and text}
        return done

    def images(self, done: Container[str] = ()) -> list[str]:
        """Return every picture that is not `done` once, in the order of the rows."""
        every = (image for rows in self.outputs.values() for _, image in rows)
        return [image for image in dict.fromkeys(every) if image not in done]

    def write(self, captions: dict[str, Caption]) -> Counter:
        """Write captions by image name, keeping what files have; return the number of rows without one by reason."""
        reasons: Counter = Counter()
        with atomic_write(self.report) as report:
            for path, rows in self.outputs.items():
                stored = read_caption_file(path)
                for id, image in rows:
                    caption = captions.get(image)
                    if isinstance(caption, str):
                        stored.setdefault(id, {"id": id})[self.name] = caption
                    elif caption is not None:
                        row = {"id": id, "image": image, "reason": caption.reason, "detail": caption.detail}
                        report.write(json_line(row))
                        reasons[caption.reason] += 1
                write_json_lines(path, stored.values())
        return reasons

    def check_settings(self, settings: dict) -> None:
        """Raise a `SettingError` when the captions under this name were made with other settings."""
        entry = read_provenance(self.base.parent, self.base.name).get(self.name)
        before = entry.get("settings") if isinstance(entry, dict) else None
        before = before if isinstance(before, dict) else settings
        for key in sorted({*before, *settings}):
            if (old := before.get(key)) != (new := settings.get(key)):
                message = f"The captions {self.name!r} were made with {key} = {old!r}, not {new!r}."
                fix = "Give the other setting, or another --name or --out."
                raise SettingError(message, place=str(self.provenance), fix=fix)

    def write_provenance(self, entry: dict) -> None:
        """Write this captioner's settings, versions and counts beside those of others."""
        write_json(self.provenance, read_provenance(self.base.parent, self.base.name) | {self.name: entry})


def files_for_folder(folder: Path, out: Path, name: str, ids: str = "name") -> CaptionFiles:
    """Caption every picture file of a folder into one `.jsonl` file.

    A row's id is the file's `name` (as in MNRE) or its `stem`, without the suffix (as in Twitter-2015 and 2017).
    """
    check_choice(ids, ("name", "stem"), "--ids")
    if out.suffix != ".jsonl":
        raise SettingError(f"{out.name!r} does not end in .jsonl.", place="--out", fix="Try --out captions.jsonl.")
    images = list_images(folder)
    if not images:
        raise DataError("The folder holds no picture files.", place=str(folder), fix="Name another folder.")
    rows = [(image if ids == "name" else os.path.splitext(image)[0], image) for image in images]
    taken: dict[str, str] = {}
    for id, image in rows:
        if taken.setdefault(id, image) != image:
            message = f"{image!r} and {taken[id]!r} have the same stem."
            raise DataError(message, place=str(folder), fix="Use --ids name.")
    return CaptionFiles(name, {out: rows}, out.with_suffix(""))


def files_for_prepared(data: Path, out: Path, name: str) -> CaptionFiles:
    """Caption the `image` column of a prepared folder into `captions.<split>.jsonl` files."""
    splits, _ = read_prepared(data)
    outputs, without = {}, 0
    for split, rows in splits.items():
        pairs = [(id, image) for id, image in zip(rows["id"], rows["image"], strict=True) if image]
        outputs[out / f"captions.{split}.jsonl"] = pairs
        without += len(rows) - len(pairs)
    if not any(outputs.values()):
        raise DataError("No row names a picture.", place=str(data), fix="Fill the image column, or leave --data out.")
    return CaptionFiles(name, outputs, out / "captions", without)


def read_caption_file(path: Path) -> dict[str, dict]:
    """Return the rows of a caption file by id; empty when there is none yet. Raises what `TextFile.read` raises."""
    texts = TextFile.read(path).texts if path.exists() and path.stat().st_size else {}
    return {id: dict(row) for id, row in texts.items()}


def describe(find: Callable[[], Picture], settings: EndpointSettings, prompt: Prompt) -> Conversation:
    """Ask for the caption of the picture that `find` returns; the result is one line, or why there is none."""
    try:
        picture = find()
    except ImageProblem as problem:
        return problem
    messages = [{"role": "user", "content": with_picture(prompt.text, picture)}]
    answer = yield settings.request("caption", prompt.tag, messages, picture)
    text = " ".join(answer.text.split())
    if answer.status in (ANSWERED, CUT) and text:  # one that was cut is a caption
        return text
    reasons = {EMPTY: "empty caption", REFUSED: "refused"}
    # What is wrong with a picture stands where an endpoint says how an answer ended.
    return ImageProblem(reasons.get(answer.status) or answer.finish_reason or "endpoint", answer.reason[:300])


def caption_image(
    image: "Image.Image", settings: EndpointSettings, prompt: Prompt, store: str | os.PathLike
) -> Caption:
    """Ask for the caption of one opened RGB picture; raises and returns as `write_captions` and `describe` do."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    picture = Picture(buffer.getvalue(), hashlib.sha256(buffer.getvalue()).hexdigest())
    with ResponseStore(store) as opened:
        job = Job("picture", partial(describe, lambda: picture, settings, prompt))
        ((_, caption),) = run_jobs([job], settings, opened, Asking(concurrency=1))
    return caption


def caption_jobs(names: Iterable[str], folder: Path, settings: EndpointSettings, prompt: Prompt) -> Iterator[Job]:
    """Yield one job per picture; its result is a `Caption`."""
    for name in names:
        yield Job(name, partial(describe, partial(find_picture, folder, name), settings, prompt))


def write_captions(
    files: CaptionFiles,
    folder: Path,
    settings: EndpointSettings,
    prompt: Prompt,
    store: str | os.PathLike,
    record: dict,
    *,
    asking: Asking | None = None,
    captioner: Callable[[], "TransformersCaptioner"] | None = None,
    batch_size: int = 8,
    limit: int | None = None,
    rank: int = 0,
    processes: int = 1,
    barrier: Callable[[], None] = lambda: None,
) -> Counter:
    """Caption what has no caption yet, write the caption files, and return the number of rows without one by reason.

    Every answer is stored when it arrives, so the same call after an interruption asks only for the rest. Several
    processes with a local model take every `processes`-th missing picture each; the first one writes the files.

    Args:
        record (`dict`): `settings` that the captions depend on, and `versions` of libraries, for the provenance.
        captioner (`Callable[[], TransformersCaptioner]`, *optional*): Loads a local model in place of the endpoint;
            called only when something is missing. It takes `batch_size` pictures at once.
        limit (`int`, *optional*): Most pictures that are captioned now.
        rank, processes (`int`, *optional*), barrier (`Callable`, *optional*): This process among all.
    """
    check_at_least(batch_size, 1, "--batch-size")
    files.check_settings(record["settings"])
    done, asking = files.captions(), asking or Asking()
    names = files.images(done)[:limit]
    jobs = partial(caption_jobs, folder=folder, settings=settings, prompt=prompt)
    barrier()  # no process writes before all have read the same state
    if rank == 0:
        files.write_provenance(record)
    with ResponseStore(store) as opened:
        if captioner is not None:
            _caption_locally(captioner, jobs(names[rank::processes]), opened, batch_size, rank == 0)
            asking.ask = False
        barrier()  # all answers are stored
        if rank > 0:
            return Counter()
        captions = dict(run_jobs(jobs(names), settings, opened, asking, total=len(names), unit="pictures"))
    failed = files.write({**captions, **done})
    counts = {"pictures": len(files.images()), "rows_without_image": files.without_image, "rows_failed": dict(failed)}
    files.write_provenance({**record, **counts})
    return failed


def _caption_locally(
    load: Callable[[], "TransformersCaptioner"], jobs: Iterable[Job], store: ResponseStore, batch_size: int, bar: bool
) -> None:
    """Answer the requests of jobs with a local model, batch by batch, and read the next batch meanwhile."""
    missing: dict[str, Request] = {}  # by key, because equal pictures get one caption
    for job in jobs:
        request = Dialogue(job).request
        if request is not None and store.get(request.key).status not in FINAL:
            missing[request.key] = request
    requests = list(missing.values())
    if not requests:
        return
    chunks = [requests[start : start + batch_size] for start in range(0, len(requests), batch_size)]
    model = load()
    disabled = None if bar else True  # `None` shows it on a terminal
    with ThreadPoolExecutor(1) as reader, tqdm(total=len(requests), unit=" pictures", disable=disabled) as progress:
        coming = reader.submit(_opened, chunks[0])
        for chunk, after in zip(chunks, [*chunks[1:], []], strict=True):
            images = coming.result()
            coming = reader.submit(_opened, after)
            good = [image for image in images if not isinstance(image, ImageProblem)]
            captions = iter(model.caption(good) if good else [])
            with store.transaction():
                for request, image in zip(chunk, images, strict=True):
                    store.save(request, _answer(image if isinstance(image, ImageProblem) else next(captions)))
            progress.update(len(chunk))


def _opened(requests: Sequence[Request]) -> list["Image.Image | ImageProblem"]:
    images: list[Image.Image | ImageProblem] = []
    for picture in (request.picture for request in requests if request.picture is not None):
        try:
            images.append(picture.load())
        except ImageProblem as problem:
            images.append(problem)
    return images


def _answer(caption: Caption) -> Answer:
    if isinstance(caption, str):
        return Answer(REFUSED, caption, caption[:200]) if is_refusal(caption) else Answer(ANSWERED, caption)
    return Answer(EMPTY if caption.reason == "empty caption" else FAILED, "", caption.detail, caption.reason)

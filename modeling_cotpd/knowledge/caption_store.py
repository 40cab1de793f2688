"""Captions on disk: what is to be captioned, the part files of a run, and the caption files they become."""

import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.errors import DataError, KnowledgeError, SettingError
from modeling_cotpd.knowledge.images import ImageProblem, list_images

Answer = str | ImageProblem
"""A caption, or why there is none."""


@dataclass
class CaptionPlan:
    """Which rows of which file need the caption of which picture.

    Args:
        name (`str`): The captioner's name: the field that its captions get, such as `blip2`.
        outputs (`dict[Path, list[tuple[str, str]]]`): Per caption file the (row id, image name) pairs.
        base (`Path`): What the names of the report, the provenance and the part files begin with.
        without_image (`int`, defaults to 0): Rows of the prepared folder that name no picture.

    Raises:
        SettingError: The name can not be a field name.
    """

    name: str
    outputs: dict[Path, list[tuple[str, str]]]
    base: Path
    without_image: int = 0
    parts: Path = field(init=False)
    report: Path = field(init=False)
    provenance: Path = field(init=False)

    def __post_init__(self):
        if not re.fullmatch(r"[\w.+-]+", self.name) or self.name in ("id", "image"):
            raise SettingError(f"{self.name!r} can not name a captioner.", place="--name", fix="Try --name blip2.")
        self.parts = self.base.with_name(f"{self.base.name}.{self.name}.parts")
        self.report = self.base.with_name(f"{self.base.name}.{self.name}.report.jsonl")
        self.provenance = self.base.with_name(f"{self.base.name}.provenance.json")

    def images(self) -> list[str]:
        """Every picture once, in the order of the rows."""
        return list(dict.fromkeys(image for rows in self.outputs.values() for _, image in rows))


def plan_for_folder(folder: Path, out: Path, name: str, ids: str = "name") -> CaptionPlan:
    """Caption every picture file of a folder into one JSON Lines file.

    Args:
        folder (`Path`): From `image_folder`.
        out (`Path`): The caption file, ending in `.jsonl`.
        name (`str`): The captioner's name.
        ids (`str`, defaults to `name`): Whether a row's id is the file's `name` (as in MNRE) or its `stem`, the name
            without its suffix (as in Twitter-2015 and Twitter-2017).

    Raises:
        DataError: The folder holds no pictures, or two stems are equal.
    """
    if ids not in ("name", "stem"):
        raise SettingError(f"Unknown kind of ids {ids!r}.", place="--ids", fix="Use name or stem.")
    if out.suffix != ".jsonl":
        raise SettingError(f"{out.name!r} does not end in .jsonl.", place="--out", fix="Try --out captions.jsonl.")
    images = list_images(folder)
    if not images:
        raise DataError(
            "The folder holds no picture files.", place=str(folder), fix="Name the folder of the pictures."
        )
    rows = [(image if ids == "name" else os.path.splitext(image)[0], image) for image in images]
    taken: dict[str, str] = {}
    for row_id, image in rows:
        if taken.setdefault(row_id, image) != image:
            raise DataError(
                f"{image!r} and {taken[row_id]!r} have the same stem.", place=str(folder), fix="Use --ids name."
            )
    return CaptionPlan(name, {out: rows}, out.with_suffix(""))


def plan_for_prepared(data: Path, out: Path, name: str) -> CaptionPlan:
    """Caption the `image` column of a prepared folder into `captions.<split>.jsonl` files, ids being the rows' ids."""
    splits, _ = read_prepared(data)
    outputs, without = {}, 0
    for split, rows in splits.items():
        pairs = list(zip(rows["id"], rows["image"], strict=True))
        outputs[out / f"captions.{split}.jsonl"] = [(row_id, image) for row_id, image in pairs if image]
        without += sum(1 for _, image in pairs if not image)
    if not any(outputs.values()):
        raise DataError(
            "No row names a picture.", place=str(data), fix="Fill the image column, or use --images alone."
        )
    return CaptionPlan(name, outputs, out / "captions", without)


class PartFile:
    """The answers of one process, appended and synced to disk batch by batch, so that `kill -9` loses one batch.

    Args:
        folder (`Path`): `CaptionPlan.parts`.
        rank (`int`): The number of the process.
    """

    def __init__(self, folder: Path, rank: int):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"part-{rank:05d}.jsonl"
        path.touch()
        self._file = path.open("r+b")
        kept = self._file.read().rfind(b"\n") + 1  # a last line without its end was torn by a kill
        self._file.truncate(kept)
        self._file.seek(kept)

    def append(self, answers: Iterable[tuple[str, Answer]]) -> None:
        """Write one batch of (image name, answer) and wait until it is on disk."""
        for image, answer in answers:
            line = {"image": image}
            if isinstance(answer, str):
                line["text"] = answer
            else:
                line |= {"reason": answer.reason, "detail": answer.detail}
            self._file.write(json.dumps(line).encode("ascii") + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_parts(folder: Path) -> dict[str, Answer]:
    """What all part files of a run say about each picture; a caption wins over a problem.

    Raises:
        KnowledgeError: A line other than a torn last one can not be read.
    """
    found: dict[str, Answer] = {}
    for path in sorted(folder.glob("part-*.jsonl")):
        lines = path.read_bytes().split(b"\n")[:-1]
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                answer = row["text"] if "text" in row else ImageProblem(row["reason"], row["detail"])
                if isinstance(answer, str) or not isinstance(found.get(row["image"]), str):
                    found[row["image"]] = answer
            except (ValueError, KeyError, TypeError, RecursionError):
                raise KnowledgeError(
                    "This line is no answer.", place=f"{path}, line {number}", fix="Remove the line and run again."
                ) from None
    return found


def read_caption_file(path: Path) -> dict[str, dict]:
    """The rows of a caption file by id, with the fields of all captioners; empty when there is no file yet.

    Raises:
        KnowledgeError: A line is no JSON object with an id.
    """
    rows: dict[str, dict] = {}
    if not path.exists():
        return rows
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                rows[row["id"]] = row
            except (ValueError, KeyError, TypeError, RecursionError):
                raise KnowledgeError(
                    "This line is no JSON object with an id.",
                    place=f"{path}, line {number}",
                    fix="Repair or move the file.",
                ) from None
    return rows


def write_lines(path: Path, rows: Iterable[dict]) -> None:
    """Write JSON Lines, all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def captions_so_far(plan: CaptionPlan) -> dict[str, str]:
    """Image name to caption, from the caption files of earlier runs and the part files of a run that was cut off."""
    done: dict[str, str] = {}
    for path, rows in plan.outputs.items():
        stored = read_caption_file(path)
        done |= {image: stored[row_id][plan.name] for row_id, image in rows if stored.get(row_id, {}).get(plan.name)}
    return done | {image: answer for image, answer in read_parts(plan.parts).items() if isinstance(answer, str)}


def merge_parts(plan: CaptionPlan, done: dict[str, str]) -> dict[str, int]:
    """Turn the part files into caption files and the report, then remove them.

    Rows and fields that a caption file already has (of other captioners, of other rows) stay.

    Args:
        plan (`CaptionPlan`): What was to be captioned.
        done (`dict[str, str]`): Captions from before this run.

    Returns:
        `dict[str, int]`: Reason to number of rows without a caption.
    """
    answers: dict[str, Answer] = {**read_parts(plan.parts), **done}
    problems: list[dict] = []
    reasons: dict[str, int] = defaultdict(int)
    for path, rows in plan.outputs.items():
        stored = read_caption_file(path)
        for row_id, image in rows:
            answer = answers.get(image)
            if isinstance(answer, str):
                stored.setdefault(row_id, {"id": row_id})[plan.name] = answer
            elif answer is not None:
                problems.append({"id": row_id, "image": image, "reason": answer.reason, "detail": answer.detail})
                reasons[answer.reason] += 1
        write_lines(path, stored.values())
    write_lines(plan.report, problems)
    shutil.rmtree(plan.parts, ignore_errors=True)
    return dict(reasons)

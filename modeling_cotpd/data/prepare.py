"""From published files, or a user's own, to a prepared folder."""

import importlib.resources
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from modeling_cotpd.data.download import download_source
from modeling_cotpd.data.files import find_split_file, sha256_of
from modeling_cotpd.data.joins import KNOWLEDGE_KEYS, Coverage, join, read_provenance
from modeling_cotpd.data.labels import found_label_names, rename_types
from modeling_cotpd.data.own import read_own
from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.published import read_published
from modeling_cotpd.data.records import read_json_records
from modeling_cotpd.data.schema import COT_COLUMNS, KNOWLEDGE_COLUMNS, SPLITS, TASKS, make_split
from modeling_cotpd.data.sources import SOURCES
from modeling_cotpd.errors import DataError, SettingError

logger = logging.getLogger(__name__)

SAMPLES = {"sample-mner": "mner", "sample-mre": "mre"}
NAMES = (*SOURCES, *SAMPLES, "custom")
DEFAULT_CAPTIONER = "blip2"
GIVEN = "given with the data"


@dataclass
class PrepareOptions:
    """How to prepare a data set.

    Args:
        task (`str`, *optional*): `"mner"` or `"mre"`; needed for `custom`, told by the name otherwise.
        captioner (`str`, *optional*): Key of the caption files that fills `caption`. By default `blip2`, the paper's
            captioner, if there are caption files.
        captions (`bool`, defaults to `True`): Whether caption files fill `caption`.
        knowledge (`bool`, defaults to `True`): Whether knowledge files are read.
        knowledge_from_captions (`dict[str, str]`): Chain-of-thought column to captioner, such as
            `{"cot_multimodality": "minicpm"}`: a long description of the image then stands in for that knowledge, also
            for what a knowledge file says in that column.
        context_column (`str`, *optional*): Knowledge column that takes the retrieved text which MoRe's files carry
            after `<EOS>`. By default that text is left out, with a warning.
        label_names (`list[str]`): Label names in id order. By default the published ones; for own data what the
            features declare, else what occurs: `O` and the entity types in alphabetical order, or `None` and the
            relations in alphabetical order.
        rename_types (`dict[str, str]`): MNER: entity type to new name, such as `{"OTHER": "MISC"}` to train on
            Twitter-2015 and test on Twitter-2017.
        min_coverage (`float`, defaults to 0.5): The least share of rows whose id a caption or knowledge file must
            have; see `joins.join`.
        download (`bool`, defaults to `False`): Whether to fetch the published files into the source folder first.
    """

    task: str | None = None
    captioner: str | None = None
    captions: bool = True
    knowledge: bool = True
    knowledge_from_captions: dict[str, str] = field(default_factory=dict)
    context_column: str | None = None
    label_names: list[str] = field(default_factory=list)
    rename_types: dict[str, str] = field(default_factory=dict)
    min_coverage: float = 0.5
    download: bool = False

    def __post_init__(self):
        if self.task is not None and self.task not in TASKS:
            raise SettingError(f"task must be one of {', '.join(TASKS)}, but is {self.task!r}.")
        for column in self.knowledge_from_captions:
            if column not in COT_COLUMNS:
                raise SettingError(
                    f"knowledge_from_captions fills {', '.join(COT_COLUMNS)}, not {column!r}.",
                    fix="For example cot_multimodality=minicpm.",
                )
        if self.context_column is not None and self.context_column not in KNOWLEDGE_COLUMNS:
            raise SettingError(
                f"context_column must be one of {', '.join(KNOWLEDGE_COLUMNS)}, but is {self.context_column!r}."
            )
        if self.captioner and not self.captions:
            raise SettingError("A captioner is named, but captions are switched off.", fix="Leave one of the two out.")


def prepare(
    name: str, source: str | os.PathLike | None, out: str | os.PathLike, options: PrepareOptions | None = None
) -> tuple[DatasetInfo, list[Coverage]]:
    """Read a data set, join captions and knowledge, and write a prepared folder.

    Args:
        name (`str`): One of `NAMES`.
        source (`str` or `os.PathLike`, *optional*): The folder with the published files; for `custom` see
            `own.read_own`; none for the sample corpora. Caption files `captions.SPLIT.jsonl` and knowledge files
            `knowledge.SPLIT.jsonl` are taken from the same folder.
        out (`str` or `os.PathLike`): The new folder.
        options (`PrepareOptions`, *optional*): How.

    Returns:
        `tuple[DatasetInfo, list[Coverage]]`: What `dataset.json` holds, and how far each joined column reached.

    Raises:
        DataError: A file is missing or faulty, or `out` is not empty.
        KnowledgeError: Captions or knowledge do not fit the rows.
        SettingError: The name or an option is unknown, or two of them conflict.

    Example:
        >>> info, coverage = prepare("sample-mner", None, "data/sample-mner")  # doctest: +SKIP
    """
    options = options or PrepareOptions()
    if name not in NAMES:
        raise SettingError(f"Unknown data set {name!r}.", fix=f"Use one of {', '.join(NAMES)}.")
    # Checked again when written; told here so that nobody waits for a download in vain.
    if Path(out).exists() and any(Path(out).iterdir()):
        raise DataError("The output folder is not empty.", place=str(out), fix="Name a new folder or empty this one.")
    if (source is None) != (name in SAMPLES):
        raise SettingError(
            f"{name} {'needs a' if source is None else 'takes no'} source.",
            fix=f"cotpd prepare {name} {'--source DIR ' if source is None else ''}--out {out}",
        )
    rows, info, files = _read(name, "" if source is None else os.fspath(source), options)
    coverage: list[Coverage] = []
    if source is not None and Path(source).is_dir():
        coverage = _join_files(Path(source), rows, info, files, options)
    _note_given(rows, info)
    for split, split_rows in rows.items():
        _move_context(split_rows, options.context_column, split)
    splits = {split: make_split(rows[split], info.task, info.label_names, split) for split in SPLITS if split in rows}
    info.sources = {path.name: sha256_of(path) for path in files}
    return write_prepared(splits, info, out), coverage


def _read(name: str, source: str, options: PrepareOptions) -> tuple[dict[str, list[dict]], DatasetInfo, list[Path]]:
    """Rows by split, the description so far, and the files that were read."""
    published = SOURCES.get(name)
    if published is None and options.download:
        raise SettingError(f"There is nothing to download for {name}.", fix="Leave out --download.")
    task = published.task if published else SAMPLES.get(name, options.task)
    if task is None:
        raise SettingError("custom data needs a task.", fix="Give --task mner or --task mre.")
    if options.task not in (None, task):
        raise SettingError(f"{name} is {task} data, not {options.task}.", fix="Leave out --task.")
    declared: list[str] | None = None
    if published:
        if options.download:
            download_source(published, source)
        rows, files, declared = read_published(published, Path(source))
    elif name in SAMPLES:
        folder = Path(str(importlib.resources.files("modeling_cotpd") / "data" / "sample"))
        files = [folder / f"{task}.{split}.jsonl" for split in SPLITS]
        rows = {split: list(read_json_records(path, task, split)) for split, path in zip(SPLITS, files, strict=True)}
    else:
        rows, files, declared = read_own(source, task, options.label_names)
        name = Path(source).resolve().name
    label_names = options.label_names or declared or found_label_names(rows, task)
    if options.rename_types:
        label_names = rename_types(rows, task, label_names, options.rename_types)
    return rows, DatasetInfo(name=name, task=task, label_names=list(label_names)), files


def _join_files(
    folder: Path, rows: dict[str, list[dict]], info: DatasetInfo, files: list[Path], options: PrepareOptions
) -> list[Coverage]:
    """Fill the text columns from caption and knowledge files; notes in `info` and `files` what was used."""
    paths = {
        kind: {split: find_split_file(folder, split, (f"{kind}.{{split}}.jsonl",)) for split in rows}
        for kind in ("captions", "knowledge")
    }
    if (options.captioner or options.knowledge_from_captions) and not any(paths["captions"].values()):
        raise DataError(
            "There are no caption files.", place=str(folder), fix="They are called captions.train.jsonl, and so on."
        )
    jobs: list[tuple[str, dict[str, str]]] = []
    if options.captions:
        info.captioner = (options.captioner or DEFAULT_CAPTIONER) if any(paths["captions"].values()) else ""
        made = read_provenance(folder, "captions").get(info.captioner, {}).get("settings")
        if made:
            info.provenance["captions"] = made
        jobs.append(("captions", {"caption": info.captioner}))
    if options.knowledge:
        info.knowledge = "knowledge files" if any(paths["knowledge"].values()) else ""
        made = read_provenance(folder, "knowledge")
        if info.knowledge and made:
            info.provenance["knowledge"] = [made]
        jobs.append(("knowledge", {column: key for key, column in KNOWLEDGE_KEYS.items()}))
    if options.knowledge_from_captions:
        notes = [f"{column} from captions by {key}" for column, key in options.knowledge_from_captions.items()]
        info.knowledge = "; ".join([info.knowledge, *notes] if info.knowledge else notes)
        jobs.append(("captions", options.knowledge_from_captions))
    coverage: list[Coverage] = []
    for kind, columns in jobs:
        if not any(paths[kind].values()):
            continue
        for split, path in paths[kind].items():
            if path is None:
                logger.warning("%s: the %s split has no file %s.%s.jsonl", folder, split, kind, split)
                continue
            coverage += join(rows[split], path, columns, split, options.min_coverage)
            if path not in files:
                files.append(path)
    return coverage


def _note_given(rows: dict[str, list[dict]], info: DatasetInfo) -> None:
    """Note texts that came in the rows themselves."""
    every = [row for split_rows in rows.values() for row in split_rows]
    if not info.captioner and any(row.get("caption") for row in every):
        info.captioner = GIVEN
    if not info.knowledge and any(row.get(column) for row in every for column in COT_COLUMNS):
        info.knowledge = GIVEN


def _move_context(rows: list[dict], column: str | None, split: str) -> None:
    """Put the retrieved text of MoRe's files into a column, or tell that it is left out."""
    left_out = 0
    for row in rows:
        context = row.pop("context", "")
        if context and column is not None:
            row[column] = context
        left_out += bool(context and column is None)
    if left_out:
        logger.warning(
            "%s: %d posts carry retrieved text after <EOS>, left out; keep it with --context-column cot_sentence",
            split,
            left_out,
        )

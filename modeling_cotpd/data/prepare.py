"""From published files, or a user's own, to a prepared folder."""

import importlib.resources
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

from modeling_cotpd.data.bio import SCHEMES, entities
from modeling_cotpd.data.custom import read_custom
from modeling_cotpd.data.download import download_files
from modeling_cotpd.data.joins import (
    KNOWLEDGE_KEYS,
    Coverage,
    TextFile,
    find_text_files,
    join,
    join_glosses,
    read_provenance,
)
from modeling_cotpd.data.labels import check_label_names, found_label_names, rename_types
from modeling_cotpd.data.prepared import DatasetInfo, is_replaceable, write_prepared
from modeling_cotpd.data.published import (
    files_to_download,
    published_captions,
    published_explanations,
    read_published,
)
from modeling_cotpd.data.published_texts import RULE
from modeling_cotpd.data.records import read_records
from modeling_cotpd.data.schema import COT_COLUMNS, KNOWLEDGE_COLUMNS, SPLITS, TASKS, bio_label_names, make_split
from modeling_cotpd.data.sources import SOURCES, Source
from modeling_cotpd.errors import DataError, SettingError
from modeling_cotpd.files import require_empty, sha256_of

logger = logging.getLogger(__name__)

SAMPLES = {"sample-mner": "mner", "sample-mre": "mre"}
NAMES = (*SOURCES, *SAMPLES, "custom")
DEFAULT_CAPTIONER = "blip2"
GIVEN = "given with the data"


@dataclass
class PrepareOptions:
    """How to prepare a data set.

    Args:
        task (`str`, *optional*): `"mner"` or `"mre"`; needed for `custom`, known from the name otherwise.
        captioner (`str`, *optional*): Key of the caption files that fills `caption`. By default `blip2`, the paper's
            captioner, if there are caption files.
        captions (`bool`, defaults to `True`): Whether caption files fill `caption`: `captions.SPLIT.jsonl`, or the
            published files where there are none.
        knowledge (`bool`, defaults to `True`): Whether knowledge files are read: `knowledge.SPLIT.jsonl`, or the
            published explanations where there are none.
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
        tag_scheme (`str`, defaults to `"bio"`): MNER, own data: the scheme of the tags that are read, `bio`, `iob1` or
            `bioes`; the records hold BIO tags.
        min_coverage (`float`, defaults to 0.5): The least share of rows whose id a caption or knowledge file must
            have; see `joins.join`.
        download (`bool`, defaults to `False`): Whether to fetch the published posts, captions and explanations into
            the source folder first.
        overwrite (`bool`, defaults to `False`): Whether to replace a prepared folder.
    """

    task: str | None = None
    captioner: str | None = None
    captions: bool = True
    knowledge: bool = True
    knowledge_from_captions: dict[str, str] = field(default_factory=dict)
    context_column: str | None = None
    label_names: list[str] = field(default_factory=list)
    rename_types: dict[str, str] = field(default_factory=dict)
    tag_scheme: str = "bio"
    min_coverage: float = 0.5
    download: bool = False
    overwrite: bool = False

    def __post_init__(self):
        if self.tag_scheme not in SCHEMES:
            raise SettingError(f"tag_scheme must be one of {', '.join(SCHEMES)}, but is {self.tag_scheme!r}.")
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
            `folders.find_split_files`; none for the sample corpora. Caption files `captions.SPLIT.jsonl` and
            knowledge files `knowledge.SPLIT.jsonl` are taken from the same folder.
        out (`str` or `os.PathLike`): The new folder.
        options (`PrepareOptions`, *optional*): How.

    Returns:
        `tuple[DatasetInfo, list[Coverage]]`: What `dataset.json` holds, and how far each joined column reached.

    Raises:
        DataError: A file is missing or faulty.
        KnowledgeError: Captions or knowledge do not fit the rows.
        SettingError: The name or an option is unknown, two of them conflict, or `out` is not empty.

    Example:
        >>> info, coverage = prepare("sample-mner", None, "data/sample-mner")  # doctest: +SKIP
    """
    options = options or PrepareOptions()
    if name not in NAMES:
        raise SettingError(f"Unknown data set {name!r}.", fix=f"Use one of {', '.join(NAMES)}.")
    # Checked again when written; here so that a download is not in vain.
    if not options.overwrite:
        require_empty(out, fix="Name a new folder, or add --overwrite.")
    elif not (Path(out).is_dir() and all(map(is_replaceable, Path(out).iterdir()))):
        require_empty(out)
    if (source is None) != (name in SAMPLES):
        raise SettingError(
            f"{name} {'needs a' if source is None else 'takes no'} source.",
            fix=f"cotpd prepare {name} {'--source DIR ' if source is None else ''}--out {out}",
        )
    rows, info, files = _read(name, "" if source is None else os.fspath(source), options)
    _note_given(rows, info)
    coverage: list[Coverage] = []
    if source is not None and Path(source).is_dir():
        coverage = _join_files(SOURCES.get(name), Path(source), rows, info, files, options)
    for split, split_rows in rows.items():
        _move_context(split_rows, options.context_column, split)
        _check_posts(split_rows, info.task, split)
    splits = {split: make_split(rows[split], info.task, info.label_names, split) for split in SPLITS if split in rows}
    info.sources = {path.name: sha256_of(path) for path in files}
    return write_prepared(splits, info, out, options.overwrite), coverage


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
    if options.tag_scheme != "bio" and (name != "custom" or task != "mner"):
        raise SettingError(f"{name} ({task}) has no other tag scheme.", fix="Leave out --tag-scheme.")
    declared: list[str] | None = None
    if published:
        if options.download:
            captioners = [options.captioner or DEFAULT_CAPTIONER] if options.captions else []
            captioners += options.knowledge_from_captions.values()
            download_files(files_to_download(published, dict.fromkeys(captioners), options.knowledge), source)
        rows, files, declared = read_published(published, Path(source))
    elif name in SAMPLES:
        folder = Path(str(importlib.resources.files("modeling_cotpd") / "data" / "sample"))
        files = [folder / f"{task}.{split}.jsonl" for split in SPLITS]
        rows = {split: list(read_records(path, task, split)) for split, path in zip(SPLITS, files, strict=True)}
    else:
        rows, files, declared = read_custom(source, task, options.label_names, options.tag_scheme)
        name = Path(source).resolve().name
        if declared and options.tag_scheme != "bio":
            declared = bio_label_names(label[2:] for label in declared if label != "O")
    label_names = options.label_names or declared or found_label_names(rows, task)
    if options.rename_types:
        label_names = rename_types(rows, task, label_names, options.rename_types)
    check_label_names(label_names, task, source)
    return rows, DatasetInfo(name=name, task=task, label_names=list(label_names)), files


def _join_files(
    published: Source | None,
    folder: Path,
    rows: dict[str, list[dict]],
    info: DatasetInfo,
    files: list[Path],
    options: PrepareOptions,
) -> list[Coverage]:
    """Fill the text columns from caption and knowledge files; note in `info` and `files` what was used."""
    coverage: list[Coverage] = []
    jobs = []
    if options.captions or options.knowledge_from_captions:
        captions, paths, origin = _captions(published, folder, rows)
        if (options.captioner or options.knowledge_from_captions) and not captions:
            raise DataError(
                "There are no caption files.",
                place=str(folder),
                fix="They are called captions.train.jsonl, and so on.",
            )
        if captions and options.captions:
            captioner = options.captioner or DEFAULT_CAPTIONER
            info.captioner = _both(captioner, info.captioner)
            made = read_provenance(folder, "captions").get(captioner, {}) if not origin else {"settings": origin}
            if isinstance(made, dict) and made.get("settings"):
                info.provenance["captions"] = made["settings"]
            jobs.append((captions, {"caption": captioner}, False))
        files += paths
    if options.knowledge:
        knowledge, paths, origin = _knowledge(published, folder, rows)
        if knowledge:
            info.knowledge = _both(origin["source"] if origin else "knowledge files", info.knowledge)
            if made := origin or read_provenance(folder, "knowledge"):
                info.provenance["knowledge"] = [made]
            jobs.append((knowledge, {column: key for key, column in KNOWLEDGE_KEYS.items()}, False))
            for split, source in knowledge.items():
                join_glosses(rows[split], source)
        files += paths
    if options.knowledge_from_captions:
        notes = [f"{column} from captions by {key}" for column, key in options.knowledge_from_captions.items()]
        info.knowledge = _both(info.knowledge, "; ".join(notes))
        jobs.append((captions, options.knowledge_from_captions, True))
    for texts, columns, replace in jobs:
        for split, source in texts.items():
            coverage += join(rows[split], source, columns, split, options.min_coverage, replace)
        for split in set(rows) - set(texts):
            logger.warning("%s: the %s split has no texts for %s", folder, split, ", ".join(columns))
    return coverage


def _captions(
    published: Source | None, folder: Path, rows: dict[str, list[dict]]
) -> tuple[dict[str, TextFile], list[Path], dict]:
    """Captions by split, the files that they are from, and how they were made where that is known here."""
    paths = find_text_files(folder, "captions", rows)
    if paths or published is None:
        return _text_files(paths), list(paths.values()), {}
    texts, read = published_captions(published, folder)
    if not read:
        return {}, [], {}
    origins = {file.origin for files in published.captions.values() for file in files}
    source = TextFile(texts, ", ".join(path.name for path in read))
    return dict.fromkeys(rows, source), read, {"source": ", ".join(sorted(origins))}


def _knowledge(
    published: Source | None, folder: Path, rows: dict[str, list[dict]]
) -> tuple[dict[str, TextFile], list[Path], dict]:
    """As `_captions`, for explanations."""
    paths = find_text_files(folder, "knowledge", rows)
    if paths or published is None or published.explanations is None:
        return _text_files(paths), list(paths.values()), {}
    texts, read = published_explanations(published, folder, rows)
    if not read:
        return {}, [], {}
    origin = {"teacher": "ChatGPT", "source": published.explanations.origin, "grains": RULE}
    return {split: TextFile(found, str(read[0])) for split, found in texts.items()}, read, origin


def _text_files(paths: dict[str, Path]) -> dict[str, TextFile]:
    return {split: TextFile.read(path) for split, path in paths.items()}


def _check_posts(rows: list[dict], task: str, split: str) -> None:
    """Refuse posts that other commands would not read, and warn of tags of another scheme."""
    for row in rows:
        if row["tokens"] and not "".join(row["tokens"]).strip():
            raise DataError(
                "The post holds white space only.", place=row["place"], fix="Remove it or give it its text."
            )
    if task == "mner":
        tagged = [row["ner_tags"] for row in rows if row["ner_tags"]]
        if any(entities(tags, lenient=True) for tags in tagged) and not any(map(entities, tagged)):
            logger.warning("%s: no entity begins with B-; if the tags are IOB1, add --tag-scheme iob1", split)


def _both(one: str, other: str) -> str:
    return "; ".join(filter(None, (one, other)))


def _note_given(rows: dict[str, list[dict]], info: DatasetInfo) -> None:
    """Note texts that came in the rows themselves."""
    every = [row for split_rows in rows.values() for row in split_rows]
    info.captioner = GIVEN if any(row.get("caption") for row in every) else ""
    info.knowledge = GIVEN if any(row.get(column) for row in every for column in (*COT_COLUMNS, "glosses")) else ""


def _move_context(rows: list[dict], column: str | None, split: str) -> None:
    """Put the retrieved text of MoRe's files into a column, or warn that it is left out."""
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

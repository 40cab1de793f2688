"""From published files, or a user's own, to a prepared folder."""

import importlib.resources
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modeling_cotpd.data.bio import SCHEMES, check_tag, entities
from modeling_cotpd.data.joins import KNOWLEDGE_KEYS, Coverage, TextFile, find_text_files, join, read_provenance
from modeling_cotpd.data.prepared import DatasetInfo, is_replaceable, write_prepared
from modeling_cotpd.data.published import (
    PublishedTexts,
    files_to_download,
    published_captions,
    published_explanations,
    read_published,
)
from modeling_cotpd.data.records import read_folder, read_records
from modeling_cotpd.data.schema import (
    COT_COLUMNS,
    KNOWLEDGE_COLUMNS,
    LABEL_COLUMNS,
    SPLITS,
    bio_label_names,
    make_split,
)
from modeling_cotpd.data.sources import SOURCES, Source, download
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
        for name, known in (("tag_scheme", SCHEMES), ("task", LABEL_COLUMNS), ("context_column", KNOWLEDGE_COLUMNS)):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise SettingError(f"{name} must be one of {', '.join(known)}, but is {value!r}.")
        for column in self.knowledge_from_captions:
            if column not in COT_COLUMNS:
                raise SettingError(
                    f"knowledge_from_captions fills {', '.join(COT_COLUMNS)}, not {column!r}.",
                    fix="For example cot_multimodality=minicpm.",
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
    fix = "Name a new folder; --overwrite replaces a prepared one."
    require_empty(out, fix, is_replaceable if options.overwrite else None)
    if (source is None) != (name in SAMPLES):
        raise SettingError(
            f"{name} {'needs a' if source is None else 'takes no'} source.",
            fix=f"cotpd prepare {name} {'--source DIR ' if source is None else ''}--out {out}",
        )
    rows, info, files = _read(name, "" if source is None else os.fspath(source), options)
    every = [row for split_rows in rows.values() for row in split_rows]
    info.captioner = GIVEN if any(row.get("caption") for row in every) else ""
    info.knowledge = GIVEN if any(row.get(column) for row in every for column in (*COT_COLUMNS, "glosses")) else ""
    coverage: list[Coverage] = []
    if source is not None and Path(source).is_dir():
        coverage = _join_files(SOURCES.get(name), Path(source), rows, info, files, options)
    for split, split_rows in rows.items():
        _move_context(split_rows, options.context_column, split)
        _check_posts(split_rows, split)
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
            for file in files_to_download(published, dict.fromkeys(captioners), options.knowledge):
                download(file.url, Path(source) / file.name, file.sha256)
        rows, files, declared = read_published(published, Path(source))
    elif name in SAMPLES:
        folder = Path(str(importlib.resources.files("modeling_cotpd") / "data" / "sample"))
        files = [folder / f"{task}.{split}.jsonl" for split in SPLITS]
        rows = {split: list(read_records(path, task, split)) for split, path in zip(SPLITS, files, strict=True)}
    else:
        rows, files, declared = read_folder(source, task, options.label_names, options.tag_scheme)
        name = Path(source).resolve().name
        if declared and options.tag_scheme != "bio":
            declared = bio_label_names(label[2:] for label in declared if label != "O")
    label_names = options.label_names or declared or found_label_names(rows, task)
    if options.rename_types:
        label_names = rename_types(rows, task, label_names, options.rename_types)
    check_label_names(label_names, task, source)
    return rows, DatasetInfo(name=name, task=task, label_names=list(label_names)), files


def found_label_names(rows: dict[str, list[dict]], task: str) -> list[str]:
    """Label names that occur in any split: `O` or `None` first, then in alphabetical order.

    A warning names the labels of other splits that training never shows.

    Raises:
        DataError: A tag is not of the BIO form, or no row is labelled.
    """
    column = LABEL_COLUMNS[task]
    seen: dict[str, set[str]] = {split: set() for split in rows}
    for split, split_rows in rows.items():
        for row in split_rows:
            labels = {*(row[column] or ())} if task == "mner" else {row[column]} - {None}
            for label in labels if task == "mner" else ():
                check_tag(label, row["place"])
            seen[split] |= labels
    every = set().union(*seen.values())
    if not every:
        raise DataError(
            "No row is labelled, so the labels are not known.",
            place=next(iter(rows.values()))[0]["place"],
            fix="Name them in id order with --labels.",
        )
    if new := every - seen.get("train", every):
        logger.warning("labels that occur outside of the train split only: %s", ", ".join(sorted(new)))
    if task == "mner":
        return bio_label_names(label[2:] for label in every if label != "O")
    return [*(["None"] if "None" in every else []), *sorted(every - {"None"})]


def rename_types(
    rows: dict[str, list[dict]], task: str, label_names: Sequence[str], renames: dict[str, str]
) -> list[str]:
    """Rename entity types in the rows, in place, and return the new label names; two types may become one.

    Raises:
        SettingError: The task has no entity types, or a type to rename does not occur.
    """
    if task != "mner":
        raise SettingError("Only entity types can be renamed, and this is mre data.", fix="Leave out --rename-type.")
    types = {name[2:] for name in label_names if name != "O"}
    if unknown := sorted(set(renames) - types):
        fix = f"The types are {', '.join(sorted(types))}."
        raise SettingError(f"There is no entity type {unknown[0]!r} to rename.", fix=fix)
    for row in (row for split_rows in rows.values() for row in split_rows if row["ner_tags"] is not None):
        row["ner_tags"] = [tag if tag == "O" else tag[:2] + renames.get(tag[2:], tag[2:]) for tag in row["ner_tags"]]
    return bio_label_names(renames.get(name, name) for name in types)


def check_label_names(label_names: Sequence[str], task: str, source: str) -> None:
    """Raise a `DataError` for a name that is empty or comes twice, is no BIO tag, or an entity type called `O`."""
    twice = sorted({name for name in label_names if list(label_names).count(name) > 1})
    if twice or not all(name.strip() for name in label_names):
        message = f"The label {twice[0]!r} comes twice." if twice else "A label has no name."
        raise DataError(message, place=source, fix="Give every label one name.")
    for name in label_names if task == "mner" else ():
        check_tag(name, source)
        if name[1:] == "-O":
            raise DataError(
                "An entity type is called O, which also means that a token belongs to no entity.",
                place=source,
                fix="Rename it, for example with --rename-type O=OBJECT.",
            )


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
        captions, paths, origin = _texts("captions", published, folder, rows)
        if (options.captioner or options.knowledge_from_captions) and not captions:
            fix = "They are called captions.train.jsonl, and so on."
            raise DataError("There are no caption files.", place=str(folder), fix=fix)
        if captions and options.captions:
            captioner = options.captioner or DEFAULT_CAPTIONER
            info.captioner = _both(captioner, info.captioner)
            made = read_provenance(folder, "captions").get(captioner, {}) if not origin else {"settings": origin}
            if isinstance(made, dict) and made.get("settings"):
                info.provenance["captions"] = made["settings"]
            jobs.append((captions, {"caption": captioner}, False))
        files += paths
    if options.knowledge:
        knowledge, paths, origin = _texts("knowledge", published, folder, rows)
        if knowledge:
            info.knowledge = _both(origin.get("source", "knowledge files"), info.knowledge)
            if made := origin or read_provenance(folder, "knowledge"):
                info.provenance["knowledge"] = [made]
            jobs.append((knowledge, {column: key for key, column in KNOWLEDGE_KEYS.items()}, False))
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


def _texts(kind: str, published: Source | None, folder: Path, rows: dict[str, list[dict]]) -> PublishedTexts:
    """Captions or knowledge from files of their own, else as they were published."""
    paths = find_text_files(folder, kind, rows)
    if paths or published is None:
        return {split: TextFile.read(path) for split, path in paths.items()}, list(paths.values()), {}
    return (published_captions if kind == "captions" else published_explanations)(published, folder, rows)


def _check_posts(rows: list[dict], split: str) -> None:
    """Refuse posts that other commands would not read, and warn of tags of another scheme."""
    for row in rows:
        if row["tokens"] and not "".join(row["tokens"]).strip():
            fix = "Remove it or give it its text."
            raise DataError("The post holds white space only.", place=row["place"], fix=fix)
    tagged = [row["ner_tags"] for row in rows if row.get("ner_tags")]
    if any(entities(tags, lenient=True) for tags in tagged) and not any(map(entities, tagged)):
        logger.warning("%s: no entity begins with B-; if the tags are IOB1, add --tag-scheme iob1", split)


def _both(one: str, other: str) -> str:
    return "; ".join(filter(None, (one, other)))


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
            split, left_out,
        )  # fmt: skip

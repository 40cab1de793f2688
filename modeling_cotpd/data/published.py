"""Reading the folder of a published data set: posts, captions and explanations in the forms of their publishers."""

import ast
import hashlib
import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from modeling_cotpd.data.conll import ConllForm, read_conll, unique_ids
from modeling_cotpd.data.files import decode_lines, place, read_json, read_lines
from modeling_cotpd.data.folders import SPLIT_ALIASES, find_split_file, inside
from modeling_cotpd.data.joins import TextFile
from modeling_cotpd.data.schema import SPLITS
from modeling_cotpd.data.sources import RELATION_FILES, RemoteFile, Source
from modeling_cotpd.data.values import bounds_of, check_token_span, id_of, text_of, token_list
from modeling_cotpd.errors import DataError, KnowledgeError

MAX_MEMBER_BYTES = 1 << 28
"""What one file in an archive may unpack to; the largest that is published has 5 MB."""
MAX_RATIO = 200
"""How many times its size a file in an archive may unpack to; the published ones reach 5."""
RULE = "list of named entities; sentences of the reasoning that name an image or a picture; its other sentences"
"""How `cut_explanation` makes the three grains, for `dataset.json`."""
_KEYS = ("token", "h", "t", "img_id", "relation")
_HEAD = re.compile(r"\W*(?:the )?named entit(?:y|ies)[^:]{0,40}:\s*", re.IGNORECASE)
_REASONING = re.compile(r"Reasoning\b\s*:?\s*|Reasoning(?=[A-Z])")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'“])")
_IMAGE = re.compile(r"\b(?:images?|pictures?)\b", re.IGNORECASE)


def files_to_download(source: Source, captions: Iterable[str], explanations: bool) -> list[RemoteFile]:
    """The files of a data set: posts, the captions of some captioners, and explanations."""
    if not source.downloads:
        raise DataError(
            f"No download with a known sha256 exists for {source.name}, so nothing is fetched.",
            place="--download",
            fix=f"Fetch {source.by_hand} by hand, unpack it, and name the folder with --source.",
        )
    files = [*source.downloads, *(file for key in captions for file in source.captions.get(key, ()))]
    return [*files, *([source.explanations] if explanations and source.explanations else [])]


def read_published(source: Source, folder: Path) -> tuple[dict[str, list[dict]], list[Path], list[str] | None]:
    """Rows by split of a published data set, the files that were read, and for MRE the relation names in id order.

    Raises:
        DataError: A split or the relation ids are missing; the message says what the file is called and how to get it.
    """
    rows: dict[str, list[dict]] = {}
    files: list[Path] = []
    for split in SPLITS:
        path = find_split_file(folder, split, source.patterns)
        if path is None:
            names = [source.patterns[0].format(split=alias) for alias in SPLIT_ALIASES[split]]
            raise DataError(
                f"The {split} split of {source.name} is missing; its file is called {' or '.join(names)}.",
                place=str(folder),
                fix="Add --download to fetch it." if source.downloads else f"Fetch {source.by_hand} by hand.",
            )
        files.append(path)
        form = ConllForm(published=True, types=source.types or None)
        rows[split] = list(read_mnre(path) if source.task == "mre" else read_conll(path, split, form))
    if source.task == "mner":
        return rows, files, None
    relations = [inside(folder / name, folder) for name in RELATION_FILES if (folder / name).is_file()]
    if not relations:
        message = f"The relation ids are missing; their file is called {' or '.join(RELATION_FILES)}."
        raise DataError(message, place=str(folder), fix="Add --download to fetch it.")
    return rows, [*files, relations[0]], read_relation_ids(relations[0])


def mnre_id(image: str, tokens: list[str], head: dict, tail: dict) -> str:
    """`IMAGE#HASH`: image, sentence and pair together, the same on every run and machine.

    The image alone is no id, since a post gives one row per pair and the same sentence comes with several images.
    """
    spans = [head["start"], head["end"], tail["start"], tail["end"]]
    text = json.dumps([tokens, spans], ensure_ascii=False)
    return f"{image}#{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


def read_mnre(path: str | os.PathLike) -> Iterator[dict]:
    """Rows of a published MNRE file: `id`, `image`, `tokens`, `head`, `tail`, `relation` (name) and `place`.

    Lines look like `{'token': [...], 'h': {'name': ..., 'pos': [0, 2]}, 't': {...}, 'img_id': ..., 'relation': ...}`.
    They are read as literals and never evaluated. Rows that repeat sentence, pair and image are distinguished by `#2`,
    `#3` ... in the order of the file.

    Raises:
        DataError: A line is not a literal or lacks a key, a span is not two numbers or lies outside the tokens, or the
            name of an entity is not what stands at its span.
    """
    yield from unique_ids(_mnre_rows(path))


def _mnre_rows(path: str | os.PathLike) -> Iterator[dict]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        spot = place(path, number)
        raw = _literal(line, spot)
        missing = [key for key in _KEYS if key not in raw]
        if missing:
            raise DataError(f"The key {missing[0]!r} is missing.", place=spot, fix=f"The keys are {', '.join(_KEYS)}.")
        tokens, image = token_list(raw["token"], spot, "token"), id_of(raw["img_id"], spot, "img_id")
        if image is None:
            raise DataError("The key 'img_id' is null.", place=spot, fix="It names the picture.")
        relation = raw["relation"]
        if not isinstance(relation, str | None):
            raise DataError(f"The key 'relation' holds {relation!r:.60}.", place=spot, fix="It is a relation's name.")
        head, tail = (_mnre_span(raw[key], key, tokens, spot) for key in ("h", "t"))
        row = {"id": mnre_id(image, tokens, head, tail), "image": image, "tokens": tokens}
        yield {**row, "head": head, "tail": tail, "relation": relation, "place": spot}


def _literal(line: str, spot: str) -> dict:
    """The object of a line that is JSON or a Python literal."""
    try:
        # JSON first: it writes an emoji as two escapes, which Python reads as two halves.
        value = json.loads(line)
    except (ValueError, RecursionError):
        try:
            value = ast.literal_eval(line.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            value = None
    if not isinstance(value, dict):
        fix = "MNRE's lines look like {'token': [...], ...}."
        raise DataError("The line is not a Python literal of an object.", place=spot, fix=fix)
    return value


def _mnre_span(entity: dict, key: str, tokens: list[str], spot: str) -> dict:
    start, end = bounds_of(entity, key, spot)
    check_token_span(start, end, len(tokens), f"{key!r} span", spot)
    name = entity.get("name") if isinstance(entity, dict) else None
    if name is not None and text_of(name, "name", spot) != " ".join(tokens[start:end]):
        message = f"{key!r} is named {name!r}, but {' '.join(tokens[start:end])!r} stands at its span."
        raise DataError(message, place=spot, fix="Correct the name or the span.")
    return {"start": start, "end": end}


def read_relation_ids(path: str | os.PathLike) -> list[str]:
    """Relation names in id order from a file such as `rel2id.json`, an object of name to id."""
    ids = read_json(path)
    if not isinstance(ids, dict) or sorted(ids.values(), key=str) != sorted(range(len(ids)), key=str):
        raise DataError(
            "The file does not map relation names to the ids 0, 1, 2, ...",
            place=str(path),
            fix='It looks like {"None": 0, "/per/per/peer": 1}.',
        )
    return sorted(ids, key=ids.__getitem__)


PublishedTexts = tuple[dict[str, TextFile], list[Path], dict[str, str]]
"""Texts by split, the files that they are from, and how they were made, for `dataset.json`."""


def published_captions(source: Source, folder: Path, rows: Mapping[str, Sequence[dict]]) -> PublishedTexts:
    """Published captions by image id, as far as their files are in the folder."""
    texts: dict[str, dict[str, str]] = {}
    read: list[Path] = []
    for captioner, files in source.captions.items():
        paths = [inside(folder / file.name, folder) for file in files if (folder / file.name).is_file()]
        for image, caption in read_captions(paths):
            texts.setdefault(image, {})[captioner] = caption
        read += paths
    if not read:
        return {}, [], {}
    origins = sorted({file.origin for files in source.captions.values() for file in files})
    found = TextFile(texts, ", ".join(path.name for path in read))
    return dict.fromkeys(rows, found), read, {"source": ", ".join(origins)}


def read_captions(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Yield (image id, caption) of published caption files.

    PGIM writes `ID.jpg :CAPTION` per line, CAMIM a Python literal with `img_id` and `text`.
    """
    for path in paths:
        for number, line in read_lines(path):
            spot = place(path, number)
            if line.startswith("{"):
                value = _literal(line, spot)
                image, caption = value.get("img_id"), value.get("text")
            else:
                image, colon, caption = line.partition(" :")
                image = image.strip().removesuffix(".jpg") if colon else None
            if line.strip():
                if not isinstance(image, str) or not image:
                    raise DataError("The line holds no caption.", place=spot, fix="It looks like 17.jpg :a dog")
                yield image, text_of(caption, "text", spot)


def published_explanations(source: Source, folder: Path, rows: Mapping[str, Sequence[dict]]) -> PublishedTexts:
    """Published explanations by row id, if their file is in the folder."""
    file = source.explanations
    if file is None or not (folder / file.name).is_file():
        return {}, [], {}
    archive = inside(folder / file.name, folder)
    found = {split: TextFile(read_explanations(archive, split, rows[split]), str(archive)) for split in rows}
    return found, [archive], {"teacher": "ChatGPT", "source": file.origin, "grains": RULE}


def read_explanations(archive: str | os.PathLike, split: str, rows: Sequence[dict]) -> dict[str, dict[str, str]]:
    """The explanations of a split of PGIM's archive `2015.zip` or `2017.zip`, by row id.

    The archive holds a CoNLL file per split, whose posts stand in the order of the published split and carry no ids;
    each explanation follows its post after a token `<EOS>`. Posts are compared one by one with those of the split.
    The last posts of a split may be missing. `rows` are the posts of the published split, in its order.

    Raises:
        DataError: The archive or its file cannot be read, or unpacks to far more than its size.
        KnowledgeError: The posts are not those of the split.
    """
    names = [f"{alias}.txt" for alias in SPLIT_ALIASES[split]]
    try:
        with zipfile.ZipFile(archive) as opened:
            found = [member for member in opened.infolist() if member.filename in names]
            if len(found) != 1:
                raise DataError(f"The archive has no one file {' or '.join(names)}.", place=str(archive))
            if found[0].file_size > min(MAX_MEMBER_BYTES, MAX_RATIO * max(found[0].compress_size, 1)):
                raise DataError(f"{found[0].filename} unpacks to {found[0].file_size:,} bytes.", place=str(archive))
            name = f"{archive}/{found[0].filename}"
            with opened.open(found[0]) as file:
                posts = list(read_conll(name, split, ConllForm(labelled=False), decode_lines(file, name)))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        raise DataError(f"The archive cannot be read ({error}).", place=str(archive), fix="Fetch it again.") from None
    for row, post in zip(rows, posts, strict=False):
        if row["tokens"] != post["tokens"]:
            raise KnowledgeError(
                f"The explanation is of the post {' '.join(post['tokens'])[:60]!r}, "
                f"and the post at {row['place']} is another.",
                place=post["place"],
                fix="Use the copy of the posts that --download fetches, or add --no-knowledge.",
            )
    if len(posts) > len(rows):
        raise KnowledgeError(f"{len(posts)} explanations for {len(rows)} posts.", place=name)
    return {row["id"]: cut_explanation(post["context"]) for row, post in zip(rows, posts, strict=False)}


def cut_explanation(text: str) -> dict[str, str]:
    """Cut an explanation of the form `Named entities: LIST Reasoning: SENTENCES` into the three grains.

    The noun grain is the list. Sentences of the reasoning that name an image or a picture are the multimodality grain,
    the others the sentence grain. An answer without the word `Reasoning` has no list, unless it begins with
    `Named entities:` or `1.`; the rest of it is reasoning.

    Example:
        >>> cut_explanation("Named entities: 1. Mira (singer) Reasoning: Mira sings. The image shows a stage.")
        {'noun': '1. Mira (singer)', 'sentence': 'Mira sings.', 'multimodality': 'The image shows a stage.'}
    """
    text = " ".join(text.split())
    border = _REASONING.search(text)
    noun, reasoning = (text[: border.start()], text[border.end() :]) if border else (text, "")
    head = _HEAD.match(noun)
    noun = noun[head.end() :] if head else noun
    if not border and not noun.lstrip().startswith("1"):
        noun, reasoning = "", noun
    sentences = _SENTENCE_END.split(reasoning)
    return {
        "noun": noun.strip(),
        "sentence": " ".join(each for each in sentences if not _IMAGE.search(each)).strip(),
        "multimodality": " ".join(each for each in sentences if _IMAGE.search(each)).strip(),
    }

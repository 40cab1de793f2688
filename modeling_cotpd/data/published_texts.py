"""Captions and explanations of the benchmark data sets, in the forms in which PGIM and CAMIM publish them."""

import os
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from modeling_cotpd.data.conll import ConllForm, parse_conll
from modeling_cotpd.data.files import SPLIT_ALIASES, decode_lines, place, read_lines
from modeling_cotpd.data.mnre import literal_line
from modeling_cotpd.data.values import text_of
from modeling_cotpd.errors import DataError, KnowledgeError

MAX_MEMBER_BYTES = 1 << 28
"""What one file in an archive may unpack to; the largest that is published has 5 MB."""
MAX_RATIO = 200
"""How many times its size a file in an archive may unpack to; the published ones reach 5."""
RULE = "list of named entities; sentences of the reasoning that name an image or a picture; its other sentences"
"""How `cut_explanation` makes the three grains, for `dataset.json`."""
_HEAD = re.compile(r"\W*(?:the )?named entit(?:y|ies)[^:]{0,40}:\s*", re.IGNORECASE)
_REASONING = re.compile(r"Reasoning\b\s*:?\s*|Reasoning(?=[A-Z])")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z\"'“])")
_IMAGE = re.compile(r"\b(?:images?|pictures?)\b", re.IGNORECASE)


def cut_explanation(text: str) -> dict[str, str]:
    """Cut an explanation of the form `Named entities: LIST Reasoning: SENTENCES` into the three grains.

    The noun grain is the list. Sentences of the reasoning that name an image or a picture are the multimodality grain,
    the others the sentence grain. An answer without the word `Reasoning` has no list, unless it begins with
    `Named entities:` or `1.`; the rest of it is reasoning.

    Args:
        text (`str`): The explanation.

    Returns:
        `dict[str, str]`: `noun`, `sentence` and `multimodality`; empty where there is none.

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


def read_explanations(archive: str | os.PathLike, split: str, rows: Sequence[dict]) -> dict[str, dict[str, str]]:
    """The explanations of a split of PGIM's archive, by row id.

    The archive holds a CoNLL file per split, whose posts stand in the order of the published split and carry no ids;
    each explanation follows its post after a token `<EOS>`. Of both splits, posts are compared one by one. The last
    posts of a split may be missing.

    Args:
        archive (`str` or `os.PathLike`): `2015.zip` or `2017.zip`.
        split (`str`): `"train"`, `"validation"` or `"test"`.
        rows (`Sequence[dict]`): The posts of the published split, in its order.

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
            limit = min(MAX_MEMBER_BYTES, MAX_RATIO * max(found[0].compress_size, 1))
            if found[0].file_size > limit:
                raise DataError(f"{found[0].filename} unpacks to {found[0].file_size:,} bytes.", place=str(archive))
            name = f"{archive}/{found[0].filename}"
            with opened.open(found[0]) as file:
                posts = list(parse_conll(decode_lines(file, name), name, split, ConllForm(labelled=False)))
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


def read_captions(paths: Sequence[Path]) -> Iterator[tuple[str, str, str]]:
    """Yield (image id, caption, place) of published caption files.

    PGIM writes `ID.jpg :CAPTION` per line, CAMIM a Python literal with `img_id` and `text`.

    Raises:
        DataError: A line has neither form.
    """
    for path in paths:
        for number, line in read_lines(path):
            spot = place(path, number)
            if line.startswith("{"):
                value = literal_line(line, spot)
                image, caption = value.get("img_id"), value.get("text")
            else:
                image, colon, caption = line.partition(" :")
                image = image.strip().removesuffix(".jpg") if colon else None
            if line.strip():
                if not isinstance(image, str) or not image:
                    raise DataError("The line holds no caption.", place=spot, fix="It looks like 17.jpg :a dog")
                yield image, text_of(caption, "text", spot), spot

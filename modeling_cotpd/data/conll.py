"""Readers of CoNLL files: the published form of the multimodal tagging data sets, and a user's own."""

import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from modeling_cotpd.data.files import place, read_lines
from modeling_cotpd.errors import DataError

IMAGE_HEADER = "IMGID:"
CONTEXT_TOKEN = "<EOS>"
CONTEXT_TAGS = ("X", "B-X", "I-X", "S-X")
_TAG = re.compile(r"O|[BI]-\S+")
_ID_COMMENT = re.compile(r"#\s*id\s*[:=]\s*(\S.*)")


@dataclass
class _Post:
    """The lines of one post so far."""

    line: int
    image: str | None = None
    tokens: list[str] = field(default_factory=list)
    tags: list[str | None] = field(default_factory=list)
    context: list[str] | None = None


def check_tag(tag: str, spot: str, types: Collection[str] | None) -> None:
    """Raise a `DataError` unless the tag is `O`, `B-TYPE` or `I-TYPE` with a known type (any type when `None`)."""
    if not _TAG.fullmatch(tag):
        raise DataError(
            f"Unknown tag {tag!r}.",
            place=spot,
            fix="Tags are O, B-TYPE and I-TYPE; of other schemes write S- as B- and E- as I-.",
        )
    if types is not None and tag != "O" and tag[2:] not in types:
        raise DataError(f"Unknown tag {tag!r}.", place=spot, fix=f"The entity types are {', '.join(sorted(types))}.")


def read_published_conll(path: str | os.PathLike, types: Collection[str] | None = None) -> Iterator[dict]:
    """Rows of a file as Twitter-2015, Twitter-2017, SNAP and WikiDiverse are published.

    A post begins with a line `IMGID:` and the image id; each further line is token TAB tag; an empty line ends the
    post. Columns part at TAB only, since a token can be a no-break space. MoRe puts its retrieved text into the same
    lines, after a token `<EOS>` with the tag `X`, which its reader masks (AdaSeq's `PAD_LABEL`); a row keeps such text
    under `context`, outside of its tokens.

    Args:
        path (`str` or `os.PathLike`): The file.
        types (`Collection[str]`, *optional*): The entity types that may occur; any by default.

    Yields:
        `dict`: `id`, `image` (both the image id; a repeated id gets `#2`, `#3` ...), `tokens`, `ner_tags` (tag names),
        `context` (`str`) and `place`.

    Raises:
        DataError: A line has no tag, an unknown tag or no token, a post has no header, or the file is empty or not
            UTF-8.
    """
    yield from unique_ids(_rows(_posts(path, types, published=True), path))


def read_own_conll(path: str | os.PathLike, split: str, types: Collection[str] | None = None) -> Iterator[dict]:
    """Rows of a user's own CoNLL file.

    Columns part at TAB if the file has a TAB anywhere, else at spaces; the first column is the token, the last the
    tag. A post whose lines hold tokens only is unlabelled. The id comes from a line `IMGID:ID` or `# id = ID` before
    the post; posts without one are numbered (`train-0`). Lines that begin with `-DOCSTART-` are passed over.

    Args:
        path (`str` or `os.PathLike`): The file.
        split (`str`): The split's name, which begins the ids of posts that have none.
        types (`Collection[str]`, *optional*): The entity types that may occur; any by default.

    Yields:
        `dict`: As `read_published_conll`, with `ner_tags` `None` for an unlabelled post.

    Raises:
        DataError: As `read_published_conll`; also when only some tokens of a post have a tag.
    """
    yield from unique_ids(_rows(_posts(path, types, published=False), path, split))


def unique_ids(rows: Iterator[dict]) -> Iterator[dict]:
    """Give a repeated id the suffix `#2`, `#3` ... in the order of the file, so that ids are unique within a split."""
    used: set[str] = set()
    for row in rows:
        name, count = row["id"], 1
        while row["id"] in used:
            count += 1
            row["id"] = f"{name}#{count}"
        used.add(row["id"])
        yield row


def _posts(path: str | os.PathLike, types: Collection[str] | None, published: bool) -> Iterator[_Post]:
    lines = list(read_lines(path))
    separator = "\t" if published or any("\t" in line for _, line in lines) else " "
    post: _Post | None = None
    for number, line in lines:
        header = _header(line, published)
        if header is not None or not line.strip(" \t") or (not published and line.startswith("-DOCSTART-")):
            # A header that stands alone waits for its tokens; a second header shows that they never came.
            if post is not None and (post.tokens or post.context is not None or header is not None):
                yield post
                post = None
            if header is not None:
                post = _Post(number, image=header)
            continue
        if post is None:
            if published:
                raise DataError(
                    f"A post begins without a line {IMAGE_HEADER}.",
                    place=place(path, number),
                    fix=f"Put {IMAGE_HEADER} and the image id before it, or read the file as custom data.",
                )
            post = _Post(number)
        _add_line(post, line, separator, place(path, number), types, published)
    if post is not None:
        yield post


def _header(line: str, published: bool) -> str | None:
    if line.startswith(IMAGE_HEADER):
        return line[len(IMAGE_HEADER) :].split("\t")[0].strip()
    match = None if published or "\t" in line else _ID_COMMENT.fullmatch(line)
    return match.group(1).strip() if match else None


def _add_line(
    post: _Post, line: str, separator: str, spot: str, types: Collection[str] | None, published: bool
) -> None:
    columns = line.split("\t") if separator == "\t" else [column for column in line.split(" ") if column]
    token, tag = columns[0], columns[-1] if len(columns) > 1 else None
    if tag is None and published:
        raise DataError(
            f"The token {token!r} has no tag.",
            place=spot,
            fix="A line is token TAB tag; the columns part at TAB only.",
        )
    if not token:
        raise DataError("The token is empty.", place=spot, fix="A line is token TAB tag.")
    if post.context is None and token == CONTEXT_TOKEN and tag in CONTEXT_TAGS:
        post.context = []
    elif post.context is not None:
        if tag not in CONTEXT_TAGS:
            raise DataError(
                f"The tag {tag!r} stands after {CONTEXT_TOKEN}.", place=spot, fix="Retrieved text has the tag X."
            )
        post.context.append(token)
    else:
        if tag is not None:
            check_tag(tag, spot, types)
        post.tokens.append(token)
        post.tags.append(tag)


def _rows(posts: Iterator[_Post], path: str | os.PathLike, split: str = "") -> Iterator[dict]:
    for index, post in enumerate(posts):
        spot = place(path, post.line)
        missing = post.tags.count(None)
        if missing and missing < len(post.tags):
            raise DataError(
                f"{len(post.tokens)} tokens but {len(post.tags) - missing} tags in the post.",
                place=spot,
                fix="Give every token a tag, or none for an unlabelled post.",
            )
        if post.image == "":
            raise DataError("The header holds no id.", place=spot, fix=f"Write {IMAGE_HEADER} and the image id.")
        yield {
            "id": post.image if post.image is not None else f"{split}-{index}",
            "image": post.image,
            "tokens": post.tokens,
            "ner_tags": None if missing or not post.tags else post.tags,
            "context": " ".join(post.context or ()),
            "place": spot,
        }

"""The one reader of CoNLL files: published data sets, a user's own, and raw posts, one post in memory at a time."""

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from modeling_cotpd.data.bio import check_tag, to_bio
from modeling_cotpd.data.files import place, read_lines
from modeling_cotpd.errors import DataError

IMAGE_HEADER = "IMGID:"
CONTEXT_TOKEN = "<EOS>"
CONTEXT_TAGS = ("X", "B-X", "I-X", "S-X")
_ID_COMMENT = re.compile(r"#\s*id\s*[:=]\s*(\S.*)")


@dataclass(frozen=True)
class ConllForm:
    """How a CoNLL file is written.

    Args:
        published (`bool`): As the multimodal data sets are published: every post begins with `IMGID:` and its id, and
            token and tag are separated by a TAB, since a token can be a no-break space. Otherwise columns are
            separated by a TAB if the file has one, else by spaces, and a post's id comes from a line `IMGID:ID` or
            `# id = ID`, or is a number; lines that begin with `-DOCSTART-` are skipped.
        labelled (`bool`): Whether tags are read. Raw posts may have columns of any kind after the token.
        types (`Collection[str]`, *optional*): The entity types that may occur; any by default.
        scheme (`str`): The tag scheme, see `bio.SCHEMES`; rows hold BIO tags.
    """

    published: bool = False
    labelled: bool = True
    types: Collection[str] | None = None
    scheme: str = "bio"


@dataclass
class _Post:
    """The lines of one post so far."""

    place: str
    image: str | None = None
    tokens: list[str] = field(default_factory=list)
    tags: list[str | None] = field(default_factory=list)
    context: list[str] | None = None


def read_conll(
    path: str | os.PathLike, name: str, form: ConllForm | None = None, lines: Iterable[tuple[int, str]] | None = None
) -> Iterator[dict]:
    """Read the posts of a CoNLL file, or of its numbered `lines` with columns separated by TAB.

    Each line is a token and its tag, and an empty line ends the post. A post without tags is unlabelled. MoRe puts its
    retrieved text into the same lines, after a token `<EOS>` with the tag `X`, and PGIM its explanations; a row keeps
    such text under `context`, outside of its tokens.

    Yields:
        `dict`: `id` (`NAME-0`, `NAME-1` ... where the file has none; a repeated one gets `#2`, `#3` ...), `image` (the
        id as written, or `None`), `tokens`, `ner_tags` (BIO tag names or `None`), `context` (`str`) and `place`.

    Raises:
        DataError: A line has no token or an unknown tag, only some tokens of a post have a tag, a published file lacks
            a header or a tag, or the file is empty or not UTF-8.
    """
    form = form or ConllForm()
    separator = "\t" if form.published or lines is not None or _has_tab(path) else " "
    posts = _posts(read_lines(path) if lines is None else lines, str(path), form, separator)
    yield from unique_ids(_row(post, f"{name}-{index}", form) for index, post in enumerate(posts))


def _has_tab(path: str | os.PathLike) -> bool:
    try:
        with open(path, "rb") as file:
            return any(b"\t" in chunk for chunk in iter(lambda: file.read(1 << 20), b""))
    except FileNotFoundError:
        return False  # `read_lines` raises the error that users read


def unique_ids(rows: Iterable[dict]) -> Iterator[dict]:
    """Give a repeated id the suffix `#2`, `#3` ... in the order of the file; rows without an `image` pass."""
    used: set[str] = set()
    for row in rows:
        if row["image"] is not None:
            name, count = row["id"], 1
            while row["id"] in used:
                count += 1
                row["id"] = f"{name}#{count}"
            used.add(row["id"])
        yield row


def _posts(lines: Iterable[tuple[int, str]], path: str, form: ConllForm, separator: str) -> Iterator[_Post]:
    post: _Post | None = None
    for number, line in lines:
        header, spot = _header(line, form.published), place(path, number)
        if header is None and line.strip(" \t") and (form.published or not line.startswith("-DOCSTART-")):
            if post is None and form.published:
                fix = f"Put {IMAGE_HEADER} and the image id before it, or read the file as custom data."
                raise DataError(f"A post begins without a line {IMAGE_HEADER}.", place=spot, fix=fix)
            post = post or _Post(spot)
            _add_line(post, line, separator, spot, form)
            continue
        # A header that stands alone waits for its tokens; a second header shows that they never came.
        if post is not None and (post.tokens or post.context is not None or header is not None):
            yield post
            post = None
        if header is not None:
            post = _Post(spot, image=header)
    if post is not None:
        yield post


def _header(line: str, published: bool) -> str | None:
    if line.startswith(IMAGE_HEADER):
        return line[len(IMAGE_HEADER) :].split("\t")[0].strip()
    match = None if published or "\t" in line else _ID_COMMENT.fullmatch(line)
    return match.group(1).strip() if match else None


def _add_line(post: _Post, line: str, separator: str, spot: str, form: ConllForm) -> None:
    columns = line.split("\t") if separator == "\t" else [column for column in line.split(" ") if column]
    token, tag = columns[0], columns[-1] if len(columns) > 1 else None
    if tag is None and form.published:
        fix = "A line is token TAB tag; columns are separated by TAB only."
        raise DataError(f"The token {token!r} has no tag.", place=spot, fix=fix)
    if not token:
        raise DataError("The token is empty.", place=spot, fix="A line is token TAB tag.")
    if post.context is None and token == CONTEXT_TOKEN and tag in CONTEXT_TAGS:
        post.context = []
    elif post.context is not None:
        if form.labelled and tag not in CONTEXT_TAGS:
            fix = "Retrieved text has the tag X."
            raise DataError(f"The tag {tag!r} stands after {CONTEXT_TOKEN}.", place=spot, fix=fix)
        post.context.append(token)
    else:
        if tag is not None and form.labelled:
            check_tag(tag, spot, form.types, form.scheme)
        post.tokens.append(token)
        post.tags.append(tag if form.labelled else None)


def _row(post: _Post, name: str, form: ConllForm) -> dict:
    tags = [tag for tag in post.tags if tag is not None]
    if tags and len(tags) < len(post.tokens):
        fix = "Give every token a tag, or none for an unlabelled post."
        raise DataError(f"{len(post.tokens)} tokens but {len(tags)} tags in the post.", place=post.place, fix=fix)
    if post.image == "":
        raise DataError("The header holds no id.", place=post.place, fix=f"Write {IMAGE_HEADER} and the image id.")
    return {
        "id": name if post.image is None else post.image,
        "image": post.image,
        "tokens": post.tokens,
        "ner_tags": to_bio(tags, form.scheme) if tags else None,
        "context": " ".join(post.context or ()),
        "place": post.place,
    }

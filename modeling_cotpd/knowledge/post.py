"""Posts as the language model sees them, from the files that the data layer reads."""

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from modeling_cotpd.data import posts as data_posts
from modeling_cotpd.data.posts import PostFile
from modeling_cotpd.data.prepared import METADATA_FILE
from modeling_cotpd.data.schema import COT_COLUMNS
from modeling_cotpd.errors import DataError
from modeling_cotpd.knowledge.estimate import SeenKeys


@dataclass(frozen=True)
class Post:
    """One post.

    Args:
        id (`str`): Unique within its file.
        text (`str`): The text; a record's tokens joined by spaces.
        caption (`str`, *optional*), image (`str`, *optional*): The picture in words, and its file name.
        knowledge (`dict[str, str]`, *optional*): Grain to explanation, for those that the row already has.
    """

    id: str
    text: str
    caption: str = ""
    image: str = ""
    knowledge: dict[str, str] = field(default_factory=dict)


def posts_of(file: PostFile, limit: int | None = None) -> Iterator[Post]:
    """Yield the posts of a file, the first `limit` of them when given."""
    for post in itertools.islice(data_posts.read_posts(file), limit):
        columns = post.columns
        knowledge = {name.removeprefix("cot_"): columns.get(name, "") for name in COT_COLUMNS}
        yield Post(post.id, post.text, columns.get("caption", ""), columns.get("image", ""), knowledge)


def all_posts(files: Iterable[PostFile], limit: int | None = None) -> Iterator[Post]:
    """Yield the posts of all files, the first `limit` of each."""
    return itertools.chain.from_iterable(posts_of(file, limit) for file in files)


def count_posts(files: Iterable[PostFile], limit: int | None = None) -> int | None:
    """Return how many posts `all_posts` yields; `None` when that needs reading the files."""
    counts = [data_posts.count_posts([file]) for file in files]
    if None in counts:
        return None
    return sum(count if limit is None else min(limit, count) for count in counts if count is not None)


def check_ids(files: Iterable[PostFile], limit: int | None = None) -> None:
    """Refuse files in which an id stands for two posts, before anything is asked that could not be joined.

    Raises:
        DataError: Two posts of a file have the same id and differ, or a row cannot be read.
    """
    for file in files:
        seen = SeenKeys()
        for post in itertools.islice(data_posts.read_posts(file), limit):
            content = repr((post.text, sorted(post.columns.items())))
            if not seen.add(post.id, content) and seen.value(post.id) != content:
                raise DataError(
                    f"The id {post.id!r} is used for two posts.", place=post.place, fix="Give every post its own id."
                )
        seen.close()


def is_prepared(source: str | os.PathLike) -> bool:
    """Whether a place is a prepared folder."""
    return (Path(source) / METADATA_FILE).is_file()

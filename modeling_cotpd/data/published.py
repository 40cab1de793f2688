"""Reading the folder of a published data set."""

from collections.abc import Iterable
from pathlib import Path

from modeling_cotpd.data.conll import ConllForm, read_conll
from modeling_cotpd.data.files import SPLIT_ALIASES, find_split_file, inside
from modeling_cotpd.data.mnre import read_mnre, read_relation_ids
from modeling_cotpd.data.published_texts import read_captions, read_explanations
from modeling_cotpd.data.schema import SPLITS
from modeling_cotpd.data.sources import RELATION_FILES, RemoteFile, Source
from modeling_cotpd.errors import DataError


def files_to_download(source: Source, captions: Iterable[str], explanations: bool) -> list[RemoteFile]:
    """The files of a data set: posts, the captions of some captioners, and explanations.

    Raises:
        DataError: No verified address of the posts is known.
    """
    if not source.downloads:
        raise DataError(
            f"No download with a known sha256 exists for {source.name}, so nothing is fetched.",
            place="--download",
            fix=f"Fetch {source.by_hand} by hand, unpack it, and name the folder with --source.",
        )
    files = [*source.downloads, *(file for key in captions for file in source.captions.get(key, ()))]
    return [*files, *([source.explanations] if explanations and source.explanations else [])]


def read_published(source: Source, folder: Path) -> tuple[dict[str, list[dict]], list[Path], list[str] | None]:
    """Rows of a published data set, with captions and knowledge still to be joined.

    Args:
        source (`Source`): The data set.
        folder (`Path`): Where its files are.

    Returns:
        Rows by split, the files that were read, and for MRE the relation names in id order.

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
        raise DataError(
            f"The relation ids are missing; their file is called {' or '.join(RELATION_FILES)}.",
            place=str(folder),
            fix="Add --download to fetch it.",
        )
    return rows, [*files, relations[0]], read_relation_ids(relations[0])


def published_captions(source: Source, folder: Path) -> tuple[dict[str, dict[str, str]], list[Path]]:
    """Published captions by image id and captioner, as far as their files are in the folder, and these files."""
    texts: dict[str, dict[str, str]] = {}
    read: list[Path] = []
    for captioner, files in source.captions.items():
        paths = [inside(folder / file.name, folder) for file in files if (folder / file.name).is_file()]
        for image, caption, _ in read_captions(paths):
            texts.setdefault(image, {})[captioner] = caption
        read += paths
    return texts, read


def published_explanations(
    source: Source, folder: Path, rows: dict[str, list[dict]]
) -> tuple[dict[str, dict[str, dict[str, str]]], list[Path]]:
    """Published explanations by split and row id, if their file is in the folder, and this file."""
    if source.explanations is None or not (folder / source.explanations.name).is_file():
        return {}, []
    archive = inside(folder / source.explanations.name, folder)
    return {split: read_explanations(archive, split, rows[split]) for split in rows}, [archive]

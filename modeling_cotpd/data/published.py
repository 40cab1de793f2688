"""Reading the folder of a published data set."""

from pathlib import Path

from modeling_cotpd.data.conll import read_published_conll
from modeling_cotpd.data.files import SPLIT_ALIASES, find_split_file
from modeling_cotpd.data.mnre import read_mnre, read_relation_ids
from modeling_cotpd.data.schema import SPLITS
from modeling_cotpd.data.sources import RELATION_FILES, Source
from modeling_cotpd.errors import DataError


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
        rows[split] = list(
            read_mnre(path) if source.task == "mre" else read_published_conll(path, source.types or None)
        )
    if source.task == "mner":
        return rows, files, None
    relations = [folder / name for name in RELATION_FILES if (folder / name).is_file()]
    if not relations:
        raise DataError(
            f"The relation ids are missing; their file is called {' or '.join(RELATION_FILES)}.",
            place=str(folder),
            fix="Add --download to fetch it.",
        )
    return rows, [*files, relations[0]], read_relation_ids(relations[0])

"""Files of a model that appear under their names complete or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAGING = ".saving"
"""Where files lie while they are written, within the folder that they are for."""


@contextmanager
def staged(folder: str | os.PathLike, writes: bool = True) -> Iterator[Path]:
    """A folder to write in, whose files move to `folder` one by one when the block ends well.

    What a killed process left there is removed by the next one.

    Args:
        folder (`str` or `os.PathLike`): Where the files go; made if it does not exist.
        writes (`bool`, *optional*, defaults to `True`): Whether this process writes; others only get the name.

    Example:
        >>> with staged("output") as place:  # doctest: +SKIP
        ...     model.save_pretrained(place)
    """
    folder = Path(folder)
    staging = folder / STAGING
    if not writes:
        yield staging
        return
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
        for path in sorted(staging.iterdir()):
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)

"""Predictions in JSON Lines written again in another format, one post in memory at a time."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from modeling_cotpd.errors import SettingError
from modeling_cotpd.files import atomic_write
from modeling_cotpd.inference.conll_export import conll_post
from modeling_cotpd.inference.rdf_export import BASE, RdfWriter

FORMATS = {".conll": "conll", ".nt": "ntriples"}
"""File name suffixes and the format that each means: CoNLL, N-Triples."""


def export_format(path: str | os.PathLike) -> str:
    """The format that a file's name means.

    Raises:
        SettingError: The suffix means none.
    """
    suffix = Path(path).suffix
    if suffix not in FORMATS:
        known = ", ".join(f"{ending} ({name})" for ending, name in FORMATS.items())
        raise SettingError(f"The suffix {suffix!r} means no format.", place=str(path), fix=f"Use {known}.")
    return FORMATS[suffix]


def export(predictions: str | os.PathLike, out: str | os.PathLike, base: str = BASE) -> int:
    """Write predictions in another format; the file appears complete or not at all.

    Args:
        predictions (`str` or `os.PathLike`): What `cotpd triples`, or `cotpd predict` for entities, wrote.
        out (`str` or `os.PathLike`): `.conll` or `.nt` (N-Triples). It is replaced if it exists.
        base (`str`, *optional*, defaults to `"urn:cotpd:"`): What IRIs begin with.

    Returns:
        How many posts were written.

    Raises:
        SettingError: The suffix means no format, or `base` is no IRI.
    """
    out, form = Path(out), export_format(out)
    rdf = RdfWriter(base)
    count = 0
    with atomic_write(out) as file:
        for count, row in enumerate(_rows(Path(predictions)), 1):  # noqa: B007
            file.writelines([conll_post(row)] if form == "conll" else rdf(row))
    return count


def _rows(path: Path) -> Iterator[dict]:
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)

"""Tables inside documents: blocks between two markers, written from saved runs and compared with them.

    <!-- cotpd experiment: ../configuration/experiments/table3.yaml -->
    <!-- end of cotpd experiment -->

The path is relative to the document. With `summary` before the arrow the block holds the first table alone.
"""

import itertools
import os
import re
from pathlib import Path

from modeling_cotpd.errors import DataError
from modeling_cotpd.experiments.collect import read_store
from modeling_cotpd.experiments.plan import Plan
from modeling_cotpd.experiments.scores import Scores
from modeling_cotpd.experiments.sweep import read_sweep
from modeling_cotpd.experiments.tables import render

END = "<!-- end of cotpd experiment -->"
_BLOCK = re.compile(r"(<!-- cotpd experiment: (\S+\.ya?ml)( summary)? -->\n)(.*?)" + re.escape(END), re.DOTALL)


def regenerate(document: Path, store: Path) -> str:
    """The document's text with every block made anew from saved runs.

    Args:
        document (`Path`): A Markdown file.
        store (`Path`): The folder of saved runs.

    Raises:
        DataError: The document has no block, or a block has no end.
    """
    text = document.read_text("utf-8")
    if text.count("<!-- cotpd experiment: ") != len(_BLOCK.findall(text)) or not _BLOCK.search(text):
        raise DataError("A block is missing or has no end.", place=str(document), fix=f"Blocks end with {END}")
    runs, counts = read_store(store)

    def replace(match: re.Match) -> str:
        plan = Plan(read_sweep(document.parent / match[2]))
        return f"{match[1]}\n{render(Scores(plan, runs, counts), bool(match[3]))}\n{END}"

    return _BLOCK.sub(replace, text)


def check(document: Path, store: Path) -> None:
    """Compare a document with the saved runs.

    Raises:
        DataError: A line differs; the message shows both.
    """
    written, wanted = document.read_text("utf-8").split("\n"), regenerate(document, store).split("\n")
    for number, (line, right) in enumerate(itertools.zip_longest(written, wanted), start=1):
        if line != right:
            raise DataError(
                f"The document says {line!r}, the runs say {right!r}.",
                place=f"{document}, line {number}",
                fix=f"Regenerate it with: cotpd experiment --write {document} --runs {store}",
            )


def write(document: Path, store: Path) -> None:
    """Write every block of a document from the saved runs."""
    text = regenerate(document, store)
    temporary = document.with_name(document.name + ".tmp")
    temporary.write_text(text, "utf-8")
    os.replace(temporary, document)

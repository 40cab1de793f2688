"""Tables and figures inside documents: blocks between two markers, written from saved runs and compared with them.

    <!-- experiments: ../configuration/experiments/table3.yaml paper -->
    <!-- end of experiments -->

The path is relative to the document. The word behind it is a kind of `tables.render`, or `figure`.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from experiments.figures import draw, fingerprint, points
from experiments.plan import Plan
from experiments.scores import Scores
from experiments.store import read_store
from experiments.sweep import read_sweep
from experiments.tables import NOTHING, render
from modeling_cotpd.errors import DataError
from modeling_cotpd.files import atomic_write

END = "<!-- end of experiments -->"
_BLOCK = re.compile(
    r"(<!-- experiments: (\S+\.ya?ml)(?: (details|summary|paper|figure))? -->\n)(.*?)" + re.escape(END), re.DOTALL
)


def _blocks(document: Path, store: Path) -> Iterator[tuple[re.Match, Scores, Path]]:
    """Every block with its scores, and the path of its figure."""
    text = document.read_text("utf-8")
    found = list(_BLOCK.finditer(text))
    if not found or text.count("<!-- experiments: ") != len(found):
        raise DataError("A block is missing or has no end.", place=str(document), fix=f"Blocks end with {END}")
    runs, counts = read_store(store)
    for match in found:
        sweep = read_sweep(document.parent / match[2])
        yield match, Scores(Plan(sweep), runs, counts), document.parent / "figures" / f"{sweep.name}.svg"


def regenerate(document: Path, store: Path) -> str:
    """The document's text with every block made anew from the saved runs in the folder `store`."""
    text, at = "", 0
    for match, scores, figure in _blocks(document, store):
        title = scores.plan.sweep.title
        if match[3] != "figure":
            body = render(scores, match[3] or "details")
        else:
            body = f"![{title}](figures/{figure.name})\n" if points(scores) else f"{title}: {NOTHING}\n"
        text += f"{match.string[at : match.start()]}{match[1]}\n{body}\n{END}"
        at = match.end()
    return text + match.string[at:]


def check(document: Path, store: Path) -> None:
    """Compare a document and its figures with the saved runs.

    Raises:
        DataError: A line differs, and the message shows both; or a figure shows other numbers.
    """
    fix = f"Regenerate it with: python -m experiments --write {document} --runs {store}"
    written, wanted = document.read_text("utf-8").split("\n"), regenerate(document, store).split("\n")
    for number, (line, right) in enumerate(itertools.zip_longest(written, wanted), start=1):
        if line != right:
            place = f"{document}, line {number}"
            raise DataError(f"The document has {line!r}, the runs give {right!r}.", place=place, fix=fix)
    for match, scores, figure in _blocks(document, store):
        drawn = figure.read_text("utf-8") if figure.is_file() else ""
        if match[3] == "figure" and points(scores) and fingerprint(scores) not in drawn:
            raise DataError("The figure shows other numbers than the runs.", place=str(figure), fix=fix)


def write(document: Path, store: Path) -> None:
    """Write every block of a document, and its figures, from the saved runs."""
    text = regenerate(document, store)
    for match, scores, figure in _blocks(document, store):
        if match[3] == "figure":
            draw(scores, figure.parent)
    with atomic_write(document) as file:
        file.write(text)

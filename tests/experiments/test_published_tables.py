"""The tables in the project's own documents are those of the saved runs in docs/results."""

from pathlib import Path

import pytest

from modeling_cotpd.experiments.collect import RUNS_FILE
from modeling_cotpd.experiments.document import check

ROOT = Path(__file__).parents[2]
STORE = ROOT / "docs" / "results"


@pytest.mark.parametrize("name", ["README.md", "docs/results.md"])
def test_a_document_agrees_with_the_saved_runs(name: str):
    document = ROOT / name
    if not document.is_file() or "<!-- cotpd experiment: " not in document.read_text("utf-8"):
        pytest.skip(f"{name} has no table of saved runs")
    assert (STORE / RUNS_FILE).is_file(), f"{name} has tables, but docs/results holds no saved runs"
    check(document, STORE)

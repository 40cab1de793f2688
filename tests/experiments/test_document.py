"""Tables and figures in documents are those of the saved runs; so are those of this project."""

import re
from pathlib import Path

import pytest
from support.small_sweep import SWEEP, write_sweep

from experiments.document import END, check, write
from experiments.runner import Runner
from experiments.store import collect, read_store, write_store
from modeling_cotpd.errors import DataError

ROOT = Path(__file__).parents[2]
STORE = ROOT / "docs" / "results"
PAGES = {path for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")) if END in path.read_text("utf-8")}
WITH_TABLES = sorted(PAGES - {ROOT / "docs" / "experiments.md"})  # which shows the markers without a table


@pytest.mark.timeout(900)
@pytest.mark.parametrize("document", WITH_TABLES, ids=lambda path: path.name)
def test_a_document_agrees_with_the_saved_runs(document: Path):
    check(document, STORE)


def test_the_results_have_tables():
    assert {"few_labels.md", "results.md"} <= {path.name for path in WITH_TABLES}


def test_the_levers_have_the_numbers_of_the_results():
    results = (ROOT / "docs" / "results.md").read_text("utf-8")
    lines = [line for line in (ROOT / "docs" / "levers.md").read_text("utf-8").splitlines() if line.startswith("| ")]
    shown = [number for line in lines for number in re.findall(r"[+-]\d+\.\d \[[^]]*\]", line)]
    assert len(shown) > 15
    for number in shown:
        assert f"|{number}" in results, f"docs/levers.md has {number}, which is not in docs/results.md"


def test_a_document_is_compared_with_the_runs(done: Runner, tmp_path: Path):
    store, document = tmp_path / "store", tmp_path / "results.md"
    write_store(store, *collect(done.plan, done.folders, done.root))
    details, paper = (f"<!-- experiments: small.yaml{kind} -->\n{END}\n" for kind in ("", " paper"))
    document.write_text(f"# Results\n{details}text\n{paper}end\n")
    with pytest.raises(DataError, match="the runs give"):
        check(document, store)
    write(document, store)
    check(document, store)
    text = document.read_text()
    assert text.count("|CPD|") == 2 and text.endswith("end\n") and "\ntext\n" in text
    document.write_text(text.replace("±", "+", 1))
    with pytest.raises(DataError, match="line"):
        check(document, store)
    write(document, store)
    runs, counts = read_store(store)
    counts["correct"] = [[0] * len(each) for each in counts["correct"]]
    write_store(store, runs, counts)
    with pytest.raises(DataError, match="the runs give"):
        check(document, store)
    document.write_text("# no block\n")
    with pytest.raises(DataError, match="block"):
        check(document, store)


def test_a_figure_is_compared_with_the_runs(done: Runner, tmp_path: Path):
    store, document = tmp_path / "store", tmp_path / "results.md"
    runs, counts = collect(done.plan, done.folders, done.root)
    rows = [{**row, "line": "all"} for row in SWEEP["rows"]]
    write_sweep(tmp_path, rows=rows, figure={"x": "labelled"})
    document.write_text(f"<!-- experiments: small.yaml figure -->\n{END}\n")
    other = [frame.assign(reading="first subwords") for frame in (runs, counts)]
    write_store(store, *other)
    write(document, store)
    assert "No runs are saved yet" in document.read_text() and not (tmp_path / "figures").exists()
    write_store(store, runs, counts)
    with pytest.raises(DataError, match="the runs give"):
        check(document, store)
    write(document, store)
    check(document, store)
    assert "![A small sweep](figures/small.svg)" in document.read_text()
    picture = tmp_path / "figures" / "small.svg"
    write_store(store, runs, counts.assign(correct=[[0] * len(each) for each in counts["correct"]]))
    with pytest.raises(DataError, match="other numbers"):
        check(document, store)
    picture.unlink()
    with pytest.raises(DataError, match="other numbers"):
        check(document, store)

"""Tables say what the runs say."""

import json
import re
import shutil
from pathlib import Path

from support.small_sweep import SWEEP, write_sweep

from experiments.__main__ import report
from experiments.plan import Plan
from experiments.runner import OUTPUT, Runner
from experiments.scores import Scores
from experiments.store import collect, read_store
from experiments.sweep import read_sweep
from experiments.tables import markdown_table, render


def f1s(runner: Runner, row: str, view: str) -> list[float]:
    """Test F1 of every seed as its run has it."""
    found = []
    for run in runner.plan.runs:
        if run.row == row:
            results = json.loads((runner.folder(run) / OUTPUT / "results.json").read_text())
            found.append(results["splits"]["test"][view]["f1"])
    return found


def scores_of(runner: Runner, sweep: Path | None = None) -> Scores:
    plan = Plan(read_sweep(sweep)) if sweep else runner.plan
    return Scores(plan, *collect(runner.plan, runner.folders, runner.root))


def line_of(text: str, row: str) -> list[str]:
    return next(line for line in text.splitlines() if line.startswith(f"|{row}|")).strip("|").split("|")


def test_details_hold_scores_differences_and_both_retentions(done: Runner):
    scores = scores_of(done)
    text = render(scores)
    for row, view in (("text only", "prompt"), ("[x; I]", "knowledge"), ("CPD", "prompt")):
        one, two = f1s(done, row, view)
        assert line_of(text, row)[2] == f"{50 * (one + two):.1f}±{100 * abs(one - two) / 2**0.5:.1f} (2)"
    plain, caption, cpd, knowledge = (
        sum(f1s(done, row, view)) / 2
        for row, view in (("text only", "prompt"), ("[x; I]", "knowledge"), ("CPD", "prompt"),
                          ("knowledge at test time", "knowledge"))
    )  # fmt: skip
    for cell, without in zip(line_of(text, "CPD")[5:7], (caption, plain), strict=True):
        assert cell.startswith(f"{(cpd - without) / (knowledge - without):.2f} [")
    cells = [scores.cell("Otters", "tiny", row) for row in ("CPD", "text only")]
    result, _ = cells[0].difference(cells[1])
    wanted = f"{100 * result.difference:+.1f} [{100 * result.low:.1f}, {100 * result.high:.1f}]"
    assert line_of(text, "CPD")[4] == wanted and result.low < cpd - plain < result.high
    assert "tiny, 12 labelled, 60 test rows, gold " in text and "read on words" in text


def test_published_scores_stand_beside_ours(done: Runner):
    text = render(scores_of(done), "paper")
    assert line_of(text, "text only")[1] == "70.00" and line_of(text, "elsewhere")[1] == "61.50"
    assert "|Badgers, paper|" in text and line_of(text, "elsewhere")[-1] == "50.00", "a data set without runs here"
    assert "a test, not a paper" in text and "paper" not in render(scores_of(done), "summary")


def test_a_summary_has_the_main_rows(done: Runner, tmp_path: Path):
    rows = [{**row, "main": row["name"] == "CPD", "note": f"about {row['name']}"} for row in SWEEP["rows"]]
    text = render(scores_of(done, write_sweep(tmp_path, rows=rows)), "summary")
    assert "\n|CPD|" in text and "|text only|" not in text and "- CPD: about CPD" in text and "about text" not in text


def test_names_are_divided_by_where_they_occur_in_training(done: Runner, tmp_path: Path):
    text = render(scores_of(done, write_sweep(tmp_path, exposure=True)))
    head = next(line for line in text.splitlines() if "in a labelled post (" in line)
    assert sum(int(number) for number in re.findall(r"\((\d+)\)", head)) == 60
    assert "in a labelled post (" not in render(scores_of(done))


def test_a_row_is_compared_with_its_control(done: Runner, tmp_path: Path):
    assert "Δ control" not in render(scores_of(done))
    rows = [{**row, "control": "[x; I]"} if row["name"] == "CPD" else row for row in SWEEP["rows"]]
    scores = scores_of(done, write_sweep(tmp_path, rows=rows))
    cells = [scores.cell("Otters", "tiny", name) for name in ("CPD", "[x; I]")]
    result, _ = cells[0].difference(cells[1])
    assert line_of(render(scores), "CPD")[7].startswith(f"{100 * result.difference:+.1f} [{100 * result.low:.1f}, ")


def test_an_encoder_without_runs_has_no_table(done: Runner, tmp_path: Path):
    encoders = {**SWEEP["encoders"], "colder": {"model_name_or_path": "colder"}}
    text = render(scores_of(done, write_sweep(tmp_path, encoders=encoders)))
    assert ": tiny, " in text and "colder" not in text


def test_a_changed_sweep_does_not_show_old_runs(done: Runner, tmp_path: Path):
    path = write_sweep(tmp_path, settings={**SWEEP["settings"], "max_length": 99})
    assert render(scores_of(done, path)) == "No runs are saved yet.\n"


def test_runs_that_are_gone_go_from_the_table_and_stay_in_the_saved_files(done: Runner):
    saved = done.root.parent / "saved"
    files = report(done.plan, done.folders, done.root, saved)
    assert [file.name for file in files] == ["small.md"]
    before = len(read_store(saved)[0])
    for run in done.plan.runs:
        if run.row == "CPD" or run.seed == 1:
            shutil.rmtree(done.folder(run))
    text = report(done.plan, done.folders, done.root, saved)[0].read_text()
    assert "|CPD|" not in text and line_of(text, "[x; I]")[2].endswith("(1)")
    assert len(read_store(saved)[0]) == before


def test_empty_columns_are_left_out_and_bars_escaped():
    assert markdown_table(["Row", "a", "b"], [["x|y", "", "1"]]) == ["|Row|b|", "|---|---:|", "|x\\|y|1|"]

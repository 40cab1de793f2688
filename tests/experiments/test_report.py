"""From finished runs to saved runs, tables, documents and figures, all of which agree."""

import json
import re
import shutil
from pathlib import Path

import pytest
from experiments.small_sweep import SWEEP, write_sweep

from modeling_cotpd.errors import DataError
from modeling_cotpd.experiments.collect import collect, read_store, write_store
from modeling_cotpd.experiments.document import END, check, write
from modeling_cotpd.experiments.launch import OUTPUT
from modeling_cotpd.experiments.plan import Plan
from modeling_cotpd.experiments.report import make_report
from modeling_cotpd.experiments.runner import Runner
from modeling_cotpd.experiments.scores import Scores
from modeling_cotpd.experiments.sweep import read_sweep
from modeling_cotpd.experiments.tables import render


@pytest.fixture
def done(tmp_path: Path, otters: Path, stand_in: Path) -> Runner:
    """The small sweep, run."""
    rows = [{**row, "published": {"Otters": 70 + number}} for number, row in enumerate(SWEEP["rows"][:2])]
    path = write_sweep(tmp_path, rows=[*rows, *SWEEP["rows"][2:]], published_source="a test, not a paper")
    runner = Runner(Plan(read_sweep(path)), {"otters": otters}, tmp_path / "out")
    assert not runner.run_all().failed
    return runner


def f1s(runner: Runner, row: str, view: str) -> list[float]:
    """Test F1 of every seed as its run has it."""
    found = []
    for run in runner.plan.runs:
        if run.row == row:
            results = json.loads((runner.folder(run) / OUTPUT / "results.json").read_text())
            found.append(results["splits"]["test"][view]["f1"])
    return found


def test_tables_say_what_the_runs_say(done: Runner):
    files = make_report(done.plan, done.folders, done.root, save=done.root.parent / "saved")
    names = [file.name for file in files]
    assert names == ["runs.parquet", "small.md", "small.png", "small.svg"]
    text = files[1].read_text()
    for row, view in (("text only", "prompt"), ("[x; I]", "knowledge"), ("CPD", "prompt")):
        one, two = f1s(done, row, view)
        assert f"{50 * (one + two):.2f} ± {100 * abs(one - two) / 2**0.5:.2f} (2)" in text
    cpd, caption, knowledge = (
        sum(f1s(done, row, view)) / 2
        for row, view in (("CPD", "prompt"), ("[x; I]", "knowledge"), ("knowledge at test time", "knowledge"))
    )
    assert f"| {(cpd - caption) / (knowledge - caption):.2f} [" in text
    assert "| 70.00 |" in text and "a test, not a paper" in text and "lenient reading" in text and "2 of 2" in text
    runs, counts = read_store(done.root.parent / "saved")
    assert len(runs) == 8 * 2 + 2 * 2, "a row per run, split and view"
    assert not any("Name" in str(value) for frame in (runs, counts) for value in frame.to_numpy().ravel())


def test_predictions_that_give_another_score_are_an_error(done: Runner):
    path = done.folder(done.plan.runs[0]) / OUTPUT / "predictions.test.jsonl"
    lines = path.read_text().splitlines()
    row = json.loads(lines[0])
    row["prompt"] = ["B-LOC", "O", "B-LOC"]
    path.write_text("\n".join([json.dumps(row), *lines[1:]]))
    with pytest.raises(DataError, match=r"results\.json says"):
        collect(done.plan, done.folders, done.root)


def test_a_document_is_compared_with_the_runs(done: Runner, tmp_path: Path):
    make_report(done.plan, done.folders, done.root)
    document = tmp_path / "results.md"
    document.write_text(
        f"# Results\n<!-- cotpd experiment: small.yaml -->\n{END}\ntext\n"
        f"<!-- cotpd experiment: small.yaml summary -->\n{END}\nend\n"
    )
    with pytest.raises(DataError, match="the runs say"):
        check(document, done.root)
    write(document, done.root)
    check(document, done.root)
    text = document.read_text()
    assert text.count("| CPD |") == 3 and text.endswith("end\n") and "\ntext\n" in text
    score = f"{50 * sum(f1s(done, 'CPD', 'prompt')):.2f}"
    assert score in text
    document.write_text(text.replace(score, f"{float(score) + 0.01:.2f}", 1))
    with pytest.raises(DataError, match="line"):
        check(document, done.root)
    runs, counts = read_store(done.root)
    write(document, done.root)
    runs.loc[runs["row"] == "CPD", "f1"] += 0.01
    write_store(done.root, runs, counts)
    with pytest.raises(DataError, match="the runs say"):
        check(document, done.root)
    document.write_text("# no block\n")
    with pytest.raises(DataError, match="block"):
        check(document, done.root)


def test_names_are_divided_by_where_they_stand_in_training(done: Runner, tmp_path: Path):
    runs, counts = collect(done.plan, done.folders, done.root)
    plan = Plan(read_sweep(write_sweep(tmp_path, exposure=True)))
    text = render(Scores(plan, runs, counts))
    head = next(line for line in text.splitlines() if "in a labelled post (" in line)
    names = [int(number) for number in re.findall(r"\((\d+) names\)", head)]
    whole = counts[(counts["names"] == "all") & (counts["split"] == "test")].iloc[0]
    assert sum(names) == sum(whole["gold"]) and "stands in training" in text
    assert "stands in training" not in render(Scores(done.plan, runs, counts))
    old = counts[counts["names"] == "all"].drop(columns="names")
    write_store(tmp_path / "old", runs, old.assign(names="all"))
    old.to_parquet(tmp_path / "old" / "counts.parquet")
    text = render(Scores(plan, *read_store(tmp_path / "old")))
    assert "in a labelled post (" not in text and "| CPD |" in text, "runs that were saved before have no such table"


def test_a_row_is_compared_with_its_control(done: Runner, tmp_path: Path):
    runs, counts = collect(done.plan, done.folders, done.root)
    assert "its control" not in render(Scores(done.plan, runs, counts))
    rows = [{**row, "control": "[x; I]"} if row["name"] == "CPD" else row for row in SWEEP["rows"]]
    scores = Scores(Plan(read_sweep(write_sweep(tmp_path, rows=rows))), runs, counts)
    cells = [scores.cell("Otters", "tiny", name) for name in ("CPD", "[x; I]")]
    result, _ = cells[0].difference(cells[1])
    assert f"| CPD | [x; I] | {100 * result.difference:+.2f} [" in render(scores)


def test_an_encoder_without_runs_has_no_table(done: Runner, tmp_path: Path):
    encoders = {**SWEEP["encoders"], "tiny, colder": {"model_name_or_path": "colder"}}
    sweep = read_sweep(write_sweep(tmp_path, encoders=encoders))
    text = render(Scores(Plan(sweep), *collect(done.plan, done.folders, done.root)))
    assert "### tiny\n" in text and "### tiny, colder" not in text and text.count("| Reads at test time |") == 1
    assert "Run so far on Otters, tiny, colder: nothing." in text


def test_a_changed_sweep_does_not_claim_old_runs(done: Runner, tmp_path: Path):
    make_report(done.plan, done.folders, done.root)
    path = write_sweep(tmp_path, settings={**SWEEP["settings"], "max_length": 99})
    text = render(Scores(Plan(read_sweep(path)), *read_store(done.root)))
    assert "Run so far on Otters, tiny: nothing." in text and "±" not in text.split("- F1 is")[0]


def test_saved_runs_tell_no_place_on_this_machine(done: Runner):
    runs, _ = collect(done.plan, done.folders, done.root)
    assert (
        len(runs) and not runs.astype(str).apply(lambda column: column.str.contains(str(done.root.parent))).any().any()
    )


def test_saved_runs_are_added_up_and_replaced(done: Runner):
    runs, counts = collect(done.plan, done.folders, done.root)
    store = done.root / "store"
    for row in ("CPD", "text only", "CPD"):
        part = runs[runs["row"] == row]
        write_store(store, part, counts[counts["run"].isin(part["run"])])
    kept, kept_counts = read_store(store)
    assert len(kept) == len(runs[runs["row"].isin(["CPD", "text only"])])
    assert set(kept_counts["run"]) == set(kept["run"])
    assert not kept_counts.duplicated(["run", "split", "view", "reading", "names"]).any()


def test_runs_that_are_gone_go_from_the_table(done: Runner):
    make_report(done.plan, done.folders, done.root)
    for run in done.plan.runs:
        if run.row == "CPD" or run.seed == 1:
            shutil.rmtree(done.folder(run))
    text = make_report(done.plan, done.folders, done.root)[1].read_text()
    assert "| CPD |" not in text and "Run so far on Otters, tiny: all but CPD." in text
    assert "| [x; I] | knowledge | 1 of 2 |" in text
    for run in done.plan.runs:
        shutil.rmtree(done.folder(run), ignore_errors=True)
    assert "Run so far on Otters, tiny: nothing." in make_report(done.plan, done.folders, done.root)[1].read_text()


def test_a_folder_that_runs_are_saved_to_keeps_those_of_other_machines(done: Runner):
    saved = done.root.parent / "gathered"
    make_report(done.plan, done.folders, done.root, save=saved)
    before = len(read_store(saved)[0])
    for run in done.plan.runs:
        if run.seed == 1:
            shutil.rmtree(done.folder(run))
    make_report(done.plan, done.folders, done.root, save=saved)
    assert len(read_store(saved)[0]) == before > len(read_store(done.root)[0])


def test_lines_are_drawn_over_an_axis(tmp_path: Path, otters: Path, stand_in: Path):
    each = {
        "name": "{times} x {size}",
        "view": "prompt",
        "each": {"times": [0, 1], "size": [50, 100]},
        "settings": {"max_train_samples": "{size}", "sample_seed": "{times}"},
    }
    changes = {"rows": [each], "baseline": "0 x 50", "retention": {}, "seeds": [0]}
    path = write_sweep(tmp_path, figure={"kind": "lines", "x": "size", "lines": "times"}, **changes)
    runner = Runner(Plan(read_sweep(path)), {"otters": otters}, tmp_path / "out")
    runner.run_all()
    files = make_report(runner.plan, runner.folders, runner.root)
    svg = files[-1].read_text()
    assert "1 times" in svg and ">size<" in svg and files[-2].stat().st_size > 5_000

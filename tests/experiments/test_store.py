"""From finished runs to saved runs: numbers alone, checked, added up, of one reading each."""

import json

import numpy as np
import pytest

from experiments.runner import OUTPUT, Runner
from experiments.store import by_post, collect, read_store, write_store
from modeling_cotpd.errors import DataError


def test_a_row_per_run_split_and_view_without_texts(done: Runner):
    runs, counts = collect(done.plan, done.folders, done.root)
    assert len(runs) == 8 * 2 + 2 * 2 and set(runs["reading"]) == {"words"}
    assert (runs["labelled_rows"] == 12).all() and (runs["train_rows"] == 12).all()
    assert not any("Name" in str(value) for frame in (runs, counts) for value in frame.to_numpy().ravel())
    assert not runs.astype(str).apply(lambda column: column.str.contains(str(done.root.parent))).any().any()


def test_a_run_without_a_reading_is_of_the_older_one(done: Runner):
    path = done.folder(done.plan.runs[0]) / OUTPUT / "results.json"
    results = json.loads(path.read_text())
    del results["reading"]
    path.write_text(json.dumps(results))
    runs, counts = collect(done.plan, done.folders, done.root)
    older = runs[runs["reading"] == "first subwords"]
    assert set(older["declared"]) == {done.plan.runs[0].declared} and set(older["run"]) < set(counts["run"])


def test_predictions_that_give_another_score_are_an_error(done: Runner):
    path = done.folder(done.plan.runs[0]) / OUTPUT / "predictions.test.jsonl"
    lines = path.read_text().splitlines()
    row = json.loads(lines[0])
    row["prompt"] = ["B-LOC", "O", "B-LOC"]
    path.write_text("\n".join([json.dumps(row), *lines[1:]]))
    with pytest.raises(DataError, match=r"results\.json says"):
        collect(done.plan, done.folders, done.root)


def test_the_predictions_of_a_command_are_scored(done: Runner):
    folder = done.folder(done.plan.runs[0])
    before = collect(done.plan, done.folders, done.root)[0]
    (folder / OUTPUT / "results.json").unlink()
    spec = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**spec, "finished": True}))
    for split in ("validation", "test"):
        (folder / OUTPUT / f"predictions.{split}.jsonl").touch()
    after = collect(done.plan, done.folders, done.root)[0]
    assert after["f1"].tolist() == before["f1"].tolist() and after["dataset"].tolist() == before["dataset"].tolist()


def test_saved_runs_are_added_up_and_replaced(done: Runner):
    runs, counts = collect(done.plan, done.folders, done.root)
    store = done.root / "store"
    for row in ("CPD", "text only", "CPD"):
        part = runs[runs["row"] == row]
        write_store(store, part, counts[counts["run"].isin(part["run"])])
    write_store(store, runs.iloc[:0], counts.iloc[:0])
    kept, kept_counts = read_store(store)
    assert len(kept) == len(runs[runs["row"].isin(["CPD", "text only"])])
    assert set(kept_counts["run"]) == set(kept["run"])
    assert not kept_counts.duplicated(["run", "view", "names"]).any()


def test_a_run_of_another_reading_does_not_replace_it(done: Runner):
    runs, counts = collect(done.plan, done.folders, done.root)
    store = done.root / "store"
    older = [frame.assign(reading="first subwords") for frame in (runs, counts)]
    write_store(store, *older)
    write_store(store, runs, counts)
    kept, kept_counts = read_store(store)
    assert len(kept) == 2 * len(runs) and len(kept_counts) == 2 * len(counts)


def test_a_missing_store_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no runs\.parquet"):
        read_store(tmp_path)


def test_rows_of_a_post_are_added_up():
    class Line:
        correct, predicted, gold, post = [1, 0, 1], [1, 1, 1], [1, 1, 2], [0, 1, 0]

    np.testing.assert_array_equal(by_post(Line), [[2, 2, 3], [0, 1, 1]])

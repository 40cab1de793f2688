"""Cells: one reading in a comparison, predictions mixed from two models, and numbers worked out by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
from support.small_sweep import SWEEP, write_sweep

from experiments.plan import Plan
from experiments.runner import Runner
from experiments.scores import Cell, Scores, mean_and_deviation
from experiments.store import collect
from experiments.sweep import Row, read_sweep
from experiments.tables import render
from modeling_cotpd.errors import DataError


def test_readings_are_never_mixed(done: Runner, tmp_path: Path):
    runs, counts = collect(done.plan, done.folders, done.root)
    older = set(runs[runs["row"].isin(["CPD", "[x; I]"])]["run"])
    for frame in (runs, counts):
        frame.loc[frame["run"].isin(older), "reading"] = "first subwords"
    scores = Scores(done.plan, runs, counts)
    assert [cell.row.name for cell in scores.finished("Otters", "tiny")] == ["text only", "knowledge at test time"]
    assert "read on words" in render(scores) and "CPD" not in render(scores)
    plan = Plan(read_sweep(write_sweep(tmp_path, reading="first subwords")))
    scores = Scores(plan, runs, counts)
    assert [cell.row.name for cell in scores.finished("Otters", "tiny")] == ["[x; I]", "CPD"]
    assert "read on first subwords" in render(scores)


def test_a_share_of_posts_is_read_with_knowledge(done: Runner, tmp_path: Path):
    each = {"order": ["uncertainty", "random", "oracle"], "share": [0, 0.25, 1]}
    mix = {"text": "CPD", "knowledge": "knowledge at test time", "share": "{share}", "by": "{order}"}
    row = {"name": "{order} {share}", "each": each, "mix": mix}
    plan = Plan(read_sweep(write_sweep(tmp_path, rows=[*SWEEP["rows"], row])))
    assert len(plan.runs) == len(done.plan.runs)
    runs, counts = collect(done.plan, done.folders, done.root)
    scores = Scores(plan, runs, counts)
    cells = {name: scores.cell("Otters", "tiny", name) for name in (*(r.name for r in plan.sweep.rows),)}
    text, knowledge = cells["CPD"], cells["knowledge at test time"]
    for order in each["order"]:
        np.testing.assert_array_equal(cells[f"{order} 0"].stacked, text.stacked)
        np.testing.assert_array_equal(cells[f"{order} 1"].stacked, knowledge.stacked)
    quarter = cells["uncertainty 0.25"].counts[0]
    asked = np.argsort(-text.unsure[0], kind="stable")[:15]
    np.testing.assert_array_equal(quarter[asked], knowledge.counts[0][asked])
    rest = np.setdiff1d(np.arange(60), asked)
    np.testing.assert_array_equal(quarter[rest], text.counts[0][rest])
    best, random = (cells[f"{order} 0.25"].score()[0] for order in ("oracle", "random"))
    assert best > max(random, text.score()[0])
    missing = Scores(plan, runs, counts.assign(uncertainty=None))
    assert not missing.cell("Otters", "tiny", "uncertainty 0.25").counts
    assert missing.cell("Otters", "tiny", "oracle 0.25").counts


def test_a_view_that_was_not_evaluated_is_an_error(done: Runner):
    runs, counts = collect(done.plan, done.folders, done.root)
    runs = runs[(runs["row"] != "CPD") | (runs["view"] == "knowledge")]
    with pytest.raises(DataError, match="No run of 'CPD' has its prompt view"):
        Scores(done.plan, runs, counts).cell("Otters", "tiny", "CPD")


def cell(correct: dict[int, int], posts: int = 100) -> Cell:
    """Per seed one gold and one predicted item per post, the first ones right: F1 = correct / posts."""
    counts = {
        seed: np.array([[index < right, 1, 1] for index in range(posts)], dtype=np.int64)
        for seed, right in correct.items()
    }
    return Cell(Row("a"), counts)


def test_mean_and_sample_deviation():
    assert mean_and_deviation([0.8, 0.9]) == (pytest.approx(0.85), pytest.approx(math.sqrt(0.005)))
    assert mean_and_deviation([0.8]) == (0.8, None)


def test_a_difference_pools_the_seeds_that_both_have():
    row = cell({0: 80, 1: 90, 2: 10})
    found = row.difference(cell({0: 70, 1: 70}))
    assert found is not None
    result, seeds = found
    assert seeds == 2
    assert (result.f1_a, result.f1_b) == (0.85, 0.70)
    assert result.low < 0.15 < result.high and result.low > 0
    assert row.difference(cell({5: 70})) is None


def test_retention_is_the_share_of_the_gap_that_is_kept():
    found = cell({0: 76, 1: 80}).retention(cell({0: 70}), cell({0: 86}))
    assert found.value == pytest.approx(0.5)
    assert 0 < found.low < 0.5 < found.high < 1.2
    assert cell({0: 76}).retention(cell({}), cell({0: 86})) is None


def test_retention_is_unbounded_without_a_clear_gap():
    found = cell({0: 72}).retention(cell({0: 70}), cell({0: 70}))
    assert math.isnan(found.value) and math.isinf(found.high)
    near = cell({0: 72}).retention(cell({0: 70}), cell({0: 71}))
    assert near.value == pytest.approx(2.0) and math.isinf(near.low)

"""Figures over an axis of the rows, and over a number of the runs."""

from pathlib import Path

import pytest
from support.small_sweep import SWEEP, write_sweep

from experiments.figures import draw, fingerprint, points
from experiments.plan import Plan
from experiments.runner import Runner
from experiments.scores import Scores
from experiments.store import collect
from experiments.sweep import read_sweep
from modeling_cotpd.errors import SettingError

EACH = {
    "name": "{times} x {size}",
    "view": "prompt",
    "line": "{times} times",
    "each": {"times": [0, 1], "size": [50, 100]},
    "settings": {"max_train_samples": "{size}", "sample_seed": "{times}"},
}
CHANGES = {"rows": [EACH], "baseline": "0 x 50", "retention": {}, "seeds": [0]}


@pytest.fixture
def scores(tmp_path: Path, otters: Path, stand_in: Path) -> Scores:
    plan = Plan(read_sweep(write_sweep(tmp_path, figure={"x": "size", "label": "posts"}, **CHANGES)))
    runner = Runner(plan, {"otters": otters}, tmp_path / "out")
    runner.run_all()
    return Scores(plan, *collect(plan, runner.folders, runner.root))


def test_lines_are_drawn_over_an_axis(scores: Scores, tmp_path: Path):
    (lines,) = points(scores).values()
    assert {name: [point[0] for point in each] for name, each in lines.items()} == {
        "0 times": [50, 100],
        "1 times": [50, 100],
    }
    for x, mean, low, high in lines["1 times"]:
        cell = scores.cell("Otters", "tiny", f"1 x {x:.0f}")
        assert mean == 100 * cell.score()[0] and low < mean < high
    path = draw(scores, tmp_path / "figures")
    svg = path.read_text()
    assert "1 times" in svg and ">posts<" in svg and fingerprint(scores) in svg
    first = path.read_bytes()
    assert draw(scores, tmp_path / "figures").read_bytes() == first
    nothing = Scores(scores.plan, scores.runs.iloc[:0], scores.runs.iloc[:0])
    assert draw(nothing, tmp_path / "none") is None and not (tmp_path / "none").exists()


def test_lines_are_drawn_over_a_number_of_the_runs(scores: Scores, tmp_path: Path):
    for name, wanted in (("labelled", {12.0}), ("explained", {0.0})):  # the folder has 12 posts
        plan = Plan(read_sweep(write_sweep(tmp_path, figure={"x": name}, **CHANGES)))
        (lines,) = points(Scores(plan, scores.runs, _counts(scores))).values()
        assert {point[0] for each in lines.values() for point in each} == wanted
    plan = Plan(read_sweep(write_sweep(tmp_path, figure={"x": "tokens"}, **CHANGES)))
    with pytest.raises(SettingError, match="no 'tokens'"):
        points(Scores(plan, scores.runs, _counts(scores)))


def _counts(scores: Scores):
    import pandas as pd

    return pd.DataFrame(scores._counts.values())


def test_a_sweep_without_a_figure_draws_none(done: Runner, tmp_path: Path):
    assert not SWEEP.get("figure")
    assert draw(Scores(done.plan, *collect(done.plan, done.folders, done.root)), tmp_path) is None

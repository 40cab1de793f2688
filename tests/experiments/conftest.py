"""Fixtures: fictional data, and an entry point that trains nothing."""

import shutil
from pathlib import Path

import pytest
from support.small_sweep import SWEEP, behave, write_fictional, write_sweep

from experiments.plan import Plan
from experiments.runner import Runner
from experiments.sweep import read_sweep


@pytest.fixture
def otters(tmp_path: Path) -> Path:
    """A prepared folder of fictional posts."""
    return write_fictional(tmp_path / "otters")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory holds an entry point that trains nothing; see `entry_stand_in.py`."""
    folder = tmp_path / "entry"
    folder.mkdir()
    shutil.copy(Path(__file__).parents[1] / "support" / "entry_stand_in.py", folder / "run_mner.py")
    behave(folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def done(tmp_path: Path, otters: Path, stand_in: Path) -> Runner:
    """The small sweep, run, with two published scores."""
    rows = [{**row, "published": {"Otters": 70 + number}} for number, row in enumerate(SWEEP["rows"][:2])]
    rows += [*SWEEP["rows"][2:], {"name": "elsewhere", "published": {"Otters": 61.5, "Badgers": 50}}]
    path = write_sweep(tmp_path, rows=rows, published_source="a test, not a paper")
    runner = Runner(Plan(read_sweep(path)), {"otters": otters}, tmp_path / "out")
    assert not runner.run_all().failed
    return runner

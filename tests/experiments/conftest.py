"""Fixtures: fictional data, and an entry point that trains nothing."""

import shutil
from pathlib import Path

import pytest
from experiments.small_sweep import behave, write_fictional


@pytest.fixture
def otters(tmp_path: Path) -> Path:
    """A prepared folder of fictional posts."""
    return write_fictional(tmp_path / "otters")


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory holds an entry point that trains nothing; see `stand_in.py`."""
    folder = tmp_path / "entry"
    folder.mkdir()
    shutil.copy(Path(__file__).with_name("stand_in.py"), folder / "run_mner.py")
    behave(folder)
    monkeypatch.chdir(folder)
    return folder

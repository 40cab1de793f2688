"""The data of a sweep: what is given, what is prepared, what is augmented on the way."""

from pathlib import Path

import pytest
from support.small_sweep import write_sweep

from experiments.__main__ import prepare_all
from experiments.sweep import read_sweep
from modeling_cotpd.data.prepared import read_prepared
from modeling_cotpd.errors import DataError


def augmented(tmp_path: Path, *options: str, base: str = "otters"):
    more = {"augment": base, "options": ["--kinds", "entity", "--no-fact-check", *options]}
    data = {"otters": {"given": "write it"}, "badgers": {"given": "write that, too"}, "more": more}
    return read_sweep(write_sweep(tmp_path, data=data))


def test_augmented_data_is_made_from_what_is_given(tmp_path: Path, otters: Path):
    sweep = augmented(tmp_path, "--times", "1")
    folders = prepare_all(sweep, ["more"], {"otters": otters}, tmp_path / "out", None)
    splits, info = read_prepared(folders["more"])
    original, _ = read_prepared(otters)
    assert info.augmentation and len(splits["train"]) > len(original["train"])
    assert splits["test"]["id"] == original["test"]["id"]
    made = (folders["more"] / "dataset.json").stat().st_mtime_ns
    assert prepare_all(sweep, ["more"], {"otters": otters}, tmp_path / "out", None) == folders
    assert (folders["more"] / "dataset.json").stat().st_mtime_ns == made, "it is made once"
    other = augmented(tmp_path, "--times", "2").data["more"]
    assert other.declaration() != sweep.data["more"].declaration()


def test_without_its_base_it_is_left_out(tmp_path: Path):
    assert prepare_all(augmented(tmp_path), ["more"], {}, tmp_path / "out", None) == {}


def test_a_failure_ends_with_its_reason(tmp_path: Path, otters: Path):
    with pytest.raises(DataError, match=r"more cannot be prepared: .*kinds"):
        prepare_all(augmented(tmp_path, "--kinds", "colour"), ["more"], {"otters": otters}, tmp_path / "out", None)

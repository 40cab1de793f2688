"""The command: dry run, exit codes, messages."""

from pathlib import Path

import pytest
from support.small_sweep import behave, calls, write_fictional, write_sweep

from experiments.__main__ import FAILED, main
from modeling_cotpd.errors import DataError, SettingError


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An entry point that trains nothing, in the working directory."""
    stand_in = Path(__file__).parents[1] / "support" / "entry_stand_in.py"
    (tmp_path / "run_mner.py").write_text(stand_in.read_text("utf-8"), "utf-8")
    behave(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_a_dry_run_runs_nothing(entry: Path, capsys: pytest.CaptureFixture):
    sweep, data = write_sweep(entry), write_fictional(entry / "otters")
    assert call(sweep, "--data", f"otters={data}", "--dry-run", "--out", entry / "out") == 0
    assert "8 of 8 runs to do; estimated time" in capsys.readouterr().out
    assert not calls(entry)
    call(sweep, "--dry-run", "--out", entry / "out")
    output = capsys.readouterr().out
    assert "data otters: write it, then give --data otters=DIR" in output and "0 of 8" in output


def test_a_run_its_tables_and_a_document(entry: Path, capsys: pytest.CaptureFixture):
    sweep, data = write_sweep(entry), write_fictional(entry / "otters")
    behave(entry, fail=["conditional"])
    arguments = (sweep, "--data", f"otters={data}", "--out", entry / "out", "--save", entry / "saved")
    assert call(*arguments, "--seeds", "1", "--only", "CPD", "--only", "text only") == FAILED
    output = capsys.readouterr()
    assert "1 runs done" in output.out and "failed: Otters | tiny | CPD | seed 1" in output.err
    behave(entry)
    assert call(*arguments) == 0
    assert "7 runs done, 1 were finished before" in capsys.readouterr().out
    document = entry / "results.md"
    document.write_text("<!-- experiments: small.yaml -->\n<!-- end of experiments -->\n")
    assert call("--write", document, "--runs", entry / "saved") == 0
    assert call("--check", document, "--runs", entry / "saved") == 0
    assert "agrees" in capsys.readouterr().out
    document.write_text(document.read_text().replace("(2)", "(3)", 1))
    with pytest.raises(DataError, match="Regenerate"):
        call("--check", document, "--runs", entry / "saved")
    assert call(sweep, "--data", f"otters={data}", "--out", entry / "out", "--tables") == 0
    assert len(calls(entry)) == 9


def test_two_sweeps_take_each_their_own_data(entry: Path, capsys: pytest.CaptureFixture):
    folders = {name: write_fictional(entry / name) for name in ("otters", "badgers")}
    (entry / "other").mkdir()
    data = {"badgers": {"given": "write it"}}
    columns = {"Badgers": {"task": "mner", "data": "badgers"}}
    sweeps = [write_sweep(entry), write_sweep(entry / "other", data=data, columns=columns)]
    given = [word for name, folder in folders.items() for word in ("--data", f"{name}={folder}")]
    assert call(*sweeps, *given, "--dry-run", "--out", entry / "out") == 0
    assert capsys.readouterr().out.count("8 of 8 runs") == 2


def test_faulty_calls_are_refused(entry: Path):
    sweep, document = write_sweep(entry), entry / "results.md"
    document.write_text("<!-- experiments: small.yaml -->\n<!-- end of experiments -->\n")
    with pytest.raises(SettingError, match="nothing to do"):
        call()
    with pytest.raises(SettingError, match="NAME=DIR"):
        call(sweep, "--data", "otters")
    with pytest.raises(SettingError, match="no data 'voles'"):
        call(sweep, "--data", f"voles={entry}")
    with pytest.raises(DataError, match="not a prepared folder"):
        call(sweep, "--data", f"otters={entry}")
    with pytest.raises(DataError, match=r"no runs\.parquet"):
        call("--check", document, "--runs", entry)

"""The command: dry run, exit codes, messages."""

import json
from pathlib import Path

import pytest
import typer
from experiments.small_sweep import behave, calls, write_fictional, write_sweep
from typer.testing import CliRunner

from modeling_cotpd.cli.experiment import FAILED, cases, experiment
from modeling_cotpd.errors import DataError, SettingError

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(experiment)
app.command()(cases)


@pytest.fixture
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An entry point that trains nothing, in the working directory."""
    stand_in = Path(__file__).parents[1] / "experiments" / "stand_in.py"
    (tmp_path / "run_mner.py").write_text(stand_in.read_text("utf-8"), "utf-8")
    behave(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: object):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_dry_run_runs_nothing(entry: Path):
    sweep, data = write_sweep(entry), write_fictional(entry / "otters")
    result = call("experiment", sweep, "--data", f"otters={data}", "--dry-run", "--out", entry / "out")
    assert result.exit_code == 0 and "8 of 8 runs to do; estimated time" in result.output
    assert not calls(entry)
    result = call("experiment", sweep, "--data", f"otters={data}", "--dry-run", "--json", "--out", entry / "out")
    runs = json.loads(result.stdout)["runs"]
    assert len(runs) == 8 and {run["state"] for run in runs} == {"to do"}
    result = call("experiment", sweep, "--dry-run", "--out", entry / "out")
    assert "otters is not there: write it" in result.output and "0 of 8" in result.output


def test_a_run_its_tables_and_a_document(entry: Path):
    sweep, data = write_sweep(entry), write_fictional(entry / "otters")
    behave(entry, fail=["conditional"])
    arguments = ("experiment", sweep, "--data", f"otters={data}", "--out", entry / "out", "--save", entry / "saved")
    result = call(*arguments, "--seeds", "1", "--only", "CPD", "--only", "text only")
    assert result.exit_code == FAILED
    assert "1 runs done" in result.output and "failed: Otters | tiny | CPD | seed 1" in result.output
    behave(entry)
    result = call(*arguments)
    assert result.exit_code == 0 and "7 runs done, 1 were finished before" in result.output
    document = entry / "results.md"
    document.write_text("<!-- cotpd experiment: small.yaml -->\n<!-- end of cotpd experiment -->\n")
    assert call("experiment", "--write", document, "--runs", entry / "saved").exit_code == 0
    assert "agrees" in call("experiment", "--check", document, "--runs", entry / "saved").output
    document.write_text(document.read_text().replace("2 of 2", "3 of 2", 1))
    with pytest.raises(DataError, match="Regenerate"):
        call("experiment", "--check", document, "--runs", entry / "saved")
    assert call("experiment", sweep, "--data", f"otters={data}", "--out", entry / "out", "--tables").exit_code == 0
    assert len(calls(entry)) == 9


def test_faulty_calls_are_told(entry: Path):
    sweep, document = write_sweep(entry), entry / "results.md"
    document.write_text("<!-- cotpd experiment: small.yaml -->\n<!-- end of cotpd experiment -->\n")
    with pytest.raises(SettingError, match="nothing to do"):
        call("experiment")
    with pytest.raises(SettingError, match="NAME=DIR"):
        call("experiment", sweep, "--data", "otters")
    with pytest.raises(DataError, match="not a prepared folder"):
        call("experiment", sweep, "--data", f"otters={entry}")
    with pytest.raises(DataError, match=r"no runs\.parquet"):
        call("experiment", "--check", document, "--runs", entry)

"""Running: nothing twice, crashes resume, failures are reported and stop nothing, Ctrl-C leaves a resumable state."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from support.small_sweep import SWEEP, behave, calls, write_sweep

from experiments.plan import Plan
from experiments.runner import OUTPUT, SPEC_FILE, Runner, duration, locked, read_json
from experiments.sweep import read_sweep


def runner_of(tmp_path: Path, otters: Path, only: tuple[str, ...] = ()) -> Runner:
    plan = Plan(read_sweep(write_sweep(tmp_path)), only)
    return Runner(plan, {"otters": otters}, tmp_path / "out")


def test_a_finished_run_is_never_repeated(tmp_path: Path, otters: Path, stand_in: Path):
    outcome = runner_of(tmp_path, otters).run_all()
    assert len(outcome.done) == 8 and not outcome.failed
    again = runner_of(tmp_path, otters).run_all()
    assert len(again.finished_before) == 8 and not again.done
    assert len(calls(stand_in)) == 8
    assert "0 of 8 runs to do" in runner_of(tmp_path, otters).describe()[-1]


def test_another_sweep_finds_a_run_under_its_other_name(tmp_path: Path, otters: Path, stand_in: Path):
    runner_of(tmp_path, otters).run_all()
    rows = [{**row, "name": f"other {row['name']}"} for row in SWEEP["rows"]]
    data = {"otters_too": SWEEP["data"]["otters"]}
    columns = {"River": {"task": "mner", "data": "otters_too"}}
    path = write_sweep(tmp_path, rows=rows, data=data, columns=columns, baseline="other CPD", retention={})
    other = Runner(Plan(read_sweep(path)), {"otters_too": otters}, tmp_path / "out")
    assert len(other.run_all().finished_before) == 8
    assert len(calls(stand_in)) == 8


def test_a_failing_run_stops_no_other_and_a_crashed_one_resumes(tmp_path: Path, otters: Path, stand_in: Path):
    behave(stand_in, fail=["conditional"])
    outcome = runner_of(tmp_path, otters).run_all()
    assert len(outcome.done) == 6 and len(outcome.failed) == 2
    assert "set to fail" in next(iter(outcome.failed.values()))
    behave(stand_in)
    outcome = runner_of(tmp_path, otters).run_all()
    assert len(outcome.done) == 2 and len(outcome.finished_before) == 6
    assert [call.endswith("--resume_from_checkpoint true") for call in calls(stand_in)].count(True) == 2


def test_what_needs_a_failed_run_fails_with_it(tmp_path: Path, otters: Path, stand_in: Path):
    behave(stand_in, fail=["conditional"])
    same = {**SWEEP["rows"][3], "name": "CPD, again"}  # one run with two titles
    student = {"name": "student", "view": "prompt", "settings": {"distill_from": {"run": "CPD, again"}}}
    path = write_sweep(tmp_path, rows=[*SWEEP["rows"], same, student], seeds=[0])
    outcome = Runner(Plan(read_sweep(path)), {"otters": otters}, tmp_path / "out").run_all()
    assert list(outcome.failed) == [f"Otters | tiny | {row} | seed 0" for row in ("CPD", "student")]
    assert "the run it needs is not finished" in outcome.failed["Otters | tiny | student | seed 0"]


def test_checkpoints_go_and_weights_stay(tmp_path: Path, otters: Path, stand_in: Path):
    behave(stand_in, crash_once=True)
    runner = runner_of(tmp_path, otters, ("CPD",))
    runner.run_all()
    assert (runner.folder(runner.plan.runs[0]) / OUTPUT / "checkpoint-1").is_dir()
    assert "to resume" in runner.describe()[0]
    runner.run_all()
    output = runner.folder(runner.plan.runs[0]) / OUTPUT
    assert not (output / "checkpoint-1").exists() and (output / "model.safetensors").is_file()


def test_cost_is_reported_from_finished_runs(tmp_path: Path, otters: Path, stand_in: Path):
    first = runner_of(tmp_path, otters)
    assert first.describe()[-1].endswith("estimated time: 0 s and 8 runs of unknown length")
    runner_of(tmp_path, otters, ("CPD",)).run_all()
    for run in first.plan.runs:
        path = first.folder(run) / "run.json"
        if path.is_file():
            path.write_text(json.dumps({**read_json(path), "seconds": 600.0}))
    assert first.describe()[-1] == "6 of 8 runs to do; estimated time: 1 h 00 min"


def test_missing_data_is_left_out(tmp_path: Path, otters: Path, stand_in: Path):
    runner = runner_of(tmp_path, otters, ("CPD",))
    assert set(Runner(runner.plan, {}, tmp_path / "out").run_all().left_out.values()) == {"needs otters"}


def test_a_run_in_other_hands_and_what_needs_it_are_waited_for(
    tmp_path: Path, otters: Path, stand_in: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("experiments.runner.PATIENCE", 0.2)
    student = {"name": "student", "view": "prompt", "settings": {"distill_from": {"run": "CPD"}}}
    path = write_sweep(tmp_path, rows=[*SWEEP["rows"], student], seeds=[0])
    runner = Runner(Plan(read_sweep(path)), {"otters": otters}, tmp_path / "out")
    held = next(run for run in runner.plan.runs if run.row == "CPD")
    others = len(runner.plan.runs) - 2
    outcomes = []
    worker = threading.Thread(target=lambda: outcomes.append(runner.run_all()), daemon=True)
    with locked(runner.folder(held)) as free:
        assert free
        with locked(runner.folder(held)) as second:
            assert not second
        worker.start()
        while len(calls(stand_in)) < others:
            time.sleep(0.1)
        time.sleep(1)
        assert len(calls(stand_in)) == others, "neither the held run nor the one that needs it was begun"
    worker.join(60)
    assert len(outcomes[0].done) == others + 2 and not outcomes[0].failed
    assert len(calls(stand_in)) == others + 2


def test_what_another_process_has_finished_meanwhile_is_not_repeated(tmp_path: Path, otters: Path, stand_in: Path):
    behave(stand_in, sleep=1)
    first, second = (runner_of(tmp_path, otters, ("CPD",)) for _ in range(2))
    workers = [threading.Thread(target=runner.run_all) for runner in (first, second)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(calls(stand_in)) == len(first.plan.runs)


def test_ctrl_c_stops_the_run_and_the_next_call_goes_on(tmp_path: Path, otters: Path, stand_in: Path):
    behave(stand_in, sleep=120)
    runner = runner_of(tmp_path, otters, ("CPD",))

    def interrupt() -> None:
        while not calls(stand_in):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    start = time.monotonic()
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        runner.run_all()
    assert time.monotonic() - start < 100, "the run was ended, not waited for"
    assert read_json(runner.folder(runner.plan.runs[0]) / SPEC_FILE)["seconds"] > 0
    behave(stand_in)
    assert len(runner.run_all().done) == 2
    assert calls(stand_in)[1].endswith("--resume_from_checkpoint true")


def test_another_command_leaves_predictions_and_no_results(tmp_path: Path, otters: Path, stand_in: Path):
    script = (
        "import pathlib, sys; out = pathlib.Path(sys.argv[1]); out.mkdir(); (out / 'predictions.test.jsonl').touch()"
    )
    row = {"name": "other", "view": "prompt", "command": [sys.executable, "-c", script, "{output}"]}
    path = write_sweep(tmp_path, rows=[*SWEEP["rows"], row], seeds=[0])
    runner = Runner(Plan(read_sweep(path), ["other"]), {"otters": otters}, tmp_path / "out")
    assert len(runner.run_all().done) == 1 and not calls(stand_in)
    assert len(runner.run_all().finished_before) == 1
    failing = {**row, "command": [sys.executable, "-c", "raise SystemExit('no knowledge')"]}
    path = write_sweep(tmp_path, rows=[*SWEEP["rows"], failing], seeds=[0])
    runner = Runner(Plan(read_sweep(path), ["other"]), {"otters": otters}, tmp_path / "out")
    for _ in range(2):
        assert "no knowledge" in next(iter(runner.run_all().failed.values()))


def test_duration():
    assert [duration(seconds) for seconds in (None, 40, 780, 7500)] == ["unknown", "40 s", "13 min", "2 h 05 min"]

"""Which runs there are, and what makes two the same."""

from pathlib import Path

import pytest
from support.small_sweep import SWEEP, write_fictional, write_sweep

from experiments.plan import Plan
from experiments.runner import Runner
from experiments.sweep import read_sweep
from modeling_cotpd.data.prepared import read_prepared, write_prepared
from modeling_cotpd.errors import SettingError


def plan_of(folder: Path, only: tuple[str, ...] = (), **changes) -> Plan:
    return Plan(read_sweep(write_sweep(folder, **changes)), only)


def test_rows_that_differ_in_their_view_share_their_runs(tmp_path: Path):
    both = {"name": "CPD, knowledge", "view": "knowledge", "settings": {"prompt_type": "conditional"}}
    plan = plan_of(tmp_path, rows=[*SWEEP["rows"], both])
    assert len(plan.runs) == 8
    assert plan.cell("Otters", "tiny", "CPD", 0).declared == plan.cell("Otters", "tiny", "CPD, knowledge", 0).declared
    assert [run.seed for run in plan.runs] == [0] * 4 + [1] * 4


def test_only_names_cells(tmp_path: Path):
    assert [run.row for run in plan_of(tmp_path, ("CPD", "tiny")).runs] == ["CPD", "CPD"]
    with pytest.raises(SettingError, match=r"nothing called 'CDP'. Did you mean 'CPD'\?"):
        plan_of(tmp_path, ("CDP",))
    with pytest.raises(SettingError, match=r"Rows, columns and encoders are:\n  CPD\n"):
        plan_of(tmp_path, ("a long way from all of them",))


def test_settings_without_effect_do_not_count_and_others_do(tmp_path: Path):
    usual = plan_of(tmp_path).runs[0].declared
    settings = SWEEP["settings"]
    assert plan_of(tmp_path, settings={**settings, "logging_steps": 7}).runs[0].declared == usual
    assert plan_of(tmp_path, settings={**settings, "max_length": 99}).runs[0].declared != usual


def test_the_key_follows_the_data(tmp_path: Path, otters: Path):
    plan = plan_of(tmp_path)
    folders = {"otters": otters}
    key = plan.key(plan.runs[0], folders)
    assert plan.key(plan.runs[0], {"otters": write_fictional(tmp_path / "copy")}) == key
    splits, info = read_prepared(otters)
    splits["train"] = splits["train"].map(lambda row: {"cot_noun": row["cot_noun"].replace("Holt", "Howe")})
    write_prepared(dict(splits), info, tmp_path / "new")
    assert plan.key(plan.runs[0], {"otters": tmp_path / "new"}) != key


def test_a_model_is_evaluated_on_other_data(tmp_path: Path):
    columns = {
        "Otters": {"task": "mner", "data": "otters"},
        "Otters to Badgers": {"task": "mner", "data": "otters", "evaluate_on": "badgers"},
    }
    plan = plan_of(tmp_path, columns=columns, seeds=[0])
    assert len(plan.runs) == 8, "the evaluated models are those of the first column"
    run = plan.cell("Otters to Badgers", "tiny", "CPD", 0)
    assert run.data == "badgers" and not run.trains
    assert run.needs["model_name_or_path"][0].declared == plan.cell("Otters", "tiny", "CPD", 0).declared
    assert plan.runs.index(run) > plan.runs.index(plan.cell("Otters", "tiny", "CPD", 0))


def test_a_model_that_is_evaluated_on_other_data_learns_from_trained_models(tmp_path: Path):
    columns = {
        "Otters": {"task": "mner", "data": "otters"},
        "Otters to Badgers": {"task": "mner", "data": "otters", "evaluate_on": "badgers"},
    }
    row = {"name": "student", "view": "prompt", "settings": {"distill_from": {"run": "CPD"}}}
    plan = plan_of(tmp_path, columns=columns, rows=[*SWEEP["rows"], row], seeds=[0])
    trained = plan.cell("Otters to Badgers", "tiny", "student", 0).needs["model_name_or_path"][0]
    assert trained.declared == plan.cell("Otters", "tiny", "student", 0).declared
    assert [need.trains for need in trained.needs["distill_from"]] == [True]


def test_a_row_may_take_the_model_of_another(tmp_path: Path):
    row = {"name": "from CPD", "view": "prompt", "settings": {"model_name_or_path": {"run": "CPD"}}}
    plan = plan_of(tmp_path, rows=[*SWEEP["rows"], row])
    run = plan.cell("Otters", "tiny", "from CPD", 1)
    assert run.needs["model_name_or_path"][0].row == "CPD" and run.needs["model_name_or_path"][0].seed == 1
    circle = {"name": "CPD", "view": "prompt", "settings": {"model_name_or_path": {"run": "from CPD"}}}
    with pytest.raises(SettingError, match="its own model"):
        plan_of(tmp_path, rows=[*SWEEP["rows"][:3], circle, row])


def test_a_row_may_take_the_models_of_several_seeds(tmp_path: Path):
    row = {"name": "student", "view": "prompt", "settings": {"distill_from": {"run": "CPD", "seeds": [0, 1]}}}
    plan = plan_of(tmp_path, rows=[*SWEEP["rows"], row])
    for seed in (0, 1):
        needs = plan.cell("Otters", "tiny", "student", seed).needs["distill_from"]
        assert [(need.row, need.seed) for need in needs] == [("CPD", 0), ("CPD", 1)]
    one = plan_of(tmp_path, rows=[*SWEEP["rows"], {**row, "settings": {"distill_from": {"run": "CPD"}}}])
    student = one.cell("Otters", "tiny", "student", 0)
    assert [need.seed for need in student.needs["distill_from"]] == [0]
    assert student.declared != plan.cell("Otters", "tiny", "student", 0).declared
    folders = {"otters": tmp_path / "otters"}
    write_fictional(folders["otters"])
    recipe = Runner(plan, folders, tmp_path / "out").recipe(plan.cell("Otters", "tiny", "student", 1))
    assert len(set(recipe["distill_from"])) == 2 and all(path.endswith("output") for path in recipe["distill_from"])
    assert isinstance(Runner(one, folders, tmp_path / "out").recipe(student)["distill_from"], str)


def test_a_retired_row_is_not_run_and_keeps_its_saved_runs(tmp_path: Path):
    rows = [{**row, "retired": row["name"] == "CPD"} for row in SWEEP["rows"]]
    plan = plan_of(tmp_path, rows=rows)
    assert {run.row for run in plan.runs} == {row["name"] for row in SWEEP["rows"]} - {"CPD"}
    assert (
        plan.cell("Otters", "tiny", "CPD", 0).declared == plan_of(tmp_path).cell("Otters", "tiny", "CPD", 0).declared
    )


def test_another_command_is_another_run(tmp_path: Path, otters: Path):
    row = {"name": "other", "view": "prompt", "settings": SWEEP["rows"][3]["settings"]}
    plan = plan_of(tmp_path, rows=[*SWEEP["rows"], {**row, "command": ["cotpd", "check", "{data}", "{seed}"]}])
    run = plan.cell("Otters", "tiny", "other", 1)
    assert run.declared != plan.cell("Otters", "tiny", "CPD", 1).declared
    runner = Runner(plan, {"otters": otters}, tmp_path / "out")
    assert runner.command(run)[-3:] == ["check", str(otters), "1"]

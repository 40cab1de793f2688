"""`cotpd train` gives recipes and flags to the run, and says in one line what it cannot run."""

import pytest

from modeling_cotpd.cli.main import main
from modeling_cotpd.training import arguments


def test_recipes_and_flags_are_passed_on(monkeypatch):
    ran = []
    monkeypatch.setattr(arguments, "run_recipe", ran.append)
    assert main(["train", "sample_mner", "other.yaml", "--seed", "3", "--output_dir", "out"]) == 0
    assert ran == [["sample_mner", "other.yaml", "--seed", "3", "--output_dir", "out"]]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--output_dir", "out"], "the following arguments are required: --dataset_dir/--dataset-dir"),
        (["--learning_rate", "fast"], "argument --learning_rate/--learning-rate: invalid float value: 'fast'"),
    ],
)
def test_a_wrong_flag_is_one_line(capsys, tmp_path, flags, says):
    (tmp_path / "own.yaml").write_text("seed: 1\n", "utf-8")
    assert main(["train", str(tmp_path / "own.yaml"), *flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"cotpd: command line: {says}. All settings: cotpd train --settings")
    assert error.count("\n") == 1


def test_settings_are_listed(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--settings"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and shown.startswith("usage: [RECIPE ...] [--flag value ...]")
    assert "--knowledge_placement" in shown and "--learning_rate" in shown


def test_a_recipe_that_is_not_there(capsys):
    assert main(["train", "sample_mnre"]) == 2
    assert capsys.readouterr().err.startswith("cotpd: There is no recipe 'sample_mnre'. Did you mean 'sample_m")

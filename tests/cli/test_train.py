"""`cotpd train` gives recipes and flags to the run, and says in one line what it cannot run."""

from modeling_cotpd.cli.main import main
from modeling_cotpd.training import arguments


def test_recipes_and_flags_are_passed_on(monkeypatch):
    ran = []
    monkeypatch.setattr(arguments, "run_recipe", ran.append)
    assert main(["train", "sample_mner", "other.yaml", "--seed", "3", "--output_dir", "out"]) == 0
    assert ran == [["sample_mner", "other.yaml", "--seed", "3", "--output_dir", "out"]]


def test_a_recipe_that_is_not_there(capsys):
    assert main(["train", "sample_mnre"]) == 2
    assert capsys.readouterr().err.startswith("cotpd: There is no recipe 'sample_mnre'. Did you mean 'sample_m")

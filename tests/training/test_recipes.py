"""A run from Python, by recipes and flags; the script of the data's task runs."""

import pytest

from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import CoTPDError, SettingError
from modeling_cotpd.training import recipes
from modeling_cotpd.training.recipes import run_recipe


@pytest.mark.parametrize("task", ["mner", "mre"])
def test_the_script_of_the_task_runs_with_the_arguments(tmp_path, monkeypatch, task):
    row = {"id": "a", "tokens": ["a", "b"], "ner_tags": ["O", "O"]}
    if task == "mre":
        row |= {"head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2}, "relation": "None"}
    names = {"mner": ["O", "B-X", "I-X"], "mre": ["None"]}[task]
    write_prepared({"train": make_split([row], task, names, "t")}, DatasetInfo("x", task, names), tmp_path / "data")
    (tmp_path / "recipe.yaml").write_text("seed: 3\nprompt_length: 5\n", "utf-8")
    ran = []

    def run_path(path: str) -> dict:
        return {"run": lambda *arguments: ran.append((path, *arguments)) or {"ran": True}}

    monkeypatch.setattr(recipes.runpy, "run_path", run_path)
    flags = ["--dataset_dir", str(tmp_path / "data"), "--output_dir", str(tmp_path / "out"), "--use_cpu", "true"]
    assert run_recipe([str(tmp_path / "recipe.yaml"), *flags, "--seed", "4"]) == {"ran": True}
    ((path, model_args, data_args, args),) = ran
    assert path.endswith(f"run_{task}.py")
    assert (model_args.prompt_length, args.seed, data_args.dataset_dir) == (5, 4, str(tmp_path / "data"))


def test_no_such_recipe_and_no_such_data(tmp_path):
    with pytest.raises(SettingError, match="There is no recipe 'nothing'"):
        run_recipe(["nothing", "--dataset_dir", "d", "--output_dir", str(tmp_path)])
    with pytest.raises(CoTPDError):
        run_recipe(["--dataset_dir", str(tmp_path / "no"), "--output_dir", str(tmp_path), "--use_cpu", "true"])

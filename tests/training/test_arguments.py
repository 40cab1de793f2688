"""Recipes and the command line."""

from pathlib import Path

import pytest
import yaml

from modeling_cotpd.data.prepared import DatasetInfo, write_prepared
from modeling_cotpd.data.schema import make_split
from modeling_cotpd.errors import CoTPDError, SettingError
from modeling_cotpd.training.arguments import (
    DataArguments,
    ModelArguments,
    find_recipe,
    parse_arguments,
    read_recipe,
    run_recipe,
    run_script,
)
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

KINDS = (ModelArguments, DataArguments, CoTPDTrainingArguments)
ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "configuration"
RECIPES = sorted(CONFIGURATION.glob("*.yaml"))
COMPLETE = [CONFIGURATION / f"{name}.yaml" for name in ("mner", "mre", "custom", "sample_mner", "sample_mre")]
"""Recipes that stand alone; the others, and the presets of encoders, follow one of these."""
ADDITIONS = sorted({*RECIPES, *(CONFIGURATION / "encoders").glob("*.yaml")} - set(COMPLETE))


def parse(tmp_path, recipe: str | None, *flags: str) -> tuple:
    argv = list(flags)
    if recipe is not None:
        path = tmp_path / "recipe.yaml"
        path.write_text(recipe, "utf-8")
        argv = [str(path), *argv]
    return parse_arguments(KINDS, argv)


BASIC = f"dataset_dir: data/x\nuse_cpu: true\nreport_to: none\noutput_dir: {'out'}\n"


class TestRecipes:
    def test_yaml_gives_defaults_and_the_command_line_wins(self, tmp_path):
        recipe = BASIC + "prompt_length: 5\nlearning_rate: 2.0e-4\nalpha: 3\nseed: 4\ndo_train: true\n"
        model, data, training = parse(tmp_path, recipe, "--prompt_length", "6", "--alpha=0.25", "--do_train", "false")
        assert (model.prompt_length, data.dataset_dir) == (6, "data/x")
        assert (training.alpha, training.learning_rate, training.seed, training.do_train) == (0.25, 2e-4, 4, False)
        assert model.prompt_type == "conditional"

    def test_no_recipe(self, tmp_path):
        model, data, _ = parse(
            tmp_path, None, "--dataset_dir", "d", "--output_dir", str(tmp_path), "--use_cpu", "true"
        )
        assert (data.dataset_dir, model.model_name_or_path) == ("d", "embedded-minilm")

    @pytest.mark.parametrize(
        ("line", "name", "expected"),
        [
            ("learning_rate: 3e-5", "learning_rate", 3e-5),  # a string to YAML
            ("learning_rate: 1", "learning_rate", 1.0),
            ("alpha: '0.5'", "alpha", 0.5),
            ("num_train_epochs: 5", "num_train_epochs", 5.0),
            ("warmup_steps: 0.1", "warmup_steps", 0.1),
            ("seed: 7", "seed", 7),
            ("use_crf: yes", "use_crf", True),
            ("use_crf: 'true'", "use_crf", True),
            ("use_crf: false", "use_crf", False),
            ("load_best_model_at_end: false", "load_best_model_at_end", False),
            ("new_parameters_learning_rate: 2.0e-3", "new_parameters_learning_rate", 2e-3),
            ("max_train_samples: null", "max_train_samples", None),
            ("prompt_type: none", "prompt_type", "none"),
            ("knowledge_columns: [caption, cot_noun]", "knowledge_columns", ["caption", "cot_noun"]),
            ("knowledge_columns: caption", "knowledge_columns", ["caption"]),
            ("knowledge_columns: none", "knowledge_columns", []),
            ("knowledge_columns: [none]", "knowledge_columns", []),
            ("unlabelled_dataset_dir: data/y", "unlabelled_dataset_dir", ["data/y"]),
            ("unlabelled_dataset_dir: [a, b]", "unlabelled_dataset_dir", ["a", "b"]),
            ("lora_target_modules: query", "lora_target_modules", ["query"]),
            ("resume_from_checkpoint: true", "resume_from_checkpoint", "true"),
            ("resume_from_checkpoint: false", "resume_from_checkpoint", None),
            ("resume_from_checkpoint: out/checkpoint-5", "resume_from_checkpoint", "out/checkpoint-5"),
        ],
    )
    def test_values(self, tmp_path, line, name, expected):
        parsed = parse(tmp_path, BASIC + line + "\n")
        (value,) = (getattr(kind, name) for kind in parsed if hasattr(kind, name))
        assert value == expected and type(value) is type(expected)

    @pytest.mark.parametrize(
        "line", ["seed: 4.5", "prompt_length: eight", "max_length: true", "alpha: high", "use_crf: 7x"]
    )
    def test_wrong_types_are_refused(self, tmp_path, line):
        with pytest.raises(SettingError, match=line.split(":")[0]):
            parse(tmp_path, BASIC + line)

    @pytest.mark.parametrize(
        ("flag", "value", "expected"),
        [
            ("--knowledge_columns", ["caption", "cot_noun"], ["caption", "cot_noun"]),
            ("--knowledge_columns", ["none"], []),
            ("--resume_from_checkpoint", ["true"], "true"),
            ("--resume_from_checkpoint", ["False"], None),
        ],
    )
    def test_flags(self, tmp_path, flag, value, expected):
        parsed = parse(tmp_path, BASIC, flag, *value)
        (got,) = (getattr(kind, flag[2:]) for kind in parsed if hasattr(kind, flag[2:]))
        assert got == expected

    @pytest.mark.parametrize(
        ("recipe", "message"),
        [
            ("prompt_lenght: 4\n", r"recipe.yaml: Unknown key 'prompt_lenght'. Did you mean 'prompt_length'\?"),
            ("zzzzqqq: 4\n", "recipe.yaml: Unknown key 'zzzzqqq'. Remove it."),
            ("3: 4\n", "Unknown key 3"),
            ("_n_gpu: 4\n", "Unknown key '_n_gpu'"),
            ("- a\n- b\n", "does not hold 'key: value' lines"),
            ("a: [b\n", "This is not YAML"),
            ("just words\n", "does not hold"),
        ],
    )
    def test_bad_recipes(self, tmp_path, recipe, message):
        with pytest.raises(SettingError, match=message):
            parse(tmp_path, recipe)

    def test_bytes_that_are_no_text(self, tmp_path):
        (tmp_path / "r.yaml").write_bytes(b"seed: \xff\xfe\n")
        with pytest.raises(SettingError, match=r"r.yaml: This is not YAML"):
            read_recipe(tmp_path / "r.yaml", ["seed"])

    def test_an_empty_recipe_is_no_settings(self, tmp_path):
        (tmp_path / "r.yaml").write_text("# nothing\n", "utf-8")
        assert read_recipe(tmp_path / "r.yaml", ["seed"]) == {}

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (["--logging_steps", "0"], "command line: .*logging_steps"),
            (["--load_best_model_at_end", "true", "--eval_strategy", "no"], "command line: .*load_best_model_at_end"),
            (["--lr_scheduler_kwargs", "{x"], "command line: "),
        ],
    )
    def test_what_transformers_refuses_is_one_line(self, tmp_path, flags, message):
        with pytest.raises(SettingError, match=message) as error:
            parse(tmp_path, BASIC, *flags)
        assert "\n" not in str(error.value)

    def test_a_missing_recipe(self, tmp_path):
        with pytest.raises(SettingError, match=r"nowhere\.yaml: There is no such file"):
            parse_arguments(KINDS, [str(tmp_path / "nowhere.yaml")])

    @pytest.mark.parametrize("kind", ["aliases", "size", "depth"])
    def test_a_recipe_cannot_grow_without_bound(self, tmp_path, kind):
        lines = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
        text = {"aliases": "\n".join(lines), "size": "# " + "x" * 1_100_000, "depth": "a: " + "[" * 50_000}[kind]
        (tmp_path / "r.yaml").write_text(text, "utf-8")
        with pytest.raises(SettingError) as error:
            read_recipe(tmp_path / "r.yaml", ["seed"])
        assert len(str(error.value)) < 1000
        assert {"aliases": "aliases", "size": "more than 1,000,000 bytes", "depth": "not YAML"}[kind] in str(
            error.value
        )

    def test_a_recipe_by_its_name(self, tmp_path):
        name = RECIPES[0].stem
        assert find_recipe(name) == RECIPES[0] and find_recipe(str(RECIPES[0])) == RECIPES[0]
        with pytest.raises(SettingError, match=f"There is no recipe '{name}x'. Did you mean '{name}'"):
            find_recipe(f"{name}x")

    def test_run_scripts_of_both_tasks(self):
        assert run_script("mner") == ROOT / "run_mner.py" and run_script("mre").is_file()

    def test_a_misspelt_flag(self, tmp_path):
        with pytest.raises(SettingError, match=r"Unknown argument '--learning_rat'. Did you mean '--learning_rate'\?"):
            parse(tmp_path, BASIC, "--learning_rat", "1")
        with pytest.raises(
            SettingError, match=r"Unknown argument '--prompt_lenght'. Did you mean '--prompt_length'\?"
        ):
            parse(tmp_path, BASIC, "--prompt_lenght", "4")

    def test_a_recipe_behind_the_flags(self, tmp_path):
        (tmp_path / "recipe.yaml").write_text(BASIC, "utf-8")
        with pytest.raises(SettingError, match="Recipes come first"):
            parse_arguments(KINDS, ["--dataset_dir", "d", "--output_dir", "o", str(tmp_path / "recipe.yaml")])

    def test_the_data_set_is_required(self, tmp_path):
        with pytest.raises(SettingError, match="--dataset_dir"):
            parse(tmp_path, "seed: 1\n")


class TestRanges:
    def test_an_unknown_knowledge_column(self):
        with pytest.raises(
            SettingError, match=r"unknown column 'captions'\. Choose from caption, cot_noun.*or 'none'"
        ):
            DataArguments(dataset_dir="d", knowledge_columns=["captions"])

    @pytest.mark.parametrize(
        "name", ["max_train_samples", "max_labelled_samples", "max_eval_samples", "max_predict_samples"]
    )
    def test_samples(self, name):
        with pytest.raises(SettingError, match=f"{name} must be at least 1, got 0"):
            DataArguments(dataset_dir="d", **{name: 0})

    @pytest.mark.parametrize("name", ["sample_seed", "preprocessing_num_workers"])
    def test_numbers_that_are_not_negative(self, name):
        with pytest.raises(SettingError, match=f"{name} must be at least 0, got -1"):
            DataArguments(dataset_dir="d", **{name: -1})

    def test_a_column_twice(self):
        with pytest.raises(SettingError, match="names a column twice"):
            DataArguments(dataset_dir="d", knowledge_columns=["caption", "caption"])


@pytest.mark.parametrize("path", [*COMPLETE, *ADDITIONS], ids=lambda path: path.stem)
def test_every_recipe_parses(path, tmp_path):
    # a recipe for a graphics card must parse on a machine without one
    flags = ["--output_dir", str(tmp_path), "--dataset_dir", "d", "--bf16", "false", "--use_cpu", "true"]
    recipes = [path] if path in COMPLETE else [CONFIGURATION / "mner.yaml", path]
    parsed = parse_arguments(KINDS, [*map(str, recipes), *flags])
    written = yaml.safe_load(path.read_text("utf-8"))
    for name, value in written.items():
        if name in ("output_dir", "dataset_dir", "bf16", "fp16", "use_cpu"):
            assert not isinstance(value, str) or not Path(value).is_absolute()
            continue
        (found,) = (getattr(kind, name) for kind in parsed if hasattr(kind, name))
        if isinstance(value, str | int | float) and not isinstance(found, list):
            spellings = {str(value).lower(), str(float(value)) if not isinstance(value, str) else ""}
            assert str(getattr(found, "value", found)).lower() in spellings


def test_a_later_recipe_overrides_an_earlier_one_and_flags_override_both(tmp_path):
    names = ("a.yaml", "b.yml")
    for name, text in zip(
        names, (BASIC + "prompt_length: 5\nalpha: 3\nseed: 4\n", "alpha: 2\nseed: 7\n"), strict=True
    ):
        (tmp_path / name).write_text(text, "utf-8")
    model, data, training = parse_arguments(KINDS, [*(str(tmp_path / name) for name in names), "--seed", "9"])
    assert (model.prompt_length, data.dataset_dir, training.alpha, training.seed) == (5, "data/x", 2.0, 9)
    (tmp_path / "b.yml").write_text("alfa: 2\n", "utf-8")
    with pytest.raises(SettingError, match=r"b\.yml: Unknown key 'alfa'. Did you mean 'alpha'"):
        parse_arguments(KINDS, [str(tmp_path / name) for name in names])


def test_the_recipe_of_a_task_is_that_of_its_smallest_encoder(tmp_path):
    """Saved runs were made with these values; another value would be another run."""
    flags = ["--dataset_dir", "d", "--output_dir", str(tmp_path), "--use_cpu", "true"]
    for name in ("mner", "mre"):
        model, data, training = parse_arguments(KINDS, [str(CONFIGURATION / f"{name}.yaml"), *flags])
        assert (model.model_name_or_path, data.max_length) == ("embedded-minilm", 192)
        assert (training.learning_rate, training.new_parameters_learning_rate) == (2e-4, 2e-3)
        assert (training.per_device_train_batch_size, training.num_train_epochs, training.warmup_steps) == (16, 5, 0.1)
        assert training.load_best_model_at_end and training.metric_for_best_model == "eval_prompt_f1"


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

    monkeypatch.setattr("runpy.run_path", run_path)
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

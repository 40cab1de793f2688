"""The sweep's schema, and every sweep that comes with the project."""

from pathlib import Path

import pytest
from support.small_sweep import SWEEP, write_sweep

from experiments.plan import Plan
from experiments.sweep import read_sweep
from modeling_cotpd.errors import SettingError

FOLDER = Path(__file__).parents[2] / "configuration" / "experiments"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_sweep_of_the_project_is_valid(path: Path):
    from modeling_cotpd.training.arguments import DataArguments, ModelArguments
    from modeling_cotpd.training.training_args import CoTPDTrainingArguments

    sweep = read_sweep(path)
    assert sweep.name == path.stem
    plan = Plan(sweep)
    kinds = (ModelArguments, DataArguments, CoTPDTrainingArguments)
    known = {name for kind in kinds for name in kind.__dataclass_fields__}
    unknown = {name for run in plan.runs if not run.command for name in run.settings} - known
    assert not unknown
    for run in plan.runs:
        assert run.settings["model_name_or_path"]
        if run.settings.get("eval_views") != "prompt":
            assert run.settings.get("knowledge_columns") != ["none"], run.title
    for column in sweep.columns:
        for row in (row for row in sweep.rows_of(column) if row.view and not row.command):
            views = plan.cell(column, next(iter(sweep.encoders)), row.name, sweep.seeds[0]).settings.get("eval_views")
            assert views in (None, "both", row.view), row.name


def test_a_row_stands_for_every_point_of_each(tmp_path: Path):
    row = {
        "name": "{size} posts",
        "view": "prompt",
        "each": {"size": [50, 100]},
        "settings": {"max_train_samples": "{size}", "run_name": "s{size}"},
    }
    sweep = read_sweep(write_sweep(tmp_path, rows=[*SWEEP["rows"], row]))
    assert [row.name for row in sweep.rows[-2:]] == ["50 posts", "100 posts"]
    assert sweep.rows[-1].settings == {"max_train_samples": 100, "run_name": "s100"}
    assert sweep.rows[-1].point == {"size": 100}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seedz": [1]}, "Did you mean 'seeds'"),
        ({"baseline": "nothing"}, "no row 'nothing'"),
        ({"rows": [{"name": "a", "view": "prompt", "control": "b"}]}, "no row 'b'"),
        ({"columns": {"A": {"task": "ner", "data": "otters"}}}, "no task 'ner'"),
        ({"columns": {"A": {"task": "mner", "data": "voles"}}}, "no data 'voles'"),
        ({"rows": [{"name": "a", "view": "teacher"}]}, "no view 'teacher'"),
        ({"rows": [{"name": "a", "view": "prompt"}, {"name": "a", "view": "prompt"}]}, "Two rows are called 'a'"),
        ({"reading": "loose"}, "no reading 'loose'"),
        ({"rows": [{"name": "a"}]}, "no view, no mix and no published score"),
        ({"rows": ["a"]}, "'key: value' lines"),
        ({"columns": ["A"]}, "wrong form"),
        ({"rows": [{"name": "a", "mix": {"text": "a", "knowledge": "a", "share": 1}}]}, "key 'by' is missing"),
        ({"data": {"otters": {}}}, "'prepare'"),
        ({"data": {"otters": {"given": "a", "prepare": "sample"}}}, "'prepare'"),
        ({"data": {"more": {"augment": "otters"}, "otters": {"given": "a"}}}, "no data 'otters' above it"),
        ({"rows": [{"name": "a", "view": "prompt", "settings": {"distill_from": {"runs": "a"}}}]}, "key 'runs'"),
    ],
)
def test_a_faulty_sweep_is_refused(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(SettingError, match=message):
        read_sweep(write_sweep(tmp_path, **{"retention": {}, **changes}))


def test_later_settings_win(tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text("alpha: 1\nseed: 9\nmax_length: 8\nlearning_rate: 1\nuse_crf: false\n")
    (tmp_path / "preset.yaml").write_text("model_name_or_path: large\nlearning_rate: 3\nmax_length: 64\n")
    columns = {"Otters": {"task": "mner", "data": "otters", "recipe": "recipe.yaml", "settings": {"use_crf": True}}}
    encoders = {"large": {"preset": "preset.yaml", "max_length": 32}}
    changes = {"columns": columns, "encoders": encoders, "settings": {"alpha": 2}}
    run = Plan(read_sweep(write_sweep(tmp_path, **changes))).cell("Otters", "large", "CPD", 1)
    wanted = {
        "alpha": 2,
        "seed": 1,
        "max_length": 32,
        "learning_rate": 3,
        "use_crf": True,
        "prompt_type": "conditional",
    }
    assert run.settings == {**wanted, "model_name_or_path": "large"}


def test_a_row_overrides_what_it_is_compared_with(tmp_path: Path):
    rows = [*SWEEP["rows"], {"name": "own", "view": "prompt", "baseline": "CPD", "knowledge": "[x; I]"}]
    sweep = read_sweep(write_sweep(tmp_path, rows=rows))
    assert (sweep.row("own").baseline, sweep.row("own").caption, sweep.row("own").knowledge) == (
        "CPD",
        "[x; I]",
        "[x; I]",
    )
    assert (sweep.row("CPD").baseline, sweep.row("CPD").knowledge) == ("text only", "knowledge at test time")


def test_published_scores_need_their_source(tmp_path: Path):
    rows = [{**SWEEP["rows"][0], "published": {"Otters": 80.0}}, *SWEEP["rows"][1:]]
    with pytest.raises(SettingError, match="source"):
        read_sweep(write_sweep(tmp_path, rows=rows))
    sweep = read_sweep(write_sweep(tmp_path, rows=rows, published_source="a paper"))
    assert sweep.rows[0].published == {"Otters": 80.0}


@pytest.mark.parametrize("key", ["title", "note", "columns", "retention", "settings", "seeds", "rows"])
def test_aliases_that_stand_for_gigabytes_are_refused(tmp_path: Path, key: str):
    lines = ["name: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"unused{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]" for number in range(1, 10)]
    (tmp_path / "bomb.yaml").write_text("\n".join([*lines, f"{key}: *a9"]), "utf-8")
    with pytest.raises(SettingError, match="more than 100,000 values") as refused:
        read_sweep(tmp_path / "bomb.yaml")
    assert len(str(refused.value)) < 1000


def test_an_alias_of_itself_is_refused(tmp_path: Path):
    (tmp_path / "loop.yaml").write_text("name: &a [*a]\n", "utf-8")
    with pytest.raises(SettingError, match="more than 100,000 values"):
        read_sweep(tmp_path / "loop.yaml")

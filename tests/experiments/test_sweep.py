"""The sweep's schema, and every sweep that comes with the project."""

from pathlib import Path

import pytest
from experiments.small_sweep import SWEEP, write_sweep

from modeling_cotpd.errors import SettingError
from modeling_cotpd.experiments.plan import Plan
from modeling_cotpd.experiments.sweep import read_sweep

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
    for run in plan.runs:
        assert not set(run.settings) - known, run.title
        assert run.settings["model_name_or_path"]
        if run.settings.get("eval_views") != "prompt":
            assert run.settings.get("knowledge_columns") != ["none"], run.title
    for column in sweep.columns:
        for row in sweep.rows_of(column):
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
        ({"columns": {"A": {"task": "ner", "data": "otters"}}}, "task must be one of"),
        ({"columns": {"A": {"task": "mner", "data": "voles"}}}, "no data 'voles'"),
        ({"rows": [{"name": "a", "view": "teacher"}]}, "view must be one of"),
        ({"rows": [{"name": "a", "view": "prompt"}, {"name": "a", "view": "prompt"}]}, "Two rows are called 'a'"),
        ({"reading": "loose"}, "no reading 'loose'"),
        ({"search": {"trials": 1, "low": 2.0, "high": 1.0}}, "low < high"),
        ({"data": {"otters": {}}}, "'prepare'"),
        ({"data": {"otters": {"given": "a", "prepare": "sample"}}}, "'prepare'"),
        ({"data": {"more": {"augment": "otters"}, "otters": {"given": "a"}}}, "no data 'otters' above it"),
        ({"rows": [{"name": "a", "view": "prompt", "settings": {"distill_from": {"runs": "a"}}}]}, "key 'runs'"),
    ],
)
def test_a_faulty_sweep_is_refused(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(SettingError, match=message):
        read_sweep(write_sweep(tmp_path, **{"retention": {}, **changes}))


def test_published_scores_need_their_source(tmp_path: Path):
    rows = [{**SWEEP["rows"][0], "published": {"Otters": 80.0}}, *SWEEP["rows"][1:]]
    with pytest.raises(SettingError, match="source"):
        read_sweep(write_sweep(tmp_path, rows=rows))
    sweep = read_sweep(write_sweep(tmp_path, rows=rows, published_source="a paper"))
    assert sweep.rows[0].published == {"Otters": 80.0}

"""A sweep through the real entry point: search, training, evaluation on other data, tables, resumption."""

import json
from pathlib import Path

import pytest
import transformers
from experiments.small_sweep import SWEEP, write_fictional, write_sweep
from tiny_models import tiny_encoder_config

from modeling_cotpd.experiments.launch import OUTPUT
from modeling_cotpd.experiments.plan import Plan
from modeling_cotpd.experiments.report import make_report
from modeling_cotpd.experiments.runner import Runner
from modeling_cotpd.experiments.search import search_learning_rate
from modeling_cotpd.experiments.sweep import Search, read_sweep


@pytest.fixture
def encoder(tmp_path: Path, wordpiece) -> Path:
    """A tiny random encoder with its tokenizer in a folder."""
    folder = tmp_path / "encoder"
    transformers.BertModel(tiny_encoder_config("bert"), add_pooling_layer=False).save_pretrained(folder)
    wordpiece.save_pretrained(folder)
    return folder


def settings_of(encoder: Path) -> dict:
    """Three epochs with a choice of the best."""
    return {
        **SWEEP["settings"],
        "model_name_or_path": str(encoder),
        "max_length": 40,
        "num_train_epochs": 3,
        "learning_rate": 1.0e-5,
        "new_parameters_learning_rate": 1.0e-3,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "load_best_model_at_end": True,
        "metric_for_best_model": "eval_prompt_f1",
        "report_to": "none",
        "use_cpu": True,
    }


def test_a_search_is_stored_and_resumed(tmp_path: Path, otters: Path, encoder: Path):
    recipe = tmp_path / "recipe.yaml"
    settings = {**settings_of(encoder), "dataset_dir": str(otters), "output_dir": str(tmp_path / "trials")}
    settings |= {"save_strategy": "no", "load_best_model_at_end": False, "disable_tqdm": True}
    recipe.write_text(json.dumps(settings))
    folder = tmp_path / "search"
    folder.mkdir()
    first = search_learning_rate(recipe, "mner", Search(trials=2), folder)
    assert len(first["tried"]) == 2 and first["metric"] == "eval_prompt_f1"
    second = search_learning_rate(recipe, "mner", Search(trials=3), folder)
    assert second["tried"][:2] == first["tried"] and len(second["tried"]) == 3
    assert len({trial["learning_rate"] for trial in second["tried"]}) == 3
    assert all(1e-6 <= trial["learning_rate"] <= 5e-5 for trial in second["tried"])
    assert second["objective"] == max(trial["eval_prompt_f1"] for trial in second["tried"])
    chosen = second["settings"]
    assert chosen["new_parameters_learning_rate"] == pytest.approx(100 * chosen["learning_rate"])
    assert json.loads((folder / "best.json").read_text()) == second


@pytest.mark.slow
def test_a_sweep_through_the_real_entry_point(tmp_path: Path, otters: Path, encoder: Path):
    columns = {
        "Otters": {"task": "mner", "data": "otters"},
        "Otters to Badgers": {"task": "mner", "data": "otters", "evaluate_on": "badgers"},
    }
    metric = {"metric_for_best_model": "eval_knowledge_f1"}
    rows = [
        {**row, "settings": {**row["settings"], **(metric if row["view"] == "knowledge" else {})}}
        for row in SWEEP["rows"]
    ]
    changes = {
        "columns": columns,
        "seeds": [0],
        "rows": rows,
        "settings": settings_of(encoder),
        "encoders": {"tiny": {}},
    }
    path = write_sweep(tmp_path, search={"trials": 1}, **changes)
    folders = {"otters": otters, "badgers": write_fictional(tmp_path / "badgers", "badgers")}
    runner = Runner(Plan(read_sweep(path)), folders, tmp_path / "out")
    outcome = runner.run_all()
    assert len(outcome.done) == 8, outcome.failed
    for run in runner.plan.runs:
        results = json.loads((runner.folder(run) / OUTPUT / "results.json").read_text())
        assert results["dataset"]["name"] == ("otters" if run.trains else "badgers")
        assert not list((runner.folder(run) / OUTPUT).glob("checkpoint-*"))
    text = make_report(runner.plan, folders, runner.root)[1].read_text()
    assert "Otters to Badgers" in text and "1 of 1" in text and "model of another column" in text
    assert len(Runner(Plan(read_sweep(path)), folders, tmp_path / "out").run_all().finished_before) == 8

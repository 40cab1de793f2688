"""A sweep through the real entry point: training, evaluation on other data, tables, resumption."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import transformers
from support.small_sweep import SWEEP, write_fictional, write_sweep
from support.tiny_models import tiny_encoder_config

from experiments.__main__ import report
from experiments.plan import Plan
from experiments.runner import OUTPUT, Runner
from experiments.store import collect
from experiments.sweep import read_sweep


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
    path = write_sweep(tmp_path, **changes)
    folders = {"otters": otters, "badgers": write_fictional(tmp_path / "badgers", "badgers")}
    runner = Runner(Plan(read_sweep(path)), folders, tmp_path / "out")
    outcome = runner.run_all()
    assert len(outcome.done) == 8, outcome.failed
    for run in runner.plan.runs:
        results = json.loads((runner.folder(run) / OUTPUT / "results.json").read_text())
        assert results["dataset"]["name"] == ("otters" if run.trains else "badgers")
        assert not list((runner.folder(run) / OUTPUT).glob("checkpoint-*"))
    saved = collect(runner.plan, folders, runner.root)[0]
    (reading,) = saved["reading"].unique()
    shown = Plan(replace(runner.plan.sweep, reading=reading))
    text = report(shown, folders, runner.root)[0].read_text()
    assert "**Otters to Badgers**" in text and "(1)" in text and "trained on the other data set" in text
    assert len(Runner(Plan(read_sweep(path)), folders, tmp_path / "out").run_all().finished_before) == 8

"""Folders as a run leaves them, with a tiny random model, and with what must not be published beside it."""

import json
from pathlib import Path

import torch

from modeling_cotpd.training.model_card import write_model_card
from support.saved_models import save_tiny_model

SCORES = {"precision": 0.5, "recall": 0.25, "f1": 0.333333}


def results(task: str) -> dict:
    """What a run writes, with every place and address that it may hold."""
    return {
        "task": task,
        "encoder": "some/encoder",
        "dataset": {
            "name": "fiction",
            "captioner": "blip2",
            "knowledge": "tiny-teacher at http://10.0.0.7:8000/v1, dialogue mode",
            "splits": {"train": {"rows": 3, "gold_hash": "abc123"}, "test": {"rows": 2, "gold_hash": "def456"}},
            "provenance": {
                "captions": {"model": "/models/blip2-opt", "revision": None, "base_url": "http://10.0.0.7:9000/v1"},
                "knowledge": [
                    {
                        "teacher": "tiny-teacher",
                        "mode": "dialogue",
                        "shown": "caption",
                        "prompts": {"noun": "noun@1#a"},
                    }
                ],
            },
        },
        "knowledge_columns": ["caption"],
        "train_rows": 3,
        "seed": 1,
        "splits": {"test": {"prompt": SCORES, "knowledge": {**SCORES, "f1": 0.5}}},
        "settings": {
            "prompt_type": "conditional",
            "prompt_length": 3,
            "dataset_dir": "/home/someone/data",
            "model_name_or_path": "/models/encoder",
            "cache_dir": "/home/someone/cache",
        },
        "versions": {"torch": "2"},
        "machine": "Linux, 2 cores",
        "command": "run_mner.py --output_dir /home/someone/out",
    }


def write_run(folder: Path, task: str = "mner"):
    """Model, tokenizer, results, card, and beside them the files that stay; gives back the model."""
    model, _ = save_tiny_model(folder, task)
    (folder / "results.json").write_text(json.dumps(results(task)), "utf-8")
    write_model_card(folder, results(task), folder.name)
    (folder / "checkpoint-1").mkdir()
    torch.save({"state": 1}, folder / "checkpoint-1" / "optimizer.pt")
    torch.save({"arguments": 1}, folder / "training_args.bin")
    for name in ("run.json", "predictions.test.jsonl"):
        (folder / name).write_text("{}\n", "utf-8")
    return model

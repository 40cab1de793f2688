"""Stands in for an entry point in tests of the runner: reads a recipe, leaves what a run leaves, and trains nothing.

`behaviour.json` beside it says what else happens: `{"fail": [PROMPT_TYPE], "crash_once": true, "sleep": SECONDS}`.
Every call is noted in `calls.txt` beside it.
"""

import json
import random
import sys
import time
from pathlib import Path

import yaml

HERE = Path(__file__).parent
TAGS = ("B-PER", "B-LOC")


def main() -> None:
    recipe, *flags = sys.argv[1:]
    settings = yaml.safe_load(Path(recipe).read_text("utf-8"))
    behaviour = json.loads((HERE / "behaviour.json").read_text("utf-8"))
    output = Path(settings["output_dir"])
    with (HERE / "calls.txt").open("a", encoding="utf-8") as file:
        file.write(f"{output.parent.name} {' '.join(flags)}\n")
    output.mkdir(parents=True, exist_ok=True)
    (output / "run.json").write_text("{}")
    prompt = settings.get("prompt_type", "conditional")
    if prompt in behaviour.get("fail", []):
        sys.exit("the stand-in is set to fail")
    if behaviour.get("crash_once") and "--resume_from_checkpoint" not in flags:
        (output / "checkpoint-1").mkdir()
        sys.exit(1)
    time.sleep(behaviour.get("sleep", 0))
    info = json.loads((Path(settings["dataset_dir"]) / "dataset.json").read_text("utf-8"))
    views = {"prompt": ["prompt"], "knowledge": ["knowledge"]}.get(settings.get("eval_views"), ["prompt", "knowledge"])
    splits = {split: write_split(output, split, settings, views) for split in ("validation", "test")}
    columns = settings.get("knowledge_columns", ["caption"])
    recorded = {**settings, "knowledge_columns": [] if columns == ["none"] else columns}
    results = {
        "task": "mner",
        "reading": "words",
        "dataset": info,
        "knowledge_columns": recorded["knowledge_columns"],
        "train_rows": info["splits"]["train"]["rows"] if settings.get("do_train") else 0,
        "seed": settings["seed"],
        "splits": splits,
        "training": {},
        "settings": {
            "prompt_type": prompt,
            "learning_rate": 1e-4,
            "num_train_epochs": 1.0,
            "sample_seed": 0,
            **recorded,
        },
        "versions": {},
        "machine": "a test",
        "git_commit": None,
    }
    (output / "model.safetensors").write_text("weights")
    (output / "results.json").write_text(json.dumps(results))


def write_split(output: Path, split: str, settings: dict, views: list[str]) -> dict:
    """Predictions that are right more often for the knowledge view, and how often."""
    size, again = settings.get("max_train_samples", 50), settings.get("sample_seed", 0)
    dice = random.Random(f"{settings.get('prompt_type')} {settings['seed']} {split} {size} {again}")
    right = {
        "prompt": 0.5 + 0.002 * size + 0.05 * again,
        "knowledge": 0.9 if "cot_noun" in settings.get("knowledge_columns", []) else 0.3,
    }
    rows, counts = [], {view: [0, 0, 0] for view in views}
    for number in range(60):
        gold = ["O", TAGS[number % 2], "O"]
        row = {"id": str(number), "tokens": ["post", f"Name{number}", "said"], "gold": gold, "uncertainty": {}}
        for view in views:
            hit = dice.random() < right[view]
            row["uncertainty"][view] = dice.random() * (0.5 if hit else 1.0)
            row[view] = gold if hit else ["B-PER", "O", "O"] if dice.random() < 0.5 else ["O", "O", "O"]
            counts[view][0] += hit
            counts[view][1] += row[view] != ["O", "O", "O"]
            counts[view][2] += 1
        rows.append(row)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (output / f"predictions.{split}.jsonl").write_text(lines, "utf-8")
    return {view: scores(*count) for view, count in counts.items()}


def scores(correct: int, predicted: int, gold: int) -> dict:
    """As the entity score names them."""
    found = {"precision": correct / predicted, "recall": correct / gold, "f1": 2 * correct / (predicted + gold)}
    return {**found, **{f"strict_{name}": value for name, value in found.items()}, "accuracy": 0.5}


if __name__ == "__main__":
    main()

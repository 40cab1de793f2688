"""Train text-only students on Twitter-2015 and Twitter-2017 from the public files, in folders for the Hub.

    python examples/make_model.py --source raw --out outputs/model

For each data set, three teachers read the explanations inside the text. A student learns from them on the posts of its
own data set and, without labels, on the training posts of the other one. It reads the text alone. Its folder has the
model, its code, the card, the scores, and an 8-bit graph in `onnx`. What is finished is not made again. Options that
are not listed go to every training.
"""

import argparse
from pathlib import Path

from modeling_cotpd.cli.main import exit_code
from modeling_cotpd.data.prepare import PrepareOptions, prepare
from modeling_cotpd.inference.load import load_predictor
from modeling_cotpd.inference.onnx_model import export_onnx
from modeling_cotpd.training.arguments import run_recipe

OTHER = {"twitter2015": "twitter2017", "twitter2017": "twitter2015"}
SEEDS = (0, 1, 2)
"""Of the teachers."""


def train(recipe: str, data: Path, out: Path, flags: list[str]) -> Path:
    """Train with a recipe unless the run is finished, and return its folder."""
    if not (out / "results.json").is_file():
        print(f"\n{out}: mner, {recipe}", flush=True)
        run_recipe(["mner", recipe, "--dataset_dir", str(data), "--output_dir", str(out), *flags])
    return out


def make(name: str, data: dict[str, Path], out: Path, flags: list[str]) -> None:
    """Train one student, and export it."""
    inline = ["--knowledge_columns", "cot_noun", "--knowledge_placement", "inline", *flags]
    teachers = [
        train("knowledge", data[name], out / "teachers" / f"{name}-{seed}", [*inline, "--seed", str(seed)])
        for seed in SEEDS
    ]
    own = ["--distill_from", *map(str, teachers), "--unlabelled_dataset_dir", str(data[OTHER[name]])]
    student = train("student", data[name], out / name, [*inline, *own])
    if not (student / "onnx").exists():
        predictor, _ = load_predictor(str(student), dtype="float32")
        report = export_onnx(predictor.model, predictor.tokenizer, student / "onnx", int8=True)
        print(f"{student / 'onnx'}: logits of the exact graph differ by at most {report.difference:.1e}", flush=True)
    print(f"Next: cotpd push {student} NAMESPACE/cotpd-{name}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="DATA", help="twitter2015, twitter2017; both by default")
    parser.add_argument("--source", type=Path, default=Path("raw"), help="a folder per data set: the published files")
    parser.add_argument("--out", type=Path, default=Path("outputs/model"))
    parser.add_argument("--no-download", action="store_true", help="the source folders are complete")
    arguments, flags = parser.parse_known_args()
    names = arguments.names or list(OTHER)
    if unknown := set(names) - set(OTHER):
        parser.error(f"unknown data: {', '.join(sorted(unknown))}")
    data = {name: arguments.out / "data" / name for name in OTHER}
    for name, folder in data.items():
        if not folder.exists():
            prepare(name, arguments.source / name, folder, PrepareOptions(download=not arguments.no_download))
    for name in names:
        make(name, data, arguments.out, flags)


if __name__ == "__main__":
    raise SystemExit(exit_code(main, "make_model.py"))

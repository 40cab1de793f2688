"""From starting `run_mner.py` to the first training step, against importing what any Trainer script imports.

Both in processes of their own, after one run that fills the caches of subword tokens and files. The difference is
reading, joining, tokenizing, loading the model, and the imports of the package.
"""

import itertools
import sys
import tempfile
from pathlib import Path

from bench import ROOT, Report, parser, run

RUN_SCRIPT = """
import os, runpy, sys, transformers
def stop(*args, **kwargs):
    sys.stdout.flush()
    os._exit(0)
transformers.Trainer.training_step = stop
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
REFERENCE = """
import torch, datasets
from transformers import AutoModelForTokenClassification, Trainer, pipeline
"""


def main() -> None:
    """Measure both."""
    options = parser(__doc__)
    options.add_argument("--recipe", default="configuration/mner.yaml", help="Of run_mner.py.")
    arguments = options.parse_args()
    report = Report(arguments)
    command = [sys.executable, "-c", RUN_SCRIPT, str(ROOT / "run_mner.py"), arguments.recipe]
    command += ["--dataset_dir", str(Path(arguments.dataset_dir).resolve())]
    numbers = itertools.count()
    with tempfile.TemporaryDirectory() as folder:
        report.compare(
            "run_mner.py to the first step",
            "imports of a Trainer script",
            lambda: run([*command, "--output_dir", f"{folder}/{next(numbers)}"]),
            lambda: run([sys.executable, "-c", REFERENCE]),
        )
    report.finish()


if __name__ == "__main__":
    main()

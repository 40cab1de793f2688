"""Seconds from starting `run_mner.py` to the first training step, against importing what any Trainer script imports.

Both in processes of their own, in turn, after one run that fills the caches of word pieces and files. The reference is
`import torch, datasets, transformers` and its `Trainer`, `AutoModelForTokenClassification` and `pipeline`, so the
difference is reading, joining, tokenizing, loading the model, and our own imports. Target: under 5 s.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import machine, parser

ENTRY_POINT = Path(__file__).parents[1] / "run_mner.py"
RECIPE = Path(__file__).parents[1] / "configuration" / "mner.yaml"

OURS = """
import os, runpy, sys, transformers
def stop(*args, **kwargs):
    sys.stdout.flush()
    os._exit(0)
transformers.Trainer.training_step = stop
runpy.run_path(sys.argv[0], run_name="__main__")
"""

REFERENCE = """
import torch, datasets
from transformers import AutoModelForTokenClassification, Trainer, pipeline
"""


def seconds(code: str, *options: str) -> float:
    """How long a process takes."""
    begin = time.perf_counter()
    program = f"import sys; sys.argv = {list(options) or ['-']!r}\n{code}"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd=ENTRY_POINT.parent)
    return time.perf_counter() - begin


def main() -> None:
    """Print medians of both."""
    options = parser(__doc__)
    arguments = options.parse_args()
    print(f"machine: {machine()}")
    times: dict[str, list[float]] = {"ours": [], "reference": []}
    with tempfile.TemporaryDirectory() as name:
        for turn in range(arguments.alternations + 1):
            command = [str(ENTRY_POINT), str(RECIPE), "--dataset_dir", str(Path(arguments.dataset_dir).resolve())]
            ours = seconds(OURS, *command, "--output_dir", f"{name}/{turn}")
            reference = seconds(REFERENCE)
            if turn:  # the first fills the caches
                times["ours"].append(ours)
                times["reference"].append(reference)
    for side, what in (("ours", "to the first step"), ("reference", "imports of a Trainer script")):
        found = times[side]
        print(f"{what}: {statistics.median(found):.1f} s ({min(found):.1f} to {max(found):.1f})")


if __name__ == "__main__":
    main()

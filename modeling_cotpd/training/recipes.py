"""A run from Python: the run script of the data's task, with recipes and flags as on the command line."""

import runpy
from collections.abc import Sequence

from modeling_cotpd.data.prepared import read_info
from modeling_cotpd.training.arguments import parse_run, run_script


def run_recipe(argv: Sequence[str]) -> dict:
    """Train and evaluate as `run_mner.py` or `run_mre.py` do; the data set says which.

    Args:
        argv (`Sequence[str]`): Recipes (files or names), then flags.

    Returns:
        What `results.json` holds.

    Raises:
        CoTPDError: Data, settings or output folder cannot be used; the message says why and what to do.

    Example:
        >>> results = run_recipe(["sample_mner", "--output_dir", "outputs/sample"])  # doctest: +SKIP
        >>> results["splits"]["test"]["prompt"]["f1"]  # doctest: +SKIP
        0.62
    """
    parsed = parse_run(argv)
    script = run_script(read_info(parsed[1].dataset_dir).task)
    return runpy.run_path(str(script))["run"](*parsed)

"""`cotpd train`: a model from a recipe, wherever the package is installed."""

from typing import Annotated

import typer


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE|NAME", help="A YAML file, or the name of a recipe.")],
) -> None:
    """Train and evaluate a model on one process, as run_mner.py and run_mre.py do.

    Flags after the recipe win over it, such as --dataset_dir DIR --output_dir DIR --num_train_epochs 3; all of them
    stand in docs/settings.md. Several GPUs: accelerate launch run_mner.py RECIPE.

    Example:

        cotpd train sample_mner --dataset_dir data/sample --output_dir outputs/sample
    """
    import runpy

    from modeling_cotpd.data.prepared import read_info
    from modeling_cotpd.training.arguments import parse_run, run_script

    parsed = parse_run([recipe, *context.args])
    task = read_info(parsed[1].dataset_dir).task
    runpy.run_path(str(run_script(task)))["run"](*parsed)

"""`cotpd train`: a model from recipes, wherever the package is installed."""

from typing import Annotated

import typer


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A YAML file, or the name of a recipe.")],
) -> None:
    """Train and evaluate a model on one process, as run_mner.py and run_mre.py do.

    More recipes and flags may follow, such as --dataset_dir DIR --output_dir DIR --num_train_epochs 3. A later recipe
    wins over an earlier one, and flags win over both; docs/settings.md lists them. Several GPUs: accelerate launch
    run_mner.py RECIPE.

    Example:

        cotpd train sample_mner --dataset_dir data/sample --output_dir outputs/sample
    """
    from modeling_cotpd.training.arguments import run_recipe

    run_recipe([recipe, *context.args])

"""`cotpd learn`: explained posts become unlabelled training posts."""

from pathlib import Path
from typing import Annotated

import typer


def learn(
    predictions: Annotated[Path, typer.Argument(help="What cotpd predict --ask-teacher wrote, for entities.")],
    dataset_dir: Annotated[Path, typer.Option(help="The prepared folder of the labelled posts.")],
    out: Annotated[Path, typer.Option(help="A new prepared folder.")],
) -> None:
    """Add the posts that a language model explained to the training split, without labels.

    A student that is trained on the new folder with --distill_from learns from them, so that fewer posts need an
    answer.

    Example:

        cotpd learn entities.jsonl --dataset-dir data/twitter2017 --out data/twitter2017-learned
    """
    from modeling_cotpd.inference.learn import add_explained

    typer.echo(f"{add_explained(predictions, dataset_dir, out):,} unlabelled posts added: {out}")

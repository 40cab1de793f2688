"""`cotpd threshold`: the uncertainty above which a language model is worth asking, chosen on validation data."""

from pathlib import Path
from typing import Annotated

import typer


def threshold(
    model: Annotated[str, typer.Argument(help="The text-only model, a run's output folder.")],
    dataset_dir: Annotated[Path, typer.Option(help="A prepared folder with explanations in its validation split.")],
    knowledge_model: Annotated[str, typer.Option(help="The model that reads knowledge, if not MODEL.")] = "",
    gain: Annotated[float, typer.Option(help="The share of the gain in F1 to keep.", min=0, max=1)] = 0.9,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")] = "cpu",
) -> None:
    """Choose when to ask, and store it with the model for `cotpd predict --threshold stored`.

    Reads the validation split as text alone and with its explanations, and takes the largest threshold that keeps the
    wanted share of the gain in F1.

    Example:

        cotpd threshold outputs/student --knowledge-model outputs/inline --dataset-dir data/twitter2017
    """
    from modeling_cotpd.inference.load import load_predictor
    from modeling_cotpd.inference.on_demand import choose_threshold, f1_curve, write_threshold
    from modeling_cotpd.inference.validation import view_counts

    student, _ = load_predictor(model, device=device)
    reader = load_predictor(knowledge_model, device=device)[0] if knowledge_model else student
    uncertainty, prompt, knowledge = view_counts(student, reader, dataset_dir, "validation")
    limit, share = choose_threshold(uncertainty, prompt, knowledge, gain)
    curve = f1_curve(prompt, knowledge, (-uncertainty).argsort(kind="stable"))
    asked = round(share * len(uncertainty))
    scores = {"text alone": curve[0], "asked": curve[asked], "all explained": curve[-1]}
    path = write_threshold(
        model, limit, share, gain=gain, f1={name: round(100 * float(score), 2) for name, score in scores.items()}
    )
    listed = ", ".join(f"{name} {100 * score:.2f}" for name, score in scores.items())
    typer.echo(f"threshold {limit:.4f} asks about {100 * share:.1f} % of the validation posts; F1: {listed}")
    typer.echo(f"{path}")

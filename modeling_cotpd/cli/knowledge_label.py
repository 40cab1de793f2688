"""`cotpd knowledge label`: labels from lists of mentions, without a teacher model."""

import json
from pathlib import Path
from typing import Annotated

import typer


def label(
    source: Annotated[Path, typer.Argument(help="Prepared MNER folder with glosses.")],
    out: Annotated[Path, typer.Option(help="New prepared folder.")],
    max_labelled_samples: Annotated[
        int | None, typer.Option(help="Use the labels of this many training posts only, as a training run draws them.")
    ] = None,
    sample_seed: Annotated[int, typer.Option(help="Seed of that sample.")] = 0,
    threshold: Annotated[
        float | None, typer.Option(help="Lowest score of an entity.", show_default="by cross-validation")
    ] = None,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Score on all gold labels; writes OUT/results.json.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what OUT/results.json holds.")] = False,
) -> None:
    """Label the unlabelled training posts from the mentions and glosses that a language model listed.

    A linear model, trained on the labelled posts, decides which listed mentions are entities and of which type. It
    never reads validation or test labels. OUT/rejects.jsonl lists the other mentions, with the reason.

    Example:

        cotpd knowledge label data/twitter2017 --out data/twitter2017-labelled --max-labelled-samples 100 --evaluate
    """
    from modeling_cotpd.knowledge.list_label_run import label_folder

    results = label_folder(
        source,
        out,
        max_labelled_samples=max_labelled_samples,
        sample_seed=sample_seed,
        threshold=threshold,
        evaluate=evaluate,
    )
    if as_json:
        typer.echo(json.dumps(results, indent=2, ensure_ascii=False))
        return
    made = results["labels"]
    typer.echo(
        f"trained on {made['labelled_rows']:,} labelled posts, {made['candidates']:,} listed mentions; "
        f"cross-validated F1 {made['f1']:.1%}, calibration error {made['calibration_error']:.1%}, "
        f"threshold {made['threshold']:g}"
    )
    typer.echo(f"{made['labelled_from_lists']:,} posts labelled, {made['left_unlabelled']:,} left unlabelled")
    typer.echo("; ".join(f"{reason}: {count:,}" for reason, count in made["listed_mentions"].items()))
    for name, scores in results["splits"].items():
        typer.echo(f"{name}: F1 {scores['knowledge']['f1']:.1%}")
    typer.echo(f"Written to {out}")

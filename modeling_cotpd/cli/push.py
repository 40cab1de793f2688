"""`cotpd push`: a trained model to the Hub."""

from pathlib import Path
from typing import Annotated

import typer


def push(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A run's output folder.")],
    repo: Annotated[str, typer.Argument(help="NAMESPACE/NAME on the Hub; made if it does not exist.")],
    private: Annotated[bool, typer.Option("--private", help="Make a private repository.")] = False,
    revision: Annotated[str | None, typer.Option(help="A branch, made if it does not exist; default: main.")] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead of writing.")] = False,
    commit_message: Annotated[str, typer.Option(help="The commit's message.")] = "Model, tokenizer, code and card",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go; contact no server.")] = False,
) -> None:
    """Publish a trained model: weights, the code that runs them, tokenizer, model card, and results.

    All of it is one commit. Optimizer states, checkpoints, predictions and whatever names a place on this machine stay
    here. The access token is that of `hf auth login` or of the variable HF_TOKEN.

    Example:

        cotpd push output/twitter2017 me/cotpd-twitter2017 --private --dry-run
    """
    from modeling_cotpd.training.hub import collect
    from modeling_cotpd.training.hub import push as publish

    publication = collect(folder, repo)
    sizes = publication.sizes()
    for name, size in sizes.items():
        typer.echo(f"{size:>13,}  {name}")
    typer.echo(f"{sum(sizes.values()):>13,}  bytes in {len(sizes)} files")
    if dry_run:
        typer.echo(
            f"Repository: {repo}{', a pull request' if create_pr else f', branch {revision}' if revision else ''}"
        )
        stays = sorted(path.name for path in folder.iterdir() if path.name not in sizes)
        typer.echo(f"Not published: {', '.join(stays) or 'nothing else is there'}")
        return
    info = publish(publication, repo, message=commit_message, private=private, revision=revision, create_pr=create_pr)
    typer.echo(f"Published: {info.pr_url or info.commit_url}")

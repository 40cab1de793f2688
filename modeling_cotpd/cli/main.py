"""Entry point of the `cotpd` command: collects the subcommands and turns package errors into one line."""

import sys

import typer

from modeling_cotpd.cli import (
    augment,
    caption,
    check,
    elicit,
    experiment,
    export,
    knowledge,
    llm_baseline,
    predict,
    prepare,
    retrieve,
    teacher,
)
from modeling_cotpd.errors import CoTPDError

app = typer.Typer(
    name="cotpd",
    help="Chain-of-Thought Prompt Distillation: prepare data, elicit knowledge, train, predict.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    prepare.prepare,
    check.check,
    caption.caption,
    elicit.elicit,
    retrieve.retrieve,
    augment.augment,
    predict.predict,
    export.export,
    experiment.experiment,
    experiment.cases,
    llm_baseline.llm_baseline,
    teacher.teacher,
):
    app.command()(command)
app.add_typer(knowledge.app, name="knowledge")


def main() -> None:
    """Run a subcommand; a `CoTPDError` is printed as one sentence and ends the process with code 2."""
    try:
        app()
    except CoTPDError as error:
        print(f"cotpd: {error}", file=sys.stderr)
        sys.exit(2)

"""The `cotpd` command: collects the subcommands and reports every error in one line."""

import logging
import os
import sys
from collections.abc import Callable

import typer
from tqdm import tqdm

from modeling_cotpd.cli import data, knowledge, models, predict, sources
from modeling_cotpd.cli.options import STOPPED, WRONG_INPUT
from modeling_cotpd.errors import CoTPDError, Interrupted
from modeling_cotpd.text_safety import printable
from modeling_cotpd.version import __version__

DATA, KNOWLEDGE, TRAINING, USE = "Data", "Knowledge", "Training", "Trained models"

app = typer.Typer(
    name="cotpd",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["--help", "-h"]},
)
for panel, commands in {
    DATA: (data.prepare, data.check, data.augment),
    KNOWLEDGE: (sources.caption, knowledge.elicit, sources.retrieve, knowledge.teacher),
    TRAINING: (models.train,),
    USE: (
        *(predict.predict, predict.threshold, predict.learn, predict.triples),
        *(models.explain, models.demo, models.export, models.push),
    ),
}.items():
    for command in commands:
        # the flags of a run are those of its dataclasses
        extra = {"allow_extra_args": True, "ignore_unknown_options": True} if command is models.train else {}
        app.command(rich_help_panel=panel, context_settings=extra)(command)
app.add_typer(knowledge.app, name="knowledge", rich_help_panel=KNOWLEDGE)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"modeling_cotpd {__version__}")
        raise typer.Exit


@app.callback()
def cotpd(
    version: bool = typer.Option(
        False, "--version", help="Print the version and exit.", callback=_show_version, is_eager=True
    ),
) -> None:
    """Chain-of-Thought Prompt Distillation: data, knowledge, and the use of trained models.

    COMMAND --help explains a command, with examples.

    Example:

        cotpd prepare sample-mner --out data/sample

        cotpd check data/sample
    """


BEGINS_AGAIN = "Stopped. Nothing is half-written; the same command begins again."
"""For commands that keep no finished parts; the others raise `Interrupted`."""


class _Warnings(logging.Handler):
    """Prints every warning once, above a progress bar, with control characters of a file or endpoint escaped."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._printed: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if (line := printable(self.format(record))) not in self._printed:
            self._printed.add(line)
            tqdm.write(line, file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand."""
    logging.lastResort = _Warnings()  # for a process that configures no logging
    if not sys.stderr.isatty():  # these libraries read it when they are imported
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        code = exit_code(lambda: app(args=arguments, prog_name="cotpd", standalone_mode=False), "cotpd")
    except KeyboardInterrupt:  # a second one, while the first is reported
        code = STOPPED
    if code == STOPPED and arguments is None:
        sys.stdout.flush()
        os._exit(code)  # Python waits for threads that still predict or receive
    return code


def exit_code(run: Callable[[], object], program: str) -> int:
    """Run a program, and turn its errors into one line on the standard error and an exit code.

    0, the code that the program returns, 2 after wrong input, 130 after Ctrl-C.
    """
    try:
        found = run()
        code = found if isinstance(found, int) else 0
        message = BEGINS_AGAIN if code == STOPPED else ""  # typer returns this code after Ctrl-C
    except KeyboardInterrupt:
        code, message = STOPPED, BEGINS_AGAIN
    except Interrupted as error:
        code, message = STOPPED, f"Stopped: {error}"
    except CoTPDError as error:
        code, message = WRONG_INPUT, str(error)
    except typer.TyperException as error:
        code, message = WRONG_INPUT, _usage(error)
    except OSError as error:
        # transformers raises one without a file name for a model that is not there; its first line says so
        message = f"{error.filename}: {error.strerror}." if error.filename else _first_line(error)
        code = WRONG_INPUT
    if message:
        # what another library says may have several lines
        line = " ".join(line.strip() for line in message.splitlines())
        print(f"{program}: {printable(line)}", file=sys.stderr)
    return code


def _usage(error: typer.TyperException) -> str:
    """What was wrong with the options, and where to read about them; empty when the help was just printed."""
    message = error.format_message().removesuffix(".")
    context = getattr(error, "ctx", None)
    path, options = ("cotpd", ()) if context is None else (context.command_path, context.command.params)
    if "extra argument" in message and any(each.name == "input" for each in options):
        message += ". Name the posts with --input"
    end = "" if message.endswith("?") else "."
    return message and f"{message}{end} See: {path} --help"


def _first_line(error: OSError) -> str:
    line = str(error).strip().split("\n")[0] or repr(error)
    return f"{line} Check the name of the folder or model." if "huggingface.co" in line else line

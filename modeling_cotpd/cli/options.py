"""Options of all commands that ask a language model, and what they become."""

import functools
import inspect
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modeling_cotpd.errors import SettingError
from modeling_cotpd.text_safety import printable

if TYPE_CHECKING:
    from modeling_cotpd.knowledge.endpoint import EndpointSettings
    from modeling_cotpd.knowledge.request import Job
    from modeling_cotpd.knowledge.runner import Asking

UNASKED, UNUSABLE = 3, 4
"""Exit codes: some requests have no answer (run again), or some answers cannot be used."""
AGAIN = ("empty", "refused", "cut", "waiting")
"""Statuses of stored answers that `--again` may name."""

OPENAI_URL = "https://api.openai.com/v1"
TEACHER, ASKING, COST = "Teacher", "Asking", "Cost"

Model = Annotated[str, typer.Option(help="The teacher's name at the endpoint.", rich_help_panel=TEACHER)]
Store = Annotated[Path, typer.Option(help="The response store; made when missing.")]
Limit = Annotated[int | None, typer.Option(help="Only the first posts of every split or file.", min=1)]
Offline = Annotated[bool, typer.Option("--offline", help="Ask nothing; write what the store has.")]
KeepCut = Annotated[bool, typer.Option("--keep-cut", help="Use answers cut at the token limit.")]
Partial = Annotated[bool, typer.Option("--partial", help="Write the folder even when requests failed.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]

STORE = Path("answers.sqlite")


@dataclass(frozen=True)
class TeacherOptions:
    """The options that name a teacher; their values are part of the key of its answers.

    A command takes them as one parameter, `teacher: TeacherOptions`, and is decorated with `with_teacher_options`.
    """

    store: Store = STORE
    base_url: Annotated[
        str,
        typer.Option(
            help="The OpenAI-compatible endpoint, up to /v1.", envvar="OPENAI_BASE_URL", rich_help_panel=TEACHER
        ),
    ] = OPENAI_URL
    endpoint: Annotated[
        str,
        typer.Option(
            help="Name to store answers under instead of the base URL, for endpoints whose address changes.",
            rich_help_panel=TEACHER,
        ),
    ] = ""
    prompts: Annotated[
        Path | None,
        typer.Option(help="Folder whose NAME.txt files replace the packaged prompts.", rich_help_panel=TEACHER),
    ] = None
    max_tokens: Annotated[int, typer.Option(help="Longest answer, in tokens.", rich_help_panel=TEACHER)] = 512
    sampling: Annotated[
        str,
        typer.Option(
            help='More of the request as JSON, null removes: {"temperature": null, "reasoning_effort": "low"}',
            rich_help_panel=TEACHER,
        ),
    ] = ""
    again: Annotated[
        str, typer.Option(help=f"Ask again what is {', '.join(AGAIN[:-1])} or {AGAIN[-1]} (comma-separated).")
    ] = ""

    def settings(self, model: str) -> "EndpointSettings":
        """Return which model is asked, where and how.

        Raises:
            SettingError: `sampling` is no JSON object, or a setting is out of range.
        """
        from modeling_cotpd.knowledge.endpoint import EndpointSettings

        fix = """Write '{"top_p": 1}'"""
        try:
            more = json.loads(self.sampling or "{}")
        except json.JSONDecodeError as error:
            raise SettingError(f"This is no JSON: {error}.", place="--sampling", fix=fix) from None
        if not isinstance(more, dict):
            raise SettingError("This is no JSON object.", place="--sampling", fix=fix)
        return EndpointSettings(
            model=model,
            base_url=self.base_url,
            endpoint=self.endpoint,
            sampling={"max_tokens": self.max_tokens, **more},
            **self.patience(),
        )

    def patience(self) -> dict[str, Any]:
        """Return how requests are sent; a batch file sends none."""
        return {"api_key_variable": ""}

    def repeated(self) -> tuple[str, ...]:
        """Return the statuses that `--again` names.

        Raises:
            SettingError: One is not a status that can be asked again.
        """
        names = words(self.again)
        if unknown := [name for name in names if name not in AGAIN]:
            raise SettingError(
                f"{unknown[0]!r} cannot be asked again.", place="--again", fix=f"Use {', '.join(AGAIN)}."
            )
        return names


@dataclass(frozen=True)
class AskingOptions(TeacherOptions):
    """The options of a command that asks a teacher itself."""

    key_variable: Annotated[
        str, typer.Option(help="Environment variable that holds the API key.", rich_help_panel=ASKING)
    ] = "OPENAI_API_KEY"
    concurrency: Annotated[int, typer.Option(help="Requests under way at once.", rich_help_panel=ASKING)] = 16
    timeout: Annotated[
        float, typer.Option(help="Seconds until an attempt counts as stalled.", rich_help_panel=ASKING)
    ] = 120.0
    retries: Annotated[int, typer.Option(help="Further attempts after a failed one.", rich_help_panel=ASKING)] = 6
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Count requests and estimate the cost; send nothing.", rich_help_panel=COST),
    ] = False
    price_in: Annotated[
        float | None,
        typer.Option(help="Dollars per million input tokens; default: prices.json.", rich_help_panel=COST),
    ] = None
    price_out: Annotated[
        float | None, typer.Option(help="Dollars per million output tokens.", rich_help_panel=COST)
    ] = None

    def patience(self) -> dict[str, Any]:
        return {"api_key_variable": self.key_variable, "timeout": self.timeout, "retries": self.retries}

    def asking(self, model: str, offline: bool = False) -> "Asking":
        """Return how a run asks."""
        from modeling_cotpd.knowledge.estimate import find_price
        from modeling_cotpd.knowledge.runner import Asking

        price = find_price(model, self.price_in, self.price_out)
        return Asking(self.concurrency, self.repeated(), not offline, price, bar=True)

    def print_estimate(self, jobs: "Iterable[Job]", settings: "EndpointSettings", asking: "Asking") -> None:
        """Print what jobs would send and cost."""
        from modeling_cotpd.knowledge.estimate import estimate

        echo_all(estimate(jobs, self.store, settings, asking.again).lines(asking.price))


def with_teacher_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace a command's parameter `teacher` by the options of its class, as typer sees them.

    Example:
        >>> @with_teacher_options
        ... def ask(out: Path, teacher: TeacherOptions) -> None: ...
        >>> list(inspect.signature(ask).parameters)[:3]
        ['out', 'store', 'base_url']
    """
    signature = inspect.signature(command)
    kind = signature.parameters["teacher"].annotation
    options = {item.name: item for item in fields(kind)}

    @functools.wraps(command)
    def run(**values: Any) -> None:
        given = {name: values.pop(name) for name in options}
        command(**values, teacher=kind(**given))

    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        if name != "teacher"
    ]
    shared = [
        inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=item.default, annotation=item.type)
        for item in options.values()
    ]
    run.__signature__ = signature.replace(parameters=own + shared)  # type: ignore[attr-defined]
    return run


def words(text: str) -> tuple[str, ...]:
    """Return the parts of a comma-separated option."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def usage_line(asking: "Asking") -> str:
    """Return one line about what a run asked and what it cost."""
    progress, price = asking.progress, asking.price
    asked = ", ".join(f"{count:,} {status}" for status, count in sorted(progress.asked.items())) or "nothing"
    cost = f", ${price.cost(progress.prompt_tokens, progress.completion_tokens):,.2f}" if price else ""
    return (
        f"asked now: {asked}; answered before: {progress.stored:,}; "
        f"{progress.prompt_tokens:,} + {progress.completion_tokens:,} tokens{cost}, {progress.seconds:,.0f} s"
    )


def usage(asking: "Asking") -> dict[str, Any]:
    """Return the same for scripts, with dollars where the price is known."""
    progress, price = asking.progress, asking.price
    tokens = (progress.prompt_tokens, progress.completion_tokens)
    return {
        "asked": dict(sorted(progress.asked.items())),
        "answered_before": progress.stored,
        "prompt_tokens": tokens[0],
        "completion_tokens": tokens[1],
        "dollars": price.cost(*tokens) if price else None,
        "seconds": round(progress.seconds, 1),
    }


def end_when_stopped(asking: "Asking") -> None:
    """End the command as Ctrl-C does, when the run was interrupted."""
    if asking.progress.stopped:
        raise KeyboardInterrupt


def echo(line: str, err: bool = False) -> None:
    """Print a line; control characters that a file or an endpoint put into it are shown escaped."""
    typer.echo(printable(line), err=err)


def echo_all(lines: Iterable[str]) -> None:
    """Print lines to the standard error, where summaries go."""
    for line in lines:
        echo(line, err=True)

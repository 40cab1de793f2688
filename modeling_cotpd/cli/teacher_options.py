"""Options that every command with a teacher has, and what they become."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_cotpd.errors import SettingError

if TYPE_CHECKING:
    from modeling_cotpd.knowledge.runner import Progress
    from modeling_cotpd.knowledge.teacher import TeacherSettings

UNASKED, UNUSABLE = 3, 4
"""Exit codes: some requests have no answer (run again), or some answers are empty, refused or cut."""

Model = Annotated[str, typer.Option(help="The teacher's name at the endpoint.")]
BaseUrl = Annotated[str, typer.Option(help="The OpenAI-compatible endpoint, up to /v1.", envvar="OPENAI_BASE_URL")]
Endpoint = Annotated[
    str, typer.Option(help="Name to store answers under instead of the base URL, for teachers whose address changes.")
]
Store = Annotated[Path, typer.Option(help="The response store; made when missing.")]
MaxTokens = Annotated[int, typer.Option(help="Longest answer, in tokens.")]
Sampling = Annotated[
    str,
    typer.Option(help='More of the request as JSON, null removes: {"temperature": null, "reasoning_effort": "low"}'),
]
KeyVariable = Annotated[str, typer.Option(help="Environment variable that holds the API key.")]
Concurrency = Annotated[int, typer.Option(help="Requests under way at once.")]
Timeout = Annotated[float, typer.Option(help="Seconds until an attempt counts as stalled.")]
Retries = Annotated[int, typer.Option(help="Further attempts after a failed one.")]
Prompts = Annotated[Path | None, typer.Option(help="Folder whose NAME.txt files replace the packaged prompts.")]
Again = Annotated[str, typer.Option(help="Ask again what was empty, refused, cut or waiting (comma-separated).")]
PriceIn = Annotated[float | None, typer.Option(help="Dollars per million input tokens; default: prices.json.")]
PriceOut = Annotated[float | None, typer.Option(help="Dollars per million output tokens.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count requests and estimate the cost; send nothing.")]
Limit = Annotated[int | None, typer.Option(help="Only the first posts of every split or file.", min=1)]

OPENAI_URL = "https://api.openai.com/v1"
STORE = Path("answers.sqlite")


def teacher_settings(
    model: str,
    base_url: str,
    endpoint: str,
    max_tokens: int,
    sampling: str,
    key_variable: str,
    timeout: float = 120.0,
    retries: int = 6,
) -> "TeacherSettings":
    """`TeacherSettings` from the command line.

    Raises:
        SettingError: `sampling` is no JSON object, or a setting is out of range.
    """
    from modeling_cotpd.knowledge.teacher import TeacherSettings

    try:
        more = json.loads(sampling or "{}")
    except json.JSONDecodeError as error:
        raise SettingError(f"This is no JSON: {error}.", place="--sampling", fix="""Write '{"top_p": 1}'""") from None
    if not isinstance(more, dict):
        raise SettingError("This is no JSON object.", place="--sampling", fix="""Write '{"top_p": 1}'""")
    return TeacherSettings(
        model=model,
        base_url=base_url,
        endpoint=endpoint,
        sampling={"max_tokens": max_tokens, **more},
        api_key_variable=key_variable,
        timeout=timeout,
        retries=retries,
    )


def statuses(again: str) -> tuple[str, ...]:
    """The statuses named by `--again`.

    Raises:
        SettingError: One is not a status that can be asked again.
    """
    names = words(again)
    known = ("empty", "refused", "cut", "waiting")
    if unknown := [name for name in names if name not in known]:
        raise SettingError(f"{unknown[0]!r} can not be asked again.", place="--again", fix=f"Use {', '.join(known)}.")
    return names


def words(text: str) -> tuple[str, ...]:
    """The parts of a comma-separated option."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def usage_line(
    progress: "Progress", seconds: float, model: str, price_in: float | None, price_out: float | None
) -> str:
    """One line about what a run asked and what it cost."""
    from modeling_cotpd.knowledge.estimate import find_price

    asked = ", ".join(f"{count:,} {status}" for status, count in sorted(progress.asked.items())) or "nothing"
    price = find_price(model, price_in, price_out)
    cost = f", ${price.cost(progress.prompt_tokens, progress.completion_tokens):,.2f}" if price else ""
    return (
        f"asked now: {asked}; answered before: {progress.stored:,}; "
        f"{progress.prompt_tokens:,} + {progress.completion_tokens:,} tokens{cost}, {seconds:,.0f} s"
    )


def echo_all(lines: Iterable[str]) -> None:
    """Print lines to the standard error, where summaries go."""
    for line in lines:
        typer.echo(line, err=True)

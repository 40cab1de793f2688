"""What commands share: options, what they become, and safe output."""

import functools
import inspect
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modeling_cotpd.errors import SettingError
from modeling_cotpd.text_safety import printable

if TYPE_CHECKING:
    from modeling_cotpd.inference.knowledge_source import KnowledgeSource
    from modeling_cotpd.inference.view_predictor import ViewPredictor
    from modeling_cotpd.knowledge.endpoint import EndpointSettings
    from modeling_cotpd.knowledge.request import Job
    from modeling_cotpd.knowledge.runner import Asking

WRONG_INPUT, UNASKED, UNUSABLE, STOPPED = 2, 3, 4, 130
"""Exit codes; 3: some requests have no answer (run again), 4: some answers or rows cannot be used, 130: Ctrl-C."""
AGAIN = ("empty", "refused", "cut", "waiting")
"""Statuses of stored answers that `--again` may name."""
OPENAI_URL = "https://api.openai.com/v1"
STORE = Path("answers.sqlite")
TEACHER, ASKING, COST, KNOWLEDGE = "Teacher", "Asking", "Cost", "Knowledge"


def argument(help: str, **more: Any) -> Any:
    """`typer.Argument` with the help first."""
    return typer.Argument(help=help, **more)


def option(help: str, *names: str, panel: str | None = None, **more: Any) -> Any:
    """`typer.Option` with the help first. A flag is named, so that it has no `--no-` form."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


Model = Annotated[str, option("The teacher's name at the endpoint.", panel=TEACHER)]
Store = Annotated[Path, option("The response store; made when missing.")]
Limit = Annotated[int | None, option("Only the first posts of every split or file.", min=1)]
Offline = Annotated[bool, option("Ask nothing; write what the store has.", "--offline")]
KeepCut = Annotated[bool, option("Use answers cut at the token limit.", "--keep-cut")]
Partial = Annotated[bool, option("Write the folder even when requests failed.", "--partial")]
AsJson = Annotated[bool, option("Print the summary as JSON.", "--json")]
Device = Annotated[str, option("auto, cpu, cuda, cuda:1, ...")]
Dtype = Annotated[str, option("auto (as saved), float32, bfloat16 or float16.")]
Revision = Annotated[str | None, option("Branch, tag or commit of a Hub repository.")]
CheckTypes = Annotated[
    bool, option("Leave out relations that name other types than their entities.", "--check-types/--any-types")
]
KeyVariable = Annotated[str, option("Environment variable that holds the API key.", panel=ASKING)]


@dataclass(frozen=True)
class TeacherOptions:
    """The options that name a teacher; their values are part of the key of its answers.

    A command takes them as one parameter, `teacher: TeacherOptions`, and is decorated with `with_options`.
    """

    store: Store = STORE
    base_url: Annotated[
        str, option("The OpenAI-compatible endpoint, up to /v1.", envvar="OPENAI_BASE_URL", panel=TEACHER)
    ] = OPENAI_URL
    endpoint: Annotated[str, option("Name to store answers under, for a base URL that changes.", panel=TEACHER)] = ""
    prompts: Annotated[Path | None, option("Folder of NAME.txt files with other prompts.", panel=TEACHER)] = None
    max_tokens: Annotated[int, option("Longest answer, in tokens.", panel=TEACHER)] = 512
    sampling: Annotated[
        str,
        option(
            'More of the request as JSON, null removes: {"temperature": null, "reasoning_effort": "low"}',
            panel=TEACHER,
        ),
    ] = ""
    again: Annotated[str, option(f"Ask again what is {', '.join(AGAIN[:-1])} or {AGAIN[-1]} (comma-separated).")] = ""

    def settings(self, model: str) -> "EndpointSettings":
        """Return which model is asked, where and how."""
        from modeling_cotpd.knowledge.endpoint import EndpointSettings

        fix = """Write '{"top_p": 1}'"""
        try:
            more = json.loads(self.sampling or "{}")
        except json.JSONDecodeError as error:
            raise SettingError(f"This is not JSON: {error}.", place="--sampling", fix=fix) from None
        if not isinstance(more, dict):
            raise SettingError("This is not a JSON object.", place="--sampling", fix=fix)
        sampling = {"max_tokens": self.max_tokens, **more}
        return EndpointSettings(model, self.base_url, self.endpoint, sampling, **self.patience())

    def patience(self) -> dict[str, Any]:
        """Return how requests are sent; a batch file sends none."""
        return {"api_key_variable": ""}

    def repeated(self) -> tuple[str, ...]:
        """Return the statuses that `--again` names."""
        names = words(self.again)
        if unknown := [name for name in names if name not in AGAIN]:
            raise SettingError(
                f"{unknown[0]!r} cannot be asked again.", place="--again", fix=f"Use {', '.join(AGAIN)}."
            )
        return names


@dataclass(frozen=True)
class AskingOptions(TeacherOptions):
    """The options of a command that asks a teacher itself."""

    key_variable: KeyVariable = "OPENAI_API_KEY"
    concurrency: Annotated[int, option("Requests under way at once.", panel=ASKING)] = 16
    timeout: Annotated[float, option("Seconds until an attempt counts as stalled.", panel=ASKING)] = 120.0
    retries: Annotated[int, option("Further attempts after a failed one.", panel=ASKING)] = 6
    dry_run: Annotated[bool, option("Estimate requests and cost; send nothing.", "--dry-run", panel=COST)] = False
    price_in: Annotated[float | None, option("Dollars per million input tokens; else prices.json.", panel=COST)] = None
    price_out: Annotated[float | None, option("Dollars per million output tokens.", panel=COST)] = None

    def patience(self) -> dict[str, Any]:
        return {"api_key_variable": self.key_variable, "timeout": self.timeout, "retries": self.retries}

    def asking(self, model: str, offline: bool = False) -> "Asking":
        """Return how a run asks."""
        from modeling_cotpd.knowledge.estimate import find_price
        from modeling_cotpd.knowledge.runner import Asking

        price = find_price(model, self.price_in, self.price_out)
        return Asking(self.concurrency, self.repeated(), not offline, price, bar=sys.stderr.isatty())

    def print_estimate(self, jobs: "Iterable[Job]", settings: "EndpointSettings", asking: "Asking") -> None:
        """Print what jobs would send and cost."""
        from modeling_cotpd.knowledge.estimate import estimate

        echo_all(estimate(jobs, self.store, settings, asking.again).lines(asking.price))


@dataclass(frozen=True)
class ViewOptions:
    """What a post is read with beside the model; a command takes it as its parameter `teacher`."""

    relations: Annotated[str | None, option("A model for relations: find entities and relations.")] = None
    check_types: CheckTypes = True
    dataset_dir: Annotated[Path | None, option("The prepared folder trained on, for similar training posts.")] = None
    captioner: Annotated[str, option("A captioning model: folder, Hub or endpoint name.", panel=KNOWLEDGE)] = ""
    captioner_url: Annotated[str, option("The captioner's OpenAI-compatible URL, up to /v1.", panel=KNOWLEDGE)] = ""
    teacher: Annotated[str, option("The teacher's name at the endpoint; default: none.", panel=KNOWLEDGE)] = ""
    teacher_url: Annotated[
        str, option("The teacher's OpenAI-compatible endpoint, up to /v1.", envvar="OPENAI_BASE_URL", panel=KNOWLEDGE)
    ] = OPENAI_URL
    key_variable: KeyVariable = "OPENAI_API_KEY"
    store: Store = STORE
    device: Device = "auto"

    def predictor(self, model: str) -> "ViewPredictor":
        """The model or models, with all that the options name."""
        from modeling_cotpd.inference.load import usable_device
        from modeling_cotpd.inference.view_predictor import ViewPredictor

        device = usable_device(self.device)
        more: dict[str, Any] = {"dataset_dir": self.dataset_dir, "source": self.source(device), "device": device}
        if self.relations is not None:
            more |= {"relations": self.relations, "check_types": self.check_types}
        return ViewPredictor.from_folder(model, **more)

    def source(self, device: Any) -> "KnowledgeSource":
        """The captioner and the teacher that the options name."""
        from modeling_cotpd.inference.knowledge_source import KnowledgeSource, one_by_one
        from modeling_cotpd.knowledge.endpoint import EndpointSettings
        from modeling_cotpd.knowledge.explanation import ElicitationPlan
        from modeling_cotpd.knowledge.prompt import load_prompts

        if self.captioner_url and not self.captioner:
            raise SettingError("The captioner's endpoint needs a model.", place="--captioner", fix="Name it.")
        caption: Any = None
        if self.captioner_url:
            from modeling_cotpd.knowledge.captions import caption_image

            settings = EndpointSettings(
                self.captioner, self.captioner_url, sampling={"max_tokens": 100}, api_key_variable=self.key_variable
            )
            prompt = load_prompts()["caption"]
            caption = functools.partial(caption_image, settings=settings, prompt=prompt, store=self.store)
        elif self.captioner:
            from modeling_cotpd.knowledge.captioner import TransformersCaptioner

            caption = one_by_one(TransformersCaptioner(self.captioner, device=device))
        plan = None
        if self.teacher:
            settings = EndpointSettings(self.teacher, self.teacher_url, api_key_variable=self.key_variable)
            plan = ElicitationPlan(settings, load_prompts())
        return KnowledgeSource(caption, plan, self.store)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a command whose type is a dataclass by the options that are its fields.

    Example:
        >>> @with_options
        ... def ask(out: Path, teacher: TeacherOptions) -> None: ...
        >>> list(inspect.signature(ask).parameters)[:3]
        ['out', 'store', 'base_url']
    """
    signature = inspect.signature(command)
    types = {name: each.annotation for name, each in signature.parameters.items()}
    groups: dict[str, Any] = {name: kind for name, kind in types.items() if is_dataclass(kind)}

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{item.name: values.pop(item.name) for item in fields(group)})
        command(**values)

    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [each.replace(kind=keyword) for name, each in signature.parameters.items() if name not in groups]
    shared = [
        inspect.Parameter(item.name, keyword, default=item.default, annotation=item.type)
        for group in groups.values()
        for item in fields(group)
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
    return {
        "asked": dict(sorted(progress.asked.items())),
        "answered_before": progress.stored,
        "prompt_tokens": progress.prompt_tokens,
        "completion_tokens": progress.completion_tokens,
        "dollars": price.cost(progress.prompt_tokens, progress.completion_tokens) if price else None,
        "seconds": round(progress.seconds, 1),
    }


def echo(line: str, err: bool = False) -> None:
    """Print a line; control characters that a file or an endpoint put into it are shown escaped."""
    typer.echo(printable(line), err=err)


def echo_all(lines: Iterable[str]) -> None:
    """Print lines to the standard error, where summaries go."""
    for line in lines:
        echo(line, err=True)


def echo_json(value: Any) -> None:
    """Print a value as JSON for scripts, in ASCII, so that no control character reaches a terminal."""
    typer.echo(json.dumps(value, indent=2))


def echo_written(paths: Iterable[str]) -> None:
    """Print what was written, or why nothing was."""
    if written := "\n".join(paths):
        echo(written)
    else:
        echo("No folder is written while requests lack an answer; --partial writes it all the same.", err=True)

"""`cotpd elicit`: from posts to chain-of-thought columns."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_cotpd.cli import teacher_options as options

if TYPE_CHECKING:
    from modeling_cotpd.knowledge.elicit import Elicited
    from modeling_cotpd.knowledge.explanation import Plan
    from modeling_cotpd.knowledge.teacher import TeacherSettings

Split = Annotated[list[str] | None, typer.Option("--split", help="Only this split or shard; may be repeated.")]
Grains = Annotated[str, typer.Option(help="Which grains, in the order in which they are asked.")]
Mode = Annotated[str, typer.Option(help="dialogue: one conversation per post; independent: every grain on its own.")]
Images = Annotated[Path | None, typer.Option(help="Show the pictures in this folder instead of the captions.")]
GRAINS = "noun,sentence,multimodality"


@options.with_teacher_options
def elicit(
    source: Annotated[Path, typer.Argument(help="Prepared folder, .jsonl or .parquet file, or folder of shards.")],
    out: Annotated[Path, typer.Option(help="New prepared folder, or folder for knowledge.NAME.jsonl.")],
    model: options.Model,
    teacher: options.AskingOptions,
    split: Split = None,
    grains: Grains = GRAINS,
    mode: Mode = "dialogue",
    images: Images = None,
    limit: options.Limit = None,
    offline: options.Offline = False,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="JSON Lines also for a prepared folder.")] = False,
    keep_cut: options.KeepCut = False,
    partial: options.Partial = False,
    as_json: options.AsJson = False,
) -> None:
    """Ask a teacher to explain every post and write the chain-of-thought columns.

    Every answer is stored the moment it comes. Run the same command again after an interruption: only what is missing
    is asked. Posts without a real answer are listed with the reason in OUT.problems.jsonl. Exit codes: 0 all answered,
    2 wrong input, 3 some requests have no answer (run again), 4 some answers are empty, refused or cut.

    Example:

        cotpd elicit data/twitter2017 --out data/twitter2017-explained --model gpt-5-nano --dry-run
    """
    from modeling_cotpd.knowledge.elicit import all_posts
    from modeling_cotpd.knowledge.elicit import elicit as run
    from modeling_cotpd.knowledge.estimate import estimate_from_store
    from modeling_cotpd.knowledge.explanation import explanation_jobs
    from modeling_cotpd.knowledge.post import find_post_files

    settings = teacher.settings(model)
    plan = make_plan(settings, teacher.prompts, grains, mode, images)
    price, repeated = teacher.price(model), teacher.repeated()
    if not offline:
        jobs = explanation_jobs(all_posts(find_post_files(source, split or ()), limit), plan)
        options.echo_all(estimate_from_store(jobs, teacher.store, settings, repeated).lines(price))
    if teacher.dry_run:
        return
    result = run(
        source,
        out,
        teacher.store,
        plan,
        splits=split or (),
        limit=limit,
        concurrency=teacher.concurrency,
        again=repeated,
        ask=not offline,
        json_lines=json_lines,
        keep_cut=keep_cut,
        partial=partial,
        price=price,
    )
    options.end_when_stopped(result.progress)
    if as_json:
        typer.echo(json.dumps({**_summary(result), **options.usage(result.progress, result.seconds, price)}, indent=2))
    else:
        options.echo_all([options.usage_line(result.progress, result.seconds, price)])
        _report(result)
    unusable = result.unusable - (result.number("cut") if keep_cut else 0)
    if result.unasked or unusable:
        typer.echo(
            f"{result.unasked:,} without an answer, {unusable:,} empty, refused or cut: see {result.problems}",
            err=True,
        )
        raise typer.Exit(options.UNASKED if result.unasked else options.UNUSABLE)


def make_plan(
    settings: "TeacherSettings", prompts: Path | None, grains: str, mode: str, images: Path | None
) -> "Plan":
    """A `Plan` from the command line."""
    from modeling_cotpd.knowledge.explanation import Plan
    from modeling_cotpd.knowledge.images import image_folder
    from modeling_cotpd.knowledge.prompt import load_prompts

    folder = image_folder(images) if images is not None else None
    return Plan(settings, load_prompts(prompts), options.words(grains), mode, folder)


def _by_grain(result: "Elicited") -> dict[str, dict[str, int]]:
    by_grain: dict[str, dict[str, int]] = {}
    for (grain, status), count in sorted(result.statuses.items()):
        by_grain.setdefault(grain, {})[status] = count
    return by_grain


def _summary(result: "Elicited") -> dict:
    written = [str(path) for path in result.written]
    return {"written": written, "problems": str(result.problems), "grains": _by_grain(result)}


def _report(result: "Elicited") -> None:
    options.echo_all(f"{grain}: {json.dumps(counts)[1:-1]}" for grain, counts in _by_grain(result).items())
    if result.written:
        typer.echo("\n".join(str(path) for path in result.written))
    else:
        typer.echo("No folder is written while requests lack an answer; --partial writes it all the same.", err=True)

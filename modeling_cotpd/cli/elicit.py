"""`cotpd elicit`: from posts to chain-of-thought columns."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_cotpd.cli import options

if TYPE_CHECKING:
    from modeling_cotpd.knowledge.endpoint import EndpointSettings
    from modeling_cotpd.knowledge.explanation import ElicitationPlan

Split = Annotated[list[str] | None, typer.Option("--split", help="Only this split or shard; may be repeated.")]
Grains = Annotated[str, typer.Option(help="Which grains, in the order in which they are asked.")]
Mode = Annotated[str, typer.Option(help="dialogue: one conversation per post; independent: every grain on its own.")]
Images = Annotated[Path | None, typer.Option(help="Show the pictures in this folder instead of the captions.")]
Nouns = Annotated[str, typer.Option(help="text: the paper's question; list: a JSON list of mentions and glosses.")]
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
    nouns: Nouns = "text",
    images: Images = None,
    limit: options.Limit = None,
    offline: options.Offline = False,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="JSON Lines also for a prepared folder.")] = False,
    keep_cut: options.KeepCut = False,
    partial: options.Partial = False,
    as_json: options.AsJson = False,
) -> None:
    """Ask a language model to explain every post and write the chain-of-thought columns.

    Every answer is stored when it arrives. Run the same command again after an interruption: only what is missing is
    asked. Posts without a usable answer are listed with the reason in OUT.problems.jsonl. Exit codes: 0 all answered,
    2 wrong input, 3 some requests have no answer (run again), 4 some answers are empty, refused, cut or unparsable.

    Example:

        cotpd elicit data/twitter2017 --out data/twitter2017-explained --model gpt-5-nano --dry-run
    """
    from modeling_cotpd.data.posts import find_post_files
    from modeling_cotpd.knowledge.elicit import elicit as run
    from modeling_cotpd.knowledge.explanation import elicitation_jobs
    from modeling_cotpd.knowledge.post import all_posts, check_ids

    settings, asking = teacher.settings(model), teacher.asking(model, offline)
    plan = make_plan(settings, teacher.prompts, grains, mode, images, nouns)
    if not offline:
        files = find_post_files(source, splits=split or ())
        check_ids(files, limit)
        teacher.print_estimate(elicitation_jobs(all_posts(files, limit), plan), settings, asking)
    if teacher.dry_run:
        return
    result = run(
        source,
        out,
        teacher.store,
        plan,
        asking,
        splits=split or (),
        limit=limit,
        json_lines=json_lines,
        keep_cut=keep_cut,
        partial_folder=partial,
    )
    options.end_when_stopped(asking)
    written = [str(path) for path in result.written]
    if as_json:
        summary = {"written": written, "problems": str(result.problems), "grains": result.by_grain()}
        typer.echo(json.dumps({**summary, **options.usage(asking)}, indent=2))
    else:
        options.echo_all([options.usage_line(asking)])
        options.echo_all(f"{grain}: {json.dumps(counts)[1:-1]}" for grain, counts in result.by_grain().items())
        if written:
            options.echo("\n".join(written))
        else:
            options.echo_all(["No folder is written while requests lack an answer; --partial writes it all the same."])
    if result.unasked or result.unusable:
        options.echo_all(
            [
                f"{result.unasked:,} without an answer, {result.unusable:,} empty, refused, cut or unparsable: "
                f"see {result.problems}"
            ]
        )
        raise typer.Exit(options.UNASKED if result.unasked else options.UNUSABLE)


def make_plan(
    settings: "EndpointSettings", prompts: Path | None, grains: str, mode: str, images: Path | None, nouns: str
) -> "ElicitationPlan":
    """Return the plan that the command line describes."""
    from modeling_cotpd.knowledge.explanation import ElicitationPlan
    from modeling_cotpd.knowledge.images import image_folder, require_pillow
    from modeling_cotpd.knowledge.prompt import load_prompts

    if images is not None:
        require_pillow()
    folder = image_folder(images) if images is not None else None
    return ElicitationPlan(settings, load_prompts(prompts), options.words(grains), mode, folder, nouns)

"""`cotpd augment`: new training posts from old ones."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_cotpd.cli import options

if TYPE_CHECKING:
    from modeling_cotpd.augmentation.run import Augmented

Model = Annotated[
    str,
    typer.Option(
        help="The teacher's name at the endpoint; not needed when no model is asked.", rich_help_panel=options.TEACHER
    ),
]
KINDS, SPLIT, LIST_SIZE = "style,entity,image", "train", 400


@options.with_teacher_options
def augment(
    source: Annotated[Path, typer.Argument(help="Prepared folder.")],
    out: Annotated[Path, typer.Option(help="New prepared folder.")],
    teacher: options.AskingOptions,
    model: Model = "",
    kinds: Annotated[
        str, typer.Option(help="Which of style, entity and image; image goes with one of the two.")
    ] = KINDS,
    times: Annotated[int, typer.Option(help="Samples wanted of each kind per post.", min=0)] = 1,
    seed: Annotated[int, typer.Option(help="Of the random draws.")] = 0,
    fact_check: Annotated[
        bool, typer.Option("--fact-check/--no-fact-check", help="Keep only entity samples possible in fact.")
    ] = True,
    entity_source: Annotated[
        str, typer.Option(help="in-domain: names of the training split; teacher: a list that the teacher writes.")
    ] = "in-domain",
    list_size: Annotated[int, typer.Option(help="Names that the teacher writes, over all types.")] = LIST_SIZE,
    mentions: Annotated[str, typer.Option(help="How many entities of a post are replaced: one or all.")] = "one",
    knowledge: Annotated[
        str, typer.Option(help="Of new samples. rewrite: the parent's, names replaced; elicit: asked anew; empty.")
    ] = "rewrite",
    label_repeats: Annotated[
        bool, typer.Option("--label-repeats", help="Take rewrites that name an entity more often, label each.")
    ] = False,
    only_new: Annotated[bool, typer.Option("--only-new", help="Leave the original training posts out.")] = False,
    split: Annotated[str, typer.Option(help="Only the training split is ever augmented.")] = SPLIT,
    max_train_samples: Annotated[
        int | None, typer.Option(help="Keep a random sample of the training posts, as training would draw it.", min=1)
    ] = None,
    sample_seed: Annotated[int, typer.Option(help="Seed of that sample.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Augment only the first training posts.", min=1)] = None,
    offline: options.Offline = False,
    keep_cut: options.KeepCut = False,
    partial: options.Partial = False,
    as_json: options.AsJson = False,
) -> None:
    """Make new training posts: other style, other entities, imagined pictures.

    Every answer is stored the moment it comes; run the same command again after an interruption. What is not taken is
    listed with its reason in OUT.rejects.jsonl. Exit codes: 0 done, 2 wrong input, 3 some requests have no answer (run
    again).

    Example:

        cotpd augment data/twitter2017 --out data/twitter2017-augmented --model gpt-5-nano --times 2 --dry-run

        cotpd augment data/twitter2017 --out data/t17-100x4 --max-train-samples 100 --kinds entity --no-fact-check \
--times 4
    """
    from modeling_cotpd.augmentation.plan import AugmentPlan
    from modeling_cotpd.augmentation.posts import TrainingPosts
    from modeling_cotpd.augmentation.run import augment as run
    from modeling_cotpd.augmentation.run import estimates
    from modeling_cotpd.knowledge.prompt import load_prompts

    plan = AugmentPlan(
        load_prompts(teacher.prompts),
        teacher.settings(model) if model else None,
        options.words(kinds),
        times=times,
        seed=seed,
        fact_check=fact_check,
        entity_source=entity_source,
        mentions=mentions,
        knowledge=knowledge,
        label_repeats=label_repeats,
        keep_cut=keep_cut,
        list_size=list_size,
    )
    posts = TrainingPosts(source, split, limit, max_train_samples, sample_seed)
    asking = teacher.asking(model, offline)
    wanted = len(posts.wanted) * times
    options.echo_all([f"wanted: {wanted:,} samples of each of {', '.join(plan.text_kinds)}"])
    if plan.needs_teacher and not offline:
        found = estimates(posts, plan, teacher.store, asking.again).lines(asking.price)
        options.echo_all(["requests if every sample is accepted, at most:", *found])
    if teacher.dry_run:
        return
    result = run(posts, out, teacher.store, plan, asking, only_new=only_new, partial_folder=partial)
    options.end_when_stopped(asking)
    if as_json:
        written = [str(path) for path in result.written]
        summary = {"written": written, "rejects": str(result.rejects), "kinds": result.summary()}
        typer.echo(json.dumps({**summary, **options.usage(asking)}, indent=2))
    else:
        if plan.needs_teacher:
            options.echo_all([options.usage_line(asking)])
        _report(result)
    if result.unasked:
        options.echo_all([f"{result.unasked:,} samples without an answer: see {result.rejects}"])
        raise typer.Exit(options.UNASKED)


def _report(result: "Augmented") -> None:
    for kind, written in result.lists.items():
        shortage = f" only: {written.why_short}" if written.why_short else ""
        options.echo_all([f"{kind}: {len(written.names)} names written{shortage}"])
    for kind, row in result.summary().items():
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in row["rejected"].items())
        lines = [f"{kind}: {row['wanted']:,} wanted, {row['accepted']:,} accepted"]
        lines.append(f"  rejected: {reasons}" if reasons else "  rejected: none")
        if row["notes"]:
            lines.append(
                "  of the accepted: " + ", ".join(f"{count:,} {note}" for note, count in row["notes"].items())
            )
        options.echo_all(lines)
    if result.written:
        options.echo("\n".join(str(path) for path in result.written))
    else:
        options.echo_all(["No folder is written while requests lack an answer; --partial writes it all the same."])

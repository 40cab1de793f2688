"""`cotpd augment`: new training posts from old ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_cotpd.cli import options
from modeling_cotpd.cli.options import argument, echo_all, echo_json, option

if TYPE_CHECKING:
    from modeling_cotpd.augmentation.run import Augmented

Model = Annotated[str, option("The teacher's name at the endpoint, if one is asked.", panel=options.TEACHER)]


@dataclass(frozen=True)
class PlanOptions:
    """The options that are settings of an `AugmentPlan`."""

    times: Annotated[int, option("Samples wanted of each kind per post.", min=0)] = 1
    seed: Annotated[int, option("Of the random draws.")] = 0
    entity_source: Annotated[
        str, option("in-domain: names of the training split; teacher: a list that the teacher writes.")
    ] = "in-domain"
    list_size: Annotated[int, option("Names that the teacher writes, over all types.")] = 400
    mentions: Annotated[str, option("How many entities of a post are replaced: one or all.")] = "one"
    knowledge: Annotated[
        str, option("Of new samples. rewrite: the parent's, names replaced; elicit: asked anew; empty.")
    ] = "rewrite"
    keep_cut: options.KeepCut = False


@dataclass(frozen=True)
class ParentOptions:
    """The options that say which training posts are augmented."""

    max_train_samples: Annotated[
        int | None, option("Keep a random sample of the training posts, as training would draw it.", min=1)
    ] = None
    sample_seed: Annotated[int, option("Seed of that sample.")] = 0
    limit: Annotated[int | None, option("Augment only the first training posts.", min=1)] = None


@options.with_options
def augment(
    source: Annotated[Path, argument("Prepared folder.")],
    out: Annotated[Path, option("New prepared folder.")],
    wanted: PlanOptions,
    parents: ParentOptions,
    teacher: options.AskingOptions,
    model: Model = "",
    kinds: Annotated[str, option("style, entity, image; image goes with one of the others.")] = "style,entity,image",
    no_fact_check: Annotated[
        bool, option("Keep entity samples without asking whether they are possible.", "--no-fact-check")
    ] = False,
    only_new: Annotated[bool, option("Leave the original training posts out.", "--only-new")] = False,
    offline: options.Offline = False,
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
    from modeling_cotpd.augmentation.run import TrainingPosts, estimates
    from modeling_cotpd.augmentation.run import augment as run
    from modeling_cotpd.knowledge.prompt import load_prompts

    settings = teacher.settings(model) if model else None
    plan = AugmentPlan(
        load_prompts(teacher.prompts), settings, options.words(kinds), fact_check=not no_fact_check, **vars(wanted)
    )
    posts = TrainingPosts(source, **vars(parents))
    asking = teacher.asking(model, offline)
    echo_all([f"wanted: {len(posts.wanted) * plan.times:,} samples of each of {', '.join(plan.text_kinds)}"])
    if plan.needs_teacher and not offline:
        found = estimates(posts, plan, teacher.store, asking.again).lines(asking.price)
        echo_all(["requests if every sample is accepted, at most:", *found])
    if teacher.dry_run:
        return
    result = run(posts, out, teacher.store, plan, asking, only_new=only_new, partial_folder=partial)
    written = [str(path) for path in result.written]
    if as_json:
        summary = {"written": written, "rejects": str(result.rejects), "kinds": result.summary()}
        echo_json({**summary, **options.usage(asking)})
    else:
        if plan.needs_teacher:
            echo_all([options.usage_line(asking)])
        echo_all(_report(result))
        options.echo_written(written)
    if result.unasked:
        echo_all([f"{result.unasked:,} samples without an answer: see {result.rejects}"])
        raise typer.Exit(options.UNASKED)


def _report(result: "Augmented") -> list[str]:
    lines = []
    for kind, written in result.lists.items():
        shortage = f" only: {written.why_short}" if written.why_short else ""
        lines.append(f"{kind}: {len(written.names)} names written{shortage}")
    for kind, row in result.summary().items():
        rejected, notes = (
            ", ".join(f"{count:,} {reason}" for reason, count in row[name].items()) for name in ("rejected", "notes")
        )
        lines.append(f"{kind}: {row['wanted']:,} wanted, {row['accepted']:,} accepted")
        lines.append(f"  rejected: {rejected or 'none'}")
        lines += [f"  of the accepted: {notes}"] if notes else []
    return lines

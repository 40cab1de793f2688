"""`cotpd prepare`, `check` and `augment`: prepared folders, what is in them, and new training posts."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_cotpd.cli import options
from modeling_cotpd.cli.options import argument, echo, echo_all, echo_json, option
from modeling_cotpd.errors import SettingError

if TYPE_CHECKING:
    from modeling_cotpd.augmentation.run import Augmented

NAMES = "twitter2015, twitter2017, snap, wikidiverse, mnre, sample-mner, sample-mre, or custom (your own)."


@dataclass(frozen=True)
class SourceOptions:
    """The options that are fields of `PrepareOptions`."""

    task: Annotated[str | None, option("custom: mner or mre.")] = None
    captioner: Annotated[
        str | None, option("Key of captions.SPLIT.jsonl that fills the caption column.", show_default="blip2")
    ] = None
    context_column: Annotated[str | None, option("Column that takes the retrieved text of MoRe's files.")] = None
    tag_scheme: Annotated[str, option("custom: bio, iob1 or bioes (also BILOU, BMEWO); written as bio.")] = "bio"
    min_coverage: Annotated[float, option("Least share of rows whose id a caption or knowledge file must have.")] = 0.5
    download: Annotated[
        bool, option("Fetch the published posts, captions and explanations into the source.", "--download")
    ] = False
    overwrite: Annotated[bool, option("Replace a prepared folder.", "--overwrite")] = False


@options.with_options
def prepare(
    name: Annotated[str, argument(NAMES)],
    out: Annotated[Path, option("The new folder.")],
    reading: SourceOptions,
    source: Annotated[
        str | None, option("Folder of published files; custom: also a datasets path or Hub name.")
    ] = None,
    knowledge_from_captions: Annotated[
        list[str] | None, option("COLUMN=CAPTIONER: a long caption fills a knowledge column; repeatable.")
    ] = None,
    no_captions: Annotated[bool, option("Leave caption files unread.", "--no-captions")] = False,
    no_knowledge: Annotated[bool, option("Leave knowledge files unread.", "--no-knowledge")] = False,
    labels: Annotated[str | None, option("Label names in id order, separated by commas.")] = None,
    rename_type: Annotated[list[str] | None, option("OLD=NEW: another name for an entity type; repeatable.")] = None,
    as_json: options.AsJson = False,
) -> None:
    """Read a data set, join captions and knowledge, and write it as Parquet.

    Example:

        cotpd prepare twitter2017 --source raw/twitter2017 --download --out data/twitter2017
    """
    from modeling_cotpd.data.prepare import PrepareOptions
    from modeling_cotpd.data.prepare import prepare as run
    from modeling_cotpd.data.sources import KNOWN_COPIES

    settings = PrepareOptions(
        **vars(reading),
        captions=not no_captions,
        knowledge=not no_knowledge,
        knowledge_from_captions=_pairs(knowledge_from_captions or [], "--knowledge-from-captions"),
        label_names=list(options.words(labels or "")),
        rename_types=_pairs(rename_type or [], "--rename-type"),
    )
    info, coverage = run(name, source, out, settings)
    if as_json:
        echo_json({"out": str(out), **asdict(info), "joined": [asdict(report) for report in coverage]})
        return
    echo(f"{info.name} ({info.task}), {len(info.label_names)} labels: {', '.join(info.label_names)}")
    for split, facts in info.splits.items():
        copy = KNOWN_COPIES.get(facts["gold_hash"])
        echo(f"{split}: {facts['rows']} rows, gold hash {facts['gold_hash']}{f' ({copy})' if copy else ''}")
    for report in coverage:
        echo(str(report))
    echo(f"captions: {info.captioner or 'none'}; knowledge: {info.knowledge or 'none'}")
    echo(f"Written to {out}. Check it with: cotpd check {out}")
    recipe = {"custom": "custom", f"sample-{info.task}": f"sample_{info.task}"}.get(name, info.task)
    if "train" in info.splits:
        echo(f"Next: cotpd train {recipe} --dataset_dir {out}")


def _pairs(values: list[str], name: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for value in values:
        left, equals, right = (part.strip() for part in value.partition("="))
        if not (left and equals and right):
            raise SettingError(f"{name} takes LEFT=RIGHT, but got {value!r}.", fix=f"For example {name} OTHER=MISC.")
        if left in pairs:
            raise SettingError(f"{name} names {left!r} twice.", fix="Name it once.")
        pairs[left] = right
    return pairs


def check(
    folder: Annotated[Path, argument("A prepared folder.")],
    tokenizer: Annotated[
        str | None, option("Folder or name of a tokenizer: count subword tokens and what truncation would lose.")
    ] = None,
    max_length: Annotated[int, option("Longest view in subword tokens.")] = 512,
    as_json: options.AsJson = False,
) -> None:
    """Report rows, gold hashes, faults of the labels, duplicates and leaks, coverage and length of every column.

    Example:

        cotpd check data/twitter2017 --tokenizer bert-base-cased
    """
    from modeling_cotpd.data.check import check as run

    report = run(folder, tokenizer, max_length)
    if as_json:
        echo_json(report)
    else:
        echo("\n".join(render(report)))


def render(report: dict) -> Iterable[str]:
    """The lines of the report that people read."""
    splits = report["splits"]
    yield f"{report['name']} ({report['task']}), {len(report['label_names'])} labels"
    yield f"captions: {report['captioner'] or 'none'}; knowledge: {report['knowledge'] or 'none'}"
    yield ""
    rows = []
    for name, facts in splits.items():
        gold = facts["gold_hash"][:16] + ("" if facts["hash_fits"] else " DIFFERS from dataset.json")
        copy = facts["copy"] or "no known published copy"
        rows.append([name, facts["rows"], facts["unlabelled"], gold, copy])
    yield from table(["split", "rows", "unlabelled", "gold hash", "copy"], rows)
    yield ""
    yield from (_tags if report["task"] == "mner" else _relations)(report)
    yield ""
    yield "Texts (words: median / 95th percentile / most)"
    subwords = ["subwords"] if any("truncation" in facts for facts in splits.values()) else []
    rows = []
    for name, facts in splits.items():
        for column, found in facts["columns"].items():
            kinds = [found[kind] for kind in ("words", "subwords") if kind in found]
            lengths = [f"{kind['median']:g} / {kind['p95']} / {kind['max']}" for kind in kinds]
            rows.append([name, column, f"{found['filled']} ({found['share']:.1%})", *lengths])
    yield from table(["split", "column", "filled", "words", *subwords], rows)
    yield ""
    yield from _findings(report)


def _tags(report: dict) -> Iterable[str]:
    rows = []
    for name, facts in report["splits"].items():
        labels = facts["labels"]
        types = ", ".join(f"{kind} {count}" for kind, count in labels["strict_by_type"].items())
        orphan = f"{labels['orphan_tags']} in {labels['orphan_rows']} rows"
        rows.append([name, labels["strict_entities"], labels["lenient_entities"], orphan, types])
    yield from table(["split", "entities, strict", "lenient", "I- tags that continue nothing", "strict by type"], rows)
    if report["other_type"]:
        yield report["other_type"]


def _relations(report: dict) -> Iterable[str]:
    labels = {name: facts["labels"] for name, facts in report["splits"].items()}
    rows = [[name, *(each["by_relation"].get(name, 0) for each in labels.values())] for name in report["label_names"]]
    rows.append(["share of None", *(f"{each['none_share']:.1%}" for each in labels.values())])
    yield from table(["relation", *labels], rows)


def _findings(report: dict) -> Iterable[str]:
    yield "Duplicates and leaks (posts with the same text)"
    rows = [
        [" - ".join(found["splits"]), found["kind"], found["pairs"], " = ".join(found["examples"][0])]
        for found in report["duplicates"]
    ]
    yield from table(["splits", "kind", "pairs", "for example"], rows)
    is_mner = report["task"] == "mner"
    for name, facts in report["splits"].items():
        clash, found = facts["contradictions"], facts["glosses"]
        if clash["groups"]:
            same = "sentence" if is_mner else "sentence and pair"
            example = " and ".join(clash["examples"][0])
            yield f"{name}: {clash['repeats']} rows repeat a {same} with another label, for example {example}"
        if found["glosses"]:
            aligned = f"{found['aligned']} of {found['glosses']} glosses of {found['rows']} rows"
            yield f"{name}: {aligned} were aligned to the text"
        for column, kinds in facts["refusals"].items():
            for kind, texts in kinds.items():
                what = "refuse to answer" if kind == "refusal" else "describe a notice instead of a picture"
                yield f"{name}: {texts['rows']} texts of {column} {what}, for example id {texts['examples'][0]}"
        if "truncation" in facts:
            cut, gold = facts["truncation"], "gold entities" if is_mner else "labelled pairs"
            yield (
                f"{name}: at {cut['max_length']} subword tokens {cut['texts_too_long']} texts are too long, "
                f"truncation would lose {cut['gold_lost']} {gold}; "
                f"{cut['views_truncated']} knowledge views are truncated behind the text; "
                f"{cut['words_without_subwords']} words have no subword tokens"
            )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterable[str]:
    """Lines of a table whose columns are as wide as their longest cell; `none` when there are no rows."""
    if not rows:
        yield "none"
        return
    cells = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


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

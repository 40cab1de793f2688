"""`cotpd prepare` and `cotpd check`: prepared folders, and what is in them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from modeling_cotpd.cli.options import AsJson, argument, echo, echo_json, option, with_options, words
from modeling_cotpd.errors import SettingError

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


@with_options
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
    as_json: AsJson = False,
) -> None:
    """Read a data set, join captions and knowledge, and write it as Parquet.

    Example:

        cotpd prepare twitter2017 --source raw/twitter2017 --download --out data/twitter2017
    """
    from modeling_cotpd.data.prepare import PrepareOptions
    from modeling_cotpd.data.prepare import prepare as run
    from modeling_cotpd.data.sources import KNOWN_COPIES

    options = PrepareOptions(
        **vars(reading),
        captions=not no_captions,
        knowledge=not no_knowledge,
        knowledge_from_captions=_pairs(knowledge_from_captions or [], "--knowledge-from-captions"),
        label_names=list(words(labels or "")),
        rename_types=_pairs(rename_type or [], "--rename-type"),
    )
    info, coverage = run(name, source, out, options)
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
    as_json: AsJson = False,
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

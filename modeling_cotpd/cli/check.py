"""`cotpd check`: what is in a prepared folder, and what is wrong with it."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer


def check(
    folder: Annotated[Path, typer.Argument(help="A prepared folder.")],
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Folder or name of a tokenizer: count subword tokens and what truncation would lose."),
    ] = None,
    max_length: Annotated[int, typer.Option(help="Longest view in subword tokens.")] = 512,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Report rows, gold hashes, faults of the labels, duplicates and leaks, coverage and length of every column.

    Example:

        cotpd check data/twitter2017 --tokenizer bert-base-cased
    """
    from modeling_cotpd.data.check import check as run
    from modeling_cotpd.text_safety import printable

    report = run(folder, tokenizer, max_length)
    typer.echo(
        json.dumps(report, indent=2, ensure_ascii=False) if as_json else "\n".join(map(printable, render(report)))
    )


def render(report: dict) -> Iterable[str]:
    """The lines of the report that people read."""
    splits = report["splits"]
    yield f"{report['name']} ({report['task']}), {len(report['label_names'])} labels"
    yield f"captions: {report['captioner'] or 'none'}; knowledge: {report['knowledge'] or 'none'}"
    yield ""
    yield from table(
        ["split", "rows", "unlabelled", "gold hash", "copy"],
        [
            [
                name,
                facts["rows"],
                facts["unlabelled"],
                facts["gold_hash"][:16] + ("" if facts["hash_fits"] else " DIFFERS from dataset.json"),
                facts["copy"] or "not a published copy known here",
            ]
            for name, facts in splits.items()
        ],
    )
    yield ""
    yield from (_tags if report["task"] == "mner" else _relations)(report)
    yield ""
    yield "Texts (words: median / 95th percentile / most)"
    yield from table(["split", "column", "filled", "words", *_subword_head(splits)], list(_column_rows(splits)))
    yield ""
    yield from _findings(report)


def _subword_head(splits: dict) -> list[str]:
    return ["subwords"] if any("truncation" in facts for facts in splits.values()) else []


def _column_rows(splits: dict) -> Iterable[list]:
    for name, facts in splits.items():
        for column, found in facts["columns"].items():
            kinds = [found[kind] for kind in ("words", "subwords") if kind in found]
            lengths = [f"{kind['median']:g} / {kind['p95']} / {kind['max']}" for kind in kinds]
            yield [name, column, f"{found['filled']} ({found['share']:.1%})", *lengths]


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
    splits = report["splits"]
    yield from table(
        ["relation", *splits],
        [
            [relation, *(facts["labels"]["by_relation"].get(relation, 0) for facts in splits.values())]
            for relation in report["label_names"]
        ]
        + [["share of None", *(f"{facts['labels']['none_share']:.1%}" for facts in splits.values())]],
    )


def _findings(report: dict) -> Iterable[str]:
    yield "Duplicates and leaks (posts that say the same)"
    yield from table(
        ["splits", "kind", "pairs", "for example"],
        [
            [" - ".join(found["splits"]), found["kind"], found["pairs"], " = ".join(found["examples"][0])]
            for found in report["duplicates"]
        ],
    )
    for name, facts in report["splits"].items():
        clash = facts["contradictions"]
        if clash["groups"]:
            same = "sentence" if report["task"] == "mner" else "sentence and pair"
            yield (
                f"{name}: {clash['repeats']} rows repeat a {same} with another label, "
                f"for example {' and '.join(clash['examples'][0])}"
            )
        if facts["glosses"]["glosses"]:
            found = facts["glosses"]
            yield (
                f"{name}: {found['aligned']} of {found['glosses']} glosses of {found['rows']} rows "
                "were aligned to the text"
            )
        for column, kinds in facts["refusals"].items():
            for kind, found in kinds.items():
                what = "refuse to answer" if kind == "refusal" else "describe a notice instead of a picture"
                yield f"{name}: {found['rows']} texts of {column} {what}, for example id {found['examples'][0]}"
        if "truncation" in facts:
            cut, gold = facts["truncation"], "gold entities" if report["task"] == "mner" else "labelled pairs"
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
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()

"""`cotpd prepare`: published files, or a user's own, become a prepared folder."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from modeling_cotpd.errors import SettingError


def prepare(
    name: Annotated[
        str,
        typer.Argument(
            help="twitter2015, twitter2017, snap, wikidiverse, mnre, sample-mner, sample-mre, or custom (your own)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The new folder.")],
    source: Annotated[
        str | None, typer.Option(help="Folder with the published files; custom: also a datasets path or Hub name.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="custom: mner or mre.")] = None,
    captioner: Annotated[
        str | None,
        typer.Option(help="Key of captions.SPLIT.jsonl that fills the caption column.", show_default="blip2"),
    ] = None,
    captions: Annotated[bool, typer.Option(help="Read caption files.")] = True,
    knowledge: Annotated[bool, typer.Option(help="Read knowledge files.")] = True,
    knowledge_from_captions: Annotated[
        list[str] | None, typer.Option(help="COLUMN=CAPTIONER: a long caption fills a knowledge column; repeatable.")
    ] = None,
    context_column: Annotated[
        str | None, typer.Option(help="Column that takes the retrieved text of MoRe's files.")
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Label names in id order, separated by commas.")] = None,
    rename_type: Annotated[
        list[str] | None, typer.Option(help="OLD=NEW: another name for an entity type; repeatable.")
    ] = None,
    tag_scheme: Annotated[
        str, typer.Option(help="custom: bio, iob1 or bioes (also BILOU, BMEWO); written as bio.")
    ] = "bio",
    min_coverage: Annotated[
        float, typer.Option(help="Least share of rows whose id a caption or knowledge file must have.")
    ] = 0.5,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the published posts, captions and explanations into the source.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a prepared folder.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Read a data set, join captions and knowledge, and write it as Parquet.

    Example:

        cotpd prepare twitter2017 --source raw/twitter2017 --download --out data/twitter2017
    """
    from modeling_cotpd.data.prepare import PrepareOptions
    from modeling_cotpd.data.prepare import prepare as run
    from modeling_cotpd.text_safety import printable

    options = PrepareOptions(
        task=task,
        captioner=captioner,
        captions=captions,
        knowledge=knowledge,
        knowledge_from_captions=_pairs(knowledge_from_captions or [], "--knowledge-from-captions"),
        context_column=context_column,
        label_names=[label.strip() for label in labels.split(",")] if labels else [],
        rename_types=_pairs(rename_type or [], "--rename-type"),
        tag_scheme=tag_scheme,
        min_coverage=min_coverage,
        download=download,
        overwrite=overwrite,
    )
    info, coverage = run(name, source, out, options)
    if as_json:
        joined = [asdict(report) for report in coverage]
        typer.echo(json.dumps({"out": str(out), **asdict(info), "joined": joined}, indent=2, ensure_ascii=False))
        return
    typer.echo(printable(f"{info.name} ({info.task}), {len(info.label_names)} labels: {', '.join(info.label_names)}"))
    for split, facts in info.splits.items():
        typer.echo(f"{split}: {facts['rows']} rows, gold hash {facts['gold_hash']}")
    for report in coverage:
        typer.echo(printable(str(report)))
    typer.echo(f"captions: {info.captioner or 'none'}; knowledge: {info.knowledge or 'none'}")
    typer.echo(f"Written to {out}. Look it over with: cotpd check {out}")


def _pairs(values: list[str], option: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for value in values:
        left, equals, right = (part.strip() for part in value.partition("="))
        if not (left and equals and right):
            raise SettingError(
                f"{option} takes LEFT=RIGHT, but got {value!r}.", fix=f"For example {option} OTHER=MISC."
            )
        if left in pairs:
            raise SettingError(f"{option} names {left!r} twice.", fix="Name it once.")
        pairs[left] = right
    return pairs

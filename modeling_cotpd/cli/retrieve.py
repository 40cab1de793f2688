"""`cotpd retrieve`: similar texts as knowledge."""

import json
from pathlib import Path
from typing import Annotated

import typer

from modeling_cotpd.cli import options
from modeling_cotpd.errors import SettingError


def retrieve(
    data: Annotated[Path, typer.Option(help="Prepared folder whose posts ask.")],
    out: Annotated[Path | None, typer.Option(help="New prepared folder with the filled column.")] = None,
    lines: Annotated[Path | None, typer.Option(help="Folder for retrieved.<split>.jsonl files with the hits.")] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="JSON Lines, Parquet or text file; default: the training split.")
    ] = None,
    field: Annotated[str, typer.Option(help="The corpus's field with the passage.")] = "text",
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures: compare pictures, not texts.")] = None,
    column: Annotated[str, typer.Option(help="Knowledge column to fill.")] = "cot_sentence",
    returns: Annotated[
        str, typer.Option(help="What a training post hands over: text, caption or a knowledge column.")
    ] = "",
    k: Annotated[int, typer.Option("--k", help="Passages for each post.")] = 3,
    max_words: Annotated[int, typer.Option(help="Longer passages are cut.")] = 60,
    model: Annotated[str, typer.Option(help="Embedding model; default: the packaged MiniLM, or CLIP B/32.")] = "",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")] = None,
    batch_size: Annotated[int, typer.Option(help="Texts or pictures in one forward pass.")] = 64,
    index: Annotated[str, typer.Option(help="FAISS factory string, such as Flat or IVF4096,PQ48.")] = "Flat",
    cache: Annotated[Path | None, typer.Option(help="Where vectors are kept; default: the user's cache.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace texts that the column has.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Fill a knowledge column with the texts most similar to each post.

    No post gets its own text or an exact duplicate; validation and test posts are never found; labels are never handed
    over. The vectors of a corpus are kept and used again.

    Example:

        cotpd retrieve --data data/twitter2017 --out data/twitter2017-retri-txt

        cotpd retrieve --data data/twitter2017 --corpus wikipedia.parquet --out data/twitter2017-wiki

        cotpd retrieve --data data/twitter2017 --images pictures --returns caption --out data/twitter2017-retri-img
    """
    from modeling_cotpd.data.prepared import read_prepared, write_prepared
    from modeling_cotpd.files import atomic_write, json_line, require_empty
    from modeling_cotpd.knowledge.embedding import Embedder, default_text_model, model_label
    from modeling_cotpd.knowledge.retrieval import (
        DEFAULT_IMAGE_MODEL,
        check_column,
        corpus_passages,
        fill_column,
        retrieve_by_image,
        retrieve_texts,
        train_passages,
        write_retrieved,
    )

    if out is None and lines is None:
        raise SettingError("There is nowhere to write to.", fix="Give --out or --lines.")
    if corpus is not None and images is not None:
        raise SettingError("A corpus holds no pictures to compare.", fix="Give --corpus or --images.")
    if corpus is not None and returns:
        raise SettingError("A corpus hands over its passages.", place="--returns", fix="Leave --returns out.")
    if out is not None:
        require_empty(out)
    splits, info = read_prepared(data)
    if out is not None:
        check_column(splits, column, overwrite)
    problems: dict = {}
    if images is not None:
        from modeling_cotpd.knowledge.images import image_folder, require_pillow

        require_pillow()
        model, returns = model or DEFAULT_IMAGE_MODEL, returns or "caption"
        embedder = Embedder(model, revision=revision, batch_size=batch_size)
        found, problems = retrieve_by_image(
            splits, image_folder(images), embedder, returns=returns, k=k, max_words=max_words, cache=cache
        )
        source = f"{returns} of the training posts with similar pictures"
    else:
        model = model or default_text_model()
        passages = corpus_passages(corpus, field, cache) if corpus else train_passages(splits, returns or "text")
        embedder = Embedder(model, revision=revision, batch_size=batch_size)
        found = retrieve_texts(splits, passages, embedder, k=k, max_words=max_words, index=index, cache=cache)
        source = passages.source
        info.sources.update(passages.files)
    say = (lambda line: None) if as_json else options.echo
    summary: dict = {"splits": {}, "hits": [], "out": str(out) if out else None, "unusable_pictures": len(problems)}
    for name, retrieved in found.items():
        best = [hits[0][1] for hits in retrieved.hits if hits]
        mean, rows = sum(best) / len(best) if best else 0.0, len(retrieved.hits)
        summary["splits"][name] = {"rows": rows, "found": len(best), "mean_best_cosine": round(float(mean), 4)}
        say(f"{name}: {len(best):,} of {rows:,} rows found something, mean best cosine {mean:.3f}")
    for path in write_retrieved(splits, found, column, lines) if lines else []:
        summary["hits"].append(str(path))
        say(f"Hits: {path}")
    if out is not None:
        provenance = f"retrieval, top {k} of {source}, by {model_label(model)}"
        filled, info = fill_column(splits, info, found, column, provenance, overwrite)
        write_prepared(filled, info, out)
        say(f"Prepared folder: {out}")
    if as_json:
        typer.echo(json.dumps(summary, indent=2))
    target = out or lines
    if problems and target is not None:
        report = target.with_name(f"{target.name}.report.jsonl")
        with atomic_write(report) as file:
            for name, item in problems.items():
                file.write(json_line({"image": name, "reason": item.reason, "detail": item.detail}))
        options.echo_all([f"{len(problems)} pictures could not be used. Listed in {report}"])
        raise typer.Exit(1)

"""`cotpd triples`: entities of any number of posts and the relations between them, from the text alone."""

from pathlib import Path
from typing import Annotated

import typer


def triples(
    entities: Annotated[str, typer.Argument(help="A model for named entity recognition: output folder or Hub name.")],
    relations: Annotated[str, typer.Argument(help="A model for relation extraction.")],
    input: Annotated[Path, typer.Option(help="Posts: .jsonl, .txt, .conll or .parquet, or a folder of them.")],
    output: Annotated[Path, typer.Option(help="Where the predictions go, a .jsonl file.")],
    also: Annotated[
        list[Path] | None, typer.Option(help="Write them again: .conll, .json (displaCy), .nt (RDF); may be repeated.")
    ] = None,
    base: Annotated[str, typer.Option(help="What the IRIs of an .nt file begin with.")] = "urn:cotpd:",
    min_score: Annotated[float, typer.Option(help="Leave out relations that are less probable.")] = 0.0,
    fit_types: Annotated[
        bool,
        typer.Option("--fit-types/--any-types", help="Leave out relations that name other types than their entities."),
    ] = True,
    nearest: Annotated[int, typer.Option(help="Pair each entity with this many behind it.")] = 10,
    format: Annotated[str, typer.Option(help="auto, jsonl, text (a post per line), conll or parquet.")] = "auto",
    text_column: Annotated[str, typer.Option(help="Where rows hold the text; else they need tokens.")] = "text",
    batch_size: Annotated[int, typer.Option(help="The most texts in a batch.")] = 32,
    max_batch_tokens: Annotated[int | None, typer.Option(help="The most pieces in a batch.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Both models are what cotpd export wrote.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto (as saved), float32, bfloat16 or float16.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin again, whatever is there.")] = False,
) -> None:
    """Find the entities of every post, and the relation of each ordered pair of them.

    One JSON line per post, in the order of the input: id, text, entities (start, end, type, score, text; spans count
    characters) and relations (head and tail, which number the entities, relation and score). Memory stays flat. A run
    that was broken off continues when the same command is given again. Under torchrun or accelerate launch, every
    process takes its share of the posts.

    Example:

        cotpd triples outputs/twitter2017_minilm outputs/mnre_minilm --input posts.txt --output triples.jsonl \
--also triples.nt
    """
    from modeling_cotpd.inference.batches import BatchSettings
    from modeling_cotpd.inference.exports import export, export_format
    from modeling_cotpd.data.posts import find_post_files
    from modeling_cotpd.inference.rdf_export import RdfWriter
    from modeling_cotpd.inference.run import (
        claim_output,
        merge_windows,
        predict_windows,
        run_settings,
        start_processes,
    )
    from modeling_cotpd.inference.triples import TripleExtractor

    for path in also or ():
        export_format(path)
    RdfWriter(base)
    files = find_post_files(input, format)
    state = start_processes(cpu=onnx or device == "cpu")
    extractor = TripleExtractor.from_folders(
        entities,
        relations,
        device=state.device if device == "auto" else device,
        dtype=dtype,
        batches=BatchSettings(batch_size, max_batch_tokens),
        onnx=onnx,
        min_score=min_score,
        fit_types=fit_types,
        nearest=nearest,
    )
    if state.is_main_process:
        settings = {"min_score": min_score, "fit_types": fit_types, "nearest": nearest, "text_column": text_column}
        relater = run_settings(relations, ())["model"]
        done = claim_output(
            output,
            run_settings(entities, files, relations=relater, dtype=dtype, onnx=onnx, **settings),
            overwrite,
        )
        if done:
            typer.echo(f"Continuing: {done} windows are done.", err=True)
    state.wait_for_everyone()
    # Entities are found in posts that name none, so they are read as for named entity recognition
    count = predict_windows(extractor, files, "mner", output, text_column, state.process_index, state.num_processes)
    state.wait_for_everyone()
    if state.is_main_process:
        result = merge_windows(output, count)
        typer.echo(f"{result.posts:,} posts: {output}")
        for path in also or ():
            export(output, path, base)
            typer.echo(f"Again: {path}")

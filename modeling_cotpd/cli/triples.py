"""`cotpd triples`: entities of any number of posts and the relations between them, from the text alone."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from modeling_cotpd.cli.predict import interruptible


def triples(
    entities: Annotated[str, typer.Argument(help="A model for named entity recognition: output folder or Hub name.")],
    relations: Annotated[str, typer.Argument(help="A model for relation extraction.")],
    input: Annotated[Path, typer.Option(help="Posts: .jsonl, .txt, .conll or .parquet, or a folder of them.")],
    output: Annotated[Path, typer.Option(help="Where the predictions go, a .jsonl file.")],
    also: Annotated[list[Path] | None, typer.Option(help="Write .conll or .nt (RDF) too; may be repeated.")] = None,
    base: Annotated[str, typer.Option(help="What the IRIs of an .nt file begin with.")] = "urn:cotpd:",
    min_score: Annotated[float, typer.Option(help="Leave out relations that are less probable.")] = 0.0,
    check_types: Annotated[
        bool,
        typer.Option(
            "--check-types/--any-types", help="Leave out relations that name other types than their entities."
        ),
    ] = True,
    nearest: Annotated[int, typer.Option(help="Pair each entity with this many behind it.")] = 10,
    format: Annotated[str, typer.Option(help="auto, jsonl, text (a post per line), conll or parquet.")] = "auto",
    text_column: Annotated[str, typer.Option(help="Where rows hold the text; else they need tokens.")] = "text",
    batch_size: Annotated[int, typer.Option(help="Maximum number of texts in a batch.")] = 32,
    max_batch_tokens: Annotated[int | None, typer.Option(help="Maximum subword tokens in a batch.")] = None,
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
    from modeling_cotpd.data.posts import find_post_files
    from modeling_cotpd.inference.batches import BatchSettings
    from modeling_cotpd.inference.exports import export, export_format
    from modeling_cotpd.inference.load import usable_device
    from modeling_cotpd.inference.rdf_export import RdfWriter
    from modeling_cotpd.inference.run import check_output, predict_to_file, run_settings, start_processes, take_threads
    from modeling_cotpd.inference.triples import TripleExtractor

    for path in also or ():
        export_format(path)
    RdfWriter(base)
    check_output(output, overwrite)
    files = find_post_files(input, format)
    state = start_processes(cpu=onnx or device == "cpu")
    place = state.device if device == "auto" else usable_device(device)
    threads = take_threads(place)
    settings: dict[str, Any] = {"min_score": min_score, "check_types": check_types, "nearest": nearest}
    extractor = TripleExtractor.from_folders(
        entities,
        relations,
        device=place,
        dtype=dtype,
        batches=BatchSettings(batch_size, max_batch_tokens),
        onnx=onnx,
        **settings,
    )
    settings |= {"relations": run_settings(relations, ())["model"], "dtype": dtype, "onnx": onnx}
    settings = run_settings(entities, files, text_column=text_column, **settings)
    # Entities are found in posts that name none, so they are read as for named entity recognition
    result = interruptible(
        output,
        partial(
            predict_to_file,
            extractor,
            files,
            "mner",
            output,
            settings,
            state,
            text_column=text_column,
            overwrite=overwrite,
            threads=threads,
        ),
    )
    if result is not None:
        typer.echo(f"{result.posts:,} posts: {output}")
        for path in also or ():
            export(output, path, base)
            typer.echo(f"{path}")

"""`cotpd predict`: entities or relations of any number of posts, from the text alone."""

import json
from pathlib import Path
from typing import Annotated

import typer

PROBLEMS = 4


def predict(
    model: Annotated[str, typer.Argument(help="A run's output folder, a Hub repository, or an exported folder.")],
    input: Annotated[Path, typer.Option(help="Posts: .jsonl, .txt, .conll or .parquet, or a folder of them.")],
    output: Annotated[Path, typer.Option(help="Where the predictions go, a .jsonl file.")],
    format: Annotated[str, typer.Option(help="auto, jsonl, text (a post per line), conll or parquet.")] = "auto",
    text_column: Annotated[str, typer.Option(help="Where rows hold the text; else they need tokens.")] = "text",
    batch_size: Annotated[int, typer.Option(help="The most texts in a batch.")] = 32,
    max_batch_tokens: Annotated[int | None, typer.Option(help="The most pieces in a batch.")] = None,
    max_length: Annotated[int | None, typer.Option(help="The most pieces read at once; all the model can.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="MODEL is what cotpd export wrote.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto (as saved), float32, bfloat16 or float16.")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hub repository.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin again, whatever is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Find entities, or the relation of two entities, in every post of a file of any size.

    One JSON line per post, in the order of the input: id, text, and entities (start, end, type, score, text; spans
    count characters) or relation and score. Memory stays flat. A run that was broken off continues when the same
    command is given again. Under torchrun or accelerate launch, every process takes its share of the posts. Exit
    codes: 0 all predicted, 2 wrong input, 4 some rows have a problem instead of a prediction.

    Example:

        cotpd predict outputs/twitter2017_minilm --input posts.jsonl --output entities.jsonl
    """
    from modeling_cotpd.inference.batches import BatchSettings
    from modeling_cotpd.inference.load import load_predictor
    from modeling_cotpd.inference.posts import find_post_files
    from modeling_cotpd.inference.run import (
        claim_output,
        merge_windows,
        predict_windows,
        run_settings,
        start_processes,
    )

    files = find_post_files(input, format)
    batches = BatchSettings(batch_size, max_batch_tokens)
    state = start_processes(cpu=onnx or device == "cpu")
    predictor, task = load_predictor(
        model,
        onnx=onnx,
        device=state.device if device == "auto" else device,
        dtype=dtype,
        batches=batches,
        max_length=max_length,
        revision=revision,
    )
    if state.is_main_process:
        settings = run_settings(
            model, files, text_column=text_column, max_length=predictor.max_length, dtype=dtype, onnx=onnx
        )
        done = claim_output(output, settings, overwrite)
        if done:
            typer.echo(f"Continuing: {done} windows are done.", err=True)
    state.wait_for_everyone()
    count = predict_windows(predictor, files, task, output, text_column, state.process_index, state.num_processes)
    state.wait_for_everyone()
    if state.is_main_process:
        result = merge_windows(output, count)
        summary = {"posts": result.posts, "problems": result.problems, "output": str(output)}
        typer.echo(json.dumps(summary) if as_json else f"{result.posts:,} posts: {output}")
        if result.problems:
            typer.echo(f"{result.problems:,} rows have a problem instead of a prediction.", err=True)
            raise typer.Exit(PROBLEMS)

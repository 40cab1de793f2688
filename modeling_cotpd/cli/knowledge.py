"""`cotpd knowledge ...`: the response store, batch files, and the summarizer."""

import json
from pathlib import Path
from typing import Annotated

import typer

from modeling_cotpd.cli import options
from modeling_cotpd.cli.elicit import GRAINS, Grains, Images, Mode, Nouns, Split, make_plan
from modeling_cotpd.cli.knowledge_label import label
from modeling_cotpd.errors import KnowledgeError, SettingError

app = typer.Typer(
    no_args_is_help=True,
    help="Stored answers, batch files, summaries.\n\nExample:\n\n    cotpd knowledge status --store answers.sqlite",
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command()(label)


def _existing(store: Path) -> Path:
    if not store.is_file():
        raise KnowledgeError("There is no such response store.", place=str(store), fix="Name it with --store.")
    return store


@app.command()
def status(store: options.Store = options.STORE) -> None:
    """What the store holds, as JSON: answers and tokens by endpoint, model, purpose and status.

    Example:

        cotpd knowledge status --store answers.sqlite
    """
    from modeling_cotpd.knowledge.store import ResponseStore

    names = ("endpoint", "model", "purpose", "status", "answers", "prompt_tokens", "completion_tokens")
    with ResponseStore(_existing(store)) as opened:
        rows = [dict(zip(names, row, strict=True)) for row in opened.counts()]
    typer.echo(json.dumps(rows, indent=2))


@app.command("export")
def export_(
    out: Annotated[Path, typer.Argument(help="JSON Lines file to write.")],
    store: options.Store = options.STORE,
    status: Annotated[str, typer.Option(help="Only rows of this status, such as failed.")] = "",
    model: Annotated[str, typer.Option(help="Only rows of this model.")] = "",
) -> None:
    """Write stored answers as JSON Lines, one row with request, answer and usage a line.

    Example:

        cotpd knowledge export answers.jsonl --store answers.sqlite
    """
    from modeling_cotpd.knowledge.store import ResponseStore, export_answers

    wanted = {name: value for name, value in (("status", status), ("model", model)) if value}
    with ResponseStore(_existing(store)) as opened:
        options.echo(f"{export_answers(opened, out, **wanted):,} rows in {out}")


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="JSON Lines file from `cotpd knowledge export`.")],
    store: options.Store = options.STORE,
) -> None:
    """Read exported answers into a store; answers that it has are kept.

    Example:

        cotpd knowledge import answers.jsonl --store other.sqlite
    """
    from modeling_cotpd.knowledge.store import ResponseStore, import_answers

    if not path.is_file():
        raise KnowledgeError("There is no such file.", place=str(path))
    with ResponseStore(store) as opened:
        taken, read = import_answers(opened, path)
    typer.echo(f"{taken:,} of {read:,} rows were new")


@app.command()
@options.with_teacher_options
def batch_write(
    source: Annotated[Path, typer.Argument(help="Posts, as `cotpd elicit` takes them.")],
    out: Annotated[Path, typer.Option(help="Folder for the request files.")],
    model: options.Model,
    teacher: options.TeacherOptions,
    split: Split = None,
    grains: Grains = GRAINS,
    mode: Mode = "dialogue",
    nouns: Nouns = "text",
    images: Images = None,
    limit: options.Limit = None,
    most_requests: Annotated[int, typer.Option(help="Most requests in one file.", min=1)] = 50_000,
    most_megabytes: Annotated[float, typer.Option(help="Largest file, in megabytes.", min=0.001)] = 200,
) -> None:
    """Write the requests that can be asked now as OpenAI Batch files, which vLLM's run-batch takes too.

    In dialogue mode every question needs the answer before it: write, have it answered, read, and write again, one
    round per grain; independent mode takes one round. When nothing is left to write, `cotpd elicit --offline` with
    the same options writes the columns.

    Example:

        cotpd knowledge batch-write posts.parquet --out batches --model gpt-5-nano --mode independent
    """
    from modeling_cotpd.data.posts import find_post_files
    from modeling_cotpd.knowledge.batch import BatchWriter
    from modeling_cotpd.knowledge.explanation import elicitation_jobs
    from modeling_cotpd.knowledge.post import all_posts, check_ids
    from modeling_cotpd.knowledge.store import ResponseStore

    plan = make_plan(teacher.settings(model), teacher.prompts, grains, mode, images, nouns)
    files = find_post_files(source, splits=split or ())
    check_ids(files, limit)
    with ResponseStore(teacher.store) as opened:
        writer = BatchWriter(opened, out, teacher.repeated(), most_requests, int(most_megabytes * 1e6))
        writer.write(elicitation_jobs(all_posts(files, limit), plan))
    for path in writer.files:
        options.echo(str(path))
    options.echo_all([f"requests: {json.dumps(dict(writer.counts))[1:-1] or 'none'}"])


@app.command()
def batch_read(
    paths: Annotated[list[Path], typer.Argument(help="Output and error files of the batches, in any order.")],
    store: options.Store = options.STORE,
) -> None:
    """Read batch outputs into the store that wrote the requests; exit code 3 when a line could not be used or failed.

    Example:

        cotpd knowledge batch-read batch_*_output.jsonl batch_*_error.jsonl --store answers.sqlite
    """
    from modeling_cotpd.knowledge.batch import read_batch
    from modeling_cotpd.knowledge.store import ResponseStore

    if missing := [path for path in paths if not path.is_file()]:
        raise KnowledgeError("There is no such file.", place=str(missing[0]))
    with ResponseStore(_existing(store)) as opened:
        counts, problems = read_batch(paths, opened)
    options.echo_all(problems)
    typer.echo(f"answers: {json.dumps(dict(counts))[1:-1] or 'none'}")
    if problems or counts["failed"]:
        raise typer.Exit(options.UNASKED)


@app.command()
@options.with_teacher_options
def summarize(
    source: Annotated[Path, typer.Argument(help="Prepared folder with chain-of-thought columns.")],
    out: Annotated[Path, typer.Option(help="New prepared folder.")],
    model: options.Model,
    teacher: options.AskingOptions,
    tokenizer: Annotated[str, typer.Option(help="Folder or name of the student's tokenizer.")],
    budget: Annotated[
        str, typer.Option(help="Most subword tokens: a number for all grains, or noun=64,sentence=128.")
    ] = "128",
) -> None:
    """Have the model shorten the explanations that are over the student's budget, and only those.

    OUT/summarized.jsonl lists every explanation that was too long, with its outcome. By default, three grains of 128
    subword tokens leave a quarter of 512 to text and caption. Exit codes as of `cotpd elicit`.

    Example:

        cotpd knowledge summarize data/t17 --out data/t17-short --model gpt-5-nano --tokenizer bert-base-cased
    """
    import modeling_cotpd  # noqa: F401  # the tokenizer may be that of a trained model
    from modeling_cotpd.data.posts import find_post_files
    from modeling_cotpd.knowledge.post import all_posts
    from modeling_cotpd.knowledge.prompt import load_prompts
    from modeling_cotpd.knowledge.summarize import SummaryPlan, count_with, summary_jobs
    from modeling_cotpd.knowledge.summarize import summarize as run

    settings, asking = teacher.settings(model), teacher.asking(model)
    prompt = load_prompts(teacher.prompts)["summarize"]
    plan = SummaryPlan(settings, prompt, read_budgets(budget), count_with(tokenizer))
    if teacher.dry_run:
        teacher.print_estimate(summary_jobs(all_posts(find_post_files(source)), plan), settings, asking)
        return
    result = run(source, out, teacher.store, plan, asking)
    options.end_when_stopped(asking)
    counts = {f"{grain}, {outcome}": count for (grain, outcome), count in sorted(result.outcomes.items())}
    options.echo(f"over budget: {json.dumps(counts)[1:-1] or 'none'}")
    if result.problems:
        options.echo_all([f"{result.problems:,} explanations stay too long: see {result.marks}"])
        failed = sum(count for (_, outcome), count in result.outcomes.items() if outcome in ("failed", "missing"))
        raise typer.Exit(options.UNASKED if failed else options.UNUSABLE)


def read_budgets(text: str) -> dict[str, int]:
    """Return grain to number of subword tokens, from `128` or `noun=64,sentence=128`.

    Raises:
        SettingError: A part is no number.
    """
    try:
        if "=" not in text:
            return dict.fromkeys(GRAINS.split(","), int(text))
        return {name.strip(): int(value) for name, value in (part.split("=") for part in options.words(text))}
    except ValueError:
        raise SettingError(
            f"{text!r} is no budget.", place="--budget", fix="Write 128 or noun=64,sentence=128"
        ) from None

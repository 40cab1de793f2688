"""`cotpd llm-baseline`: the teacher itself as entity recognizer or relation extractor."""

from pathlib import Path
from typing import Annotated

import typer

from modeling_cotpd.cli import teacher_options as options
from modeling_cotpd.errors import SettingError


@options.with_teacher_options
def llm_baseline(
    source: Annotated[Path, typer.Argument(help="Prepared folder with labels.")],
    out: Annotated[Path, typer.Option(help="Folder for predictions.jsonl and results.json.")],
    model: options.Model,
    teacher: options.AskingOptions,
    split: Annotated[str, typer.Option(help="The split to predict.")] = "test",
    shots: Annotated[int, typer.Option(help="Worked examples from the training split.", min=0)] = 0,
    seed: Annotated[int, typer.Option(help="Of the choice of examples.")] = 0,
    structured: Annotated[
        bool, typer.Option("--structured", help="Demand JSON by response_format, where the server knows it.")
    ] = False,
    limit: options.Limit = None,
) -> None:
    """Ask a language model for the entities or the relation of every row and score its answers.

    These are the ChatGPT and GPT-4 rows of the paper's Table 1. Answers are read tolerantly; those that cannot be
    read count as predicting nothing, and their number stands beside the scores. Exit codes as of `cotpd elicit`.

    Example:

        cotpd llm-baseline data/twitter2017 --out runs/gpt-5-nano --model gpt-5-nano --shots 4
    """
    from modeling_cotpd.data.prepared import read_prepared
    from modeling_cotpd.knowledge.baseline import Question, baseline_jobs, choose_examples, run_baseline
    from modeling_cotpd.knowledge.prompt import load_prompts

    settings, asking = teacher.settings(model), teacher.asking(model)
    splits, info = read_prepared(source)
    for name in (split, *(["train"] if shots else [])):
        if name not in splits:
            raise SettingError(
                f"There is no split {name!r}.", place=str(source), fix=f"There are {', '.join(splits)}."
            )
    if shots and split == "train":
        raise SettingError(
            "The examples come from the split that is predicted.", place="--shots", fix="Use --shots 0."
        )
    examples = choose_examples(list(splits["train"]), info.task, info.label_names, shots, seed) if shots else ()
    prompt = load_prompts(teacher.prompts)["entities" if info.task == "mner" else "relation"]
    question = Question(info.task, settings, prompt, info.label_names, examples, structured)
    rows = splits[split].select(range(min(limit, len(splits[split])))) if limit else splits[split]
    teacher.print_estimate(baseline_jobs(rows, question), settings, asking)
    if teacher.dry_run:
        return
    result = run_baseline(rows, question, teacher.store, out, asking)
    options.end_when_stopped(asking)
    options.echo_all([options.usage_line(asking)])
    left_out = ", ".join(f"{count} {reason}" for reason, count in result.left_out.items()) or "nothing"
    options.echo(f"could not be read: {result.unparsable} of {len(rows)} answers; left out of others: {left_out}")
    if result.scores:
        options.echo(", ".join(f"{name} {result.scores[name]:.4f}" for name in ("f1", "precision", "recall")))
    options.echo(str(out / "results.json"))
    if result.unasked:
        raise typer.Exit(options.UNASKED)

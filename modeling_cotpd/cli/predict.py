"""`cotpd predict`, `triples`, `threshold` and `learn`: any number of posts, from the text alone or with knowledge."""

import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modeling_cotpd.cli import options
from modeling_cotpd.cli.options import argument, echo, echo_all, option
from modeling_cotpd.errors import SettingError
from modeling_cotpd.files import json_line, write_json_lines

if TYPE_CHECKING:
    from modeling_cotpd.inference.on_demand import Explainer, KnowledgeOnDemand
    from modeling_cotpd.inference.predictor import Predictor

ON_DEMAND = "Knowledge on demand"


@dataclass(frozen=True)
class PostOptions:
    """What `predict` and `triples` read, how, and what they write beside the predictions."""

    also: Annotated[list[Path] | None, option("Write .conll or .nt (RDF) too; may be repeated.")] = None
    format: Annotated[str, option("auto, jsonl, text (a post per line), conll or parquet.")] = "auto"
    text_column: Annotated[str, option("The column of the text; else rows need tokens.")] = "text"
    batch_size: Annotated[int, option("Maximum number of texts in a batch.")] = 32
    max_batch_tokens: Annotated[int | None, option("Maximum subword tokens in a batch; 384 on a CPU.")] = None
    onnx: Annotated[bool, option("MODEL is a folder that cotpd export wrote.", "--onnx")] = False
    device: options.Device = "auto"
    dtype: options.Dtype = "auto"
    overwrite: Annotated[bool, option("Replace an existing output.", "--overwrite")] = False

    def check(self, output: Path | None) -> None:
        """Raise when a file that is to be written cannot be."""
        from modeling_cotpd.inference.exports import export_format
        from modeling_cotpd.inference.run import check_output

        for path in self.also or ():
            export_format(path)
        if output is not None:
            check_output(output, self.overwrite)
        elif self.also:
            raise SettingError("--also writes the predictions of --output again.", fix="Add --output.")

    def loading(self) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """Return this process among all, how it loads a model, and how it writes predictions to a file."""
        from modeling_cotpd.inference.batches import BatchSettings
        from modeling_cotpd.inference.load import usable_device
        from modeling_cotpd.inference.run import start_processes, take_threads

        state = start_processes(cpu=self.onnx or self.device == "cpu")
        device = state.device if self.device == "auto" else usable_device(self.device)
        batches = BatchSettings(self.batch_size, self.max_batch_tokens)
        writing = {"text_column": self.text_column, "overwrite": self.overwrite, "threads": take_threads(device)}
        return state, {"device": device, "dtype": self.dtype, "batches": batches}, writing

    def export(self, output: Path, err: bool = False, **more: Any) -> None:
        """Write the predictions in the other formats."""
        from modeling_cotpd.inference.exports import export

        for path in self.also or ():
            export(output, path, **more)
            echo(str(path), err=err)


@options.with_options
def predict(
    model: Annotated[str, argument("A run's output folder, a Hub repository, or an exported folder.")],
    reading: PostOptions,
    teacher: options.AskingOptions,
    input: Annotated[str, option("Posts: a file, a folder of files, or - for the standard input.")] = "",
    text: Annotated[list[str] | None, option("A post; may be repeated.")] = None,
    output: Annotated[Path | None, option("A .jsonl file; by default the standard output.")] = None,
    min_score: Annotated[float, option("Leave out less probable predictions.", min=0, max=1)] = 0.0,
    max_length: Annotated[int | None, option("Maximum subword tokens read at once.")] = None,
    revision: options.Revision = None,
    as_json: options.AsJson = False,
    ask_teacher: Annotated[
        float | None, option("Ask about this share of the posts, the most uncertain.", panel=ON_DEMAND)
    ] = None,
    threshold: Annotated[str, option("Ask above this uncertainty; stored: by cotpd threshold.", panel=ON_DEMAND)] = "",
    teacher_model: Annotated[str, option("The model to ask, at --base-url.", "--teacher", panel=ON_DEMAND)] = "",
    knowledge_model: Annotated[str, option("The model that reads knowledge, if not MODEL.", panel=ON_DEMAND)] = "",
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
    reading.check(output)
    if bool(input) == bool(text):
        raise SettingError("Give either --input or --text.", fix='For example: --text "Maya Stone moved to Harlow".')
    on_demand = ask_teacher is not None or bool(threshold)
    if on_demand and not teacher_model:
        raise SettingError("Knowledge on demand needs a language model.", place="--teacher", fix="Name it.")
    if teacher.dry_run and (not on_demand or output is None):
        raise SettingError("--dry-run counts what --ask-teacher or --threshold would send.", fix="Add --output too.")
    from modeling_cotpd.inference.load import load_predictor
    from modeling_cotpd.inference.on_demand import SecondPass
    from modeling_cotpd.inference.run import all_posts, chunks, map_in_threads, predict_to_file, probable, run_settings

    given, files = _given(input, text, reading.format)
    state, loading, writing = reading.loading()
    predictor, task = load_predictor(model, onnx=reading.onnx, max_length=max_length, revision=revision, **loading)
    posts = functools.partial(all_posts, files, task, reading.text_column)
    answering: Any = predictor
    if on_demand:
        reader = load_predictor(knowledge_model, **loading)[0] if knowledge_model else predictor
        answering, explainer = _on_demand(predictor, reader, teacher, teacher_model, model, ask_teacher, threshold)
    if output is None:
        side_by_side = 1 if on_demand else writing["threads"]  # one run at a time asks the teacher
        with given:
            for rows in map_in_threads(answering, chunks(posts()), side_by_side):
                for row in rows:
                    line = json_line(probable(row, min_score))
                    if sys.stdout.isatty():
                        echo(line.rstrip())
                    else:
                        sys.stdout.buffer.write(line.encode())
                sys.stdout.flush()
        return
    settings = run_settings(
        model,
        files if input not in ("", "-") else (),
        text_column=reading.text_column,
        max_length=predictor.max_length,
        dtype=reading.dtype,
        onnx=reading.onnx,
        min_score=min_score,
        revision=revision,
        posts=text,
    )
    if on_demand:
        settings |= {
            "knowledge_model": run_settings(knowledge_model, ())["model"] if knowledge_model else [],
            "teacher": [teacher_model, explainer.plan.settings.endpoint, explainer.plan.tags],
            "asked": [ask_teacher, answering.threshold],
        }
        second = SecondPass(answering, explainer, posts, output, min_score, teacher.dry_run, echo_all)
        answering, writing["second_pass"] = second.first, second
    with given:
        result = predict_to_file(answering, files, task, output, settings, state, min_score=min_score, **writing)
    if result is None:
        return
    if as_json:
        options.echo_json({"posts": result.posts, "problems": result.problems, "output": str(output)})
    else:
        echo(f"{result.posts:,} posts: {output}")
    reading.export(output, err=as_json)
    if result.problems:
        echo(f"{result.problems:,} rows have a problem instead of a prediction.", err=True)
        raise typer.Exit(options.UNUSABLE)


def _given(input: str, text: list[str] | None, format: str) -> tuple[Any, list]:
    """The files of posts, and a context in which they exist: `--text` and the standard input become a file."""
    import tempfile
    from contextlib import nullcontext

    from modeling_cotpd.data.posts import PostFile, find_post_files

    if input not in ("", "-"):
        return nullcontext(), find_post_files(input, format)
    folder = tempfile.TemporaryDirectory(prefix="cotpd-")
    if text:
        path, form = Path(folder.name) / "text.jsonl", "jsonl"
        write_json_lines(path, ({"text": post} for post in text))
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
) -> tuple["KnowledgeOnDemand", "Explainer"]:
    """What reads again, and whom it asks."""
    from modeling_cotpd.inference.on_demand import Explainer, KnowledgeOnDemand, on_demand_plan, stored_threshold
    from modeling_cotpd.knowledge.prompt import load_prompts

    try:
        limit = float(threshold) if threshold not in ("", "stored") else None
    except ValueError:
        raise SettingError(f"{threshold!r} is not a number.", place="--threshold", fix="Or: stored") from None
    if threshold == "stored":
        limit = stored_threshold(model)
    plan = on_demand_plan(reader, teacher.settings(name), load_prompts(teacher.prompts))
    explainer = Explainer(plan, teacher.store, teacher.asking(name))
    return KnowledgeOnDemand(student, reader, explainer, share=share, threshold=limit), explainer


@options.with_options
def triples(
    entities: Annotated[str, argument("A model for named entity recognition: output folder or Hub name.")],
    relations: Annotated[str, argument("A model for relation extraction.")],
    input: Annotated[Path, option("Posts: .jsonl, .txt, .conll or .parquet, or a folder of them.")],
    output: Annotated[Path, option("Where the predictions go, a .jsonl file.")],
    reading: PostOptions,
    base: Annotated[str, option("Prefix of the IRIs in an .nt file.")] = "urn:cotpd:",
    min_score: Annotated[float, option("Leave out relations that are less probable.")] = 0.0,
    check_types: options.CheckTypes = True,
    nearest: Annotated[int, option("Pair each entity with this many behind it.")] = 10,
) -> None:
    """Find the entities of every post, and the relation of each ordered pair of them.

    One JSON line per post, in the order of the input: id, text, entities (start, end, type, score, text; spans count
    characters) and relations (head and tail, which number the entities, relation and score). Memory stays flat. An
    interrupted run continues when the same command is given again. Under torchrun or accelerate launch, every process
    takes its share.

    Example:

        cotpd triples outputs/twitter2017_minilm outputs/mnre_minilm --input posts.txt --output triples.jsonl \
--also triples.nt
    """
    from modeling_cotpd.data.posts import find_post_files
    from modeling_cotpd.inference.exports import RdfWriter
    from modeling_cotpd.inference.run import predict_to_file, run_settings
    from modeling_cotpd.inference.triples import TripleExtractor

    RdfWriter(base)
    reading.check(output)
    files = find_post_files(input, reading.format)
    state, loading, writing = reading.loading()
    settings: dict[str, Any] = {"min_score": min_score, "check_types": check_types, "nearest": nearest}
    extractor = TripleExtractor.from_folders(entities, relations, onnx=reading.onnx, **loading, **settings)
    settings |= {"relations": run_settings(relations, ())["model"], "dtype": reading.dtype, "onnx": reading.onnx}
    settings = run_settings(entities, files, text_column=reading.text_column, **settings)
    # Entities are found in posts that name none, so they are read as for named entity recognition
    if (result := predict_to_file(extractor, files, "mner", output, settings, state, **writing)) is not None:
        echo(f"{result.posts:,} posts: {output}")
        reading.export(output, base=base)


def threshold(
    model: Annotated[str, argument("The text-only model, a run's output folder.")],
    dataset_dir: Annotated[Path, option("A prepared folder with explanations in its validation split.")],
    knowledge_model: Annotated[str, option("The model that reads knowledge, if not MODEL.")] = "",
    gain: Annotated[float, option("The share of the gain in F1 to keep.", min=0, max=1)] = 0.9,
    device: options.Device = "cpu",
) -> None:
    """Choose when to ask, and store it with the model for `cotpd predict --threshold stored`.

    Reads the validation split as text alone and with its explanations, and takes the largest threshold that keeps the
    wanted share of the gain in F1.

    Example:

        cotpd threshold outputs/student --knowledge-model outputs/inline --dataset-dir data/twitter2017
    """
    from modeling_cotpd.inference.load import load_predictor
    from modeling_cotpd.inference.on_demand import choose_threshold, f1_curve, view_counts, write_threshold

    student, _ = load_predictor(model, device=device)
    reader = load_predictor(knowledge_model, device=device)[0] if knowledge_model else student
    uncertainty, prompt, knowledge = view_counts(student, reader, dataset_dir, "validation")
    limit, share = choose_threshold(uncertainty, prompt, knowledge, gain)
    curve = f1_curve(prompt, knowledge, (-uncertainty).argsort(kind="stable"))
    asked = round(share * len(uncertainty))
    scores = {"text alone": curve[0], "asked": curve[asked], "all explained": curve[-1]}
    path = write_threshold(
        model, limit, share, gain=gain, f1={name: round(100 * float(score), 2) for name, score in scores.items()}
    )
    listed = ", ".join(f"{name} {100 * score:.2f}" for name, score in scores.items())
    echo(f"threshold {limit:.4f} asks about {100 * share:.1f} % of the validation posts; F1: {listed}")
    echo(str(path))


def learn(
    predictions: Annotated[Path, argument("What cotpd predict --ask-teacher wrote, for entities.")],
    dataset_dir: Annotated[Path, option("The prepared folder of the labelled posts.")],
    out: Annotated[Path, option("A new prepared folder.")],
) -> None:
    """Add the posts that a language model explained to the training split, without labels.

    A student that is trained on the new folder with --distill_from learns from them, so that fewer posts need an
    answer.

    Example:

        cotpd learn entities.jsonl --dataset-dir data/twitter2017 --out data/twitter2017-learned
    """
    from modeling_cotpd.inference.on_demand import add_explained

    echo(f"{add_explained(predictions, dataset_dir, out):,} unlabelled posts added: {out}")

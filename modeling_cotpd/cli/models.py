"""`cotpd train`, `explain`, `demo`, `export` and `push`: one trained model, from its recipe to the Hub."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_cotpd.cli import options
from modeling_cotpd.cli.options import argument, echo, option

if TYPE_CHECKING:
    from modeling_cotpd.inference.view_predictor import ViewPrediction

Model = Annotated[str, argument("A run's output folder, or a Hub repository.")]


def _list_settings(wanted: bool) -> None:
    if wanted:
        from modeling_cotpd.training.arguments import parse_run

        parse_run(["--help"])


def train(
    context: typer.Context,
    recipe: Annotated[str, argument("A YAML file, or the name of a recipe.", metavar="RECIPE")],
    settings: Annotated[
        bool, option("List all settings and exit.", "--settings", is_eager=True, callback=_list_settings)
    ] = False,
) -> None:
    """Train and evaluate a model on one process, as run_mner.py and run_mre.py do.

    More recipes and flags may follow, such as --dataset_dir DIR --output_dir DIR --num_train_epochs 3. A later recipe
    wins over an earlier one, and flags win over both. Several GPUs: accelerate launch run_mner.py RECIPE.

    Example:

        cotpd train sample_mner --dataset_dir data/sample --output_dir outputs/sample
    """
    from modeling_cotpd.training.arguments import run_recipe

    run_recipe([recipe, *context.args])


@options.with_options
def explain(
    model: Model,
    text: Annotated[str, option("The post.")],
    teacher: options.ViewOptions,
    head: Annotated[str, option("For a model for relations: the head as it stands in the post.")] = "",
    tail: Annotated[str, option("The tail as it stands in the post.")] = "",
    image: Annotated[Path | None, option("The post's picture; needs a captioner.")] = None,
    caption: Annotated[str, option("The picture in words.")] = "",
    noun: Annotated[str, option("What its nouns are.")] = "",
    sentence: Annotated[str, option("What the sentence says.")] = "",
    multimodality: Annotated[str, option("How text and picture relate.")] = "",
    view: Annotated[str, option("prompt, knowledge, both; auto: both where there is knowledge.")] = "auto",
    similar: Annotated[int, option("How many similar training posts to show.", min=1)] = 3,
    as_json: options.AsJson = False,
) -> None:
    """Read one post and show why the answer is what it is.

    Prints the entities, or the relations, of the text alone and of the knowledge view, what differs between them, the
    words that the prompt looks at most, and with --dataset-dir the most similar training posts with their labels and
    explanations. With knowledge, a picture or a teacher both views are read, else the text alone.

    Example:

        cotpd explain outputs/twitter2017_minilm --text "Maya Stone moved to Harlow" \
--dataset-dir data/twitter2017

        cotpd explain outputs/mnre_minilm --text "Maya Stone moved to Harlow" --head "Maya Stone" \
--tail Harlow --json
    """
    from modeling_cotpd.inference.view_predictor import first_span

    predictor = teacher.predictor(model)
    grains = {"noun": noun, "sentence": sentence, "multimodality": multimodality}
    given = {name: known for name, known in grains.items() if known.strip()}
    known = bool(given or caption.strip() or image or teacher.teacher)
    prediction = predictor.predict(
        text,
        image,
        caption,
        given,
        head=first_span(head, text, "head") if head else None,
        tail=first_span(tail, text, "tail") if tail else None,
        view="both" if view == "auto" and known else view,
        attention=True,
        similar=0 if teacher.dataset_dir is None else similar,
    )
    if as_json:
        options.echo_json(prediction.as_dict())
    else:
        echo("\n".join(_lines(prediction)))


def _lines(prediction: "ViewPrediction") -> list[str]:
    """The prediction for people to read."""
    lines = []
    for name, view in prediction.views.items():
        lines.append("From the text alone:" if name == "prompt" else "With knowledge:")
        lines += _view_lines(view)
    for what, changes in prediction.changes.items():
        lines += [f"Differs in {what}: {change['kind']} {_sides(change)}" for change in changes]
    lines += prediction.problems
    if prediction.attention is not None:
        ranked = sorted(zip(prediction.attention.mean, prediction.attention.spans, strict=True), reverse=True)
        words = ", ".join(f"{prediction.text[start:end]} {share:.2f}" for share, (start, end) in ranked[:5])
        lines.append(f"The prompt looks most at: {words}")
    for post in prediction.similar:
        gold = ", ".join(f"{entity['text']} ({entity['type']})" for entity in post.entities)
        lines.append(f"Similar ({post.similarity:.2f}) {post.id}: {post.text}")
        lines.append(f"  gold: {gold} {post.relation or ''}".rstrip())
        lines += [f"  {name}: {known}" for name, known in post.knowledge.items()]
    return lines


def _view_lines(view: dict) -> list[str]:
    if "relation" in view:
        return [f"  {view['relation'] or view['problem']}" + (f"  {view['score']:.2f}" if view["relation"] else "")]
    entities = view["entities"]
    lines = [
        f"  {entity['start']}-{entity['end']}  {entity['type']}  {entity['text']}  {entity['score']:.2f}"
        for entity in entities
    ] or ["  no entities"]
    return lines + [
        f"  {entities[relation['head']]['text']} -> {relation['relation']} -> {entities[relation['tail']]['text']}"
        f"  {relation['score']:.2f}"
        for relation in view.get("relations", ())
    ]


def _sides(change: dict) -> str:
    """Both sides of a change, an entity by its words and type, a relation by its name."""
    sides = (change["prompt"], change["knowledge"])
    shown = (
        "nothing" if side is None else side["relation"] if "relation" in side else f"{side['text']} ({side['type']})"
        for side in sides
    )
    return " -> ".join(shown)


@options.with_options
def demo(
    model: Model,
    teacher: options.ViewOptions,
    host: Annotated[str, option("The address to serve on; 0.0.0.0 shows it to the network.")] = "127.0.0.1",
    port: Annotated[int | None, option("The port; default: the first free one from 7860.")] = None,
) -> None:
    """Serve a page on this machine that reads posts with a trained model.

    It shows the entities, or with --relations also the relations between them, from the text alone and with knowledge,
    their confidence, what the knowledge changes, and where the prompt looks. A picture can be given when there is a
    captioner, and a teacher explains a post when asked to. Nothing is sent anywhere else. Ctrl-C ends it. Needs:
    pip install 'modeling_cotpd[demo]'

    Example:

        cotpd demo outputs/twitter2017_minilm

        cotpd demo outputs/twitter2017_minilm --relations outputs/mnre_minilm --dataset-dir data/twitter2017
    """
    from modeling_cotpd.demo.app import build_app, import_gradio, launch
    from modeling_cotpd.knowledge.embedding import model_label

    import_gradio()
    predictor = teacher.predictor(model)
    title = " + ".join(model_label(name) + scores_of(name) for name in (model, teacher.relations) if name)
    launch(build_app(predictor, title), host, port)


def scores_of(model: str) -> str:
    """The test F1 of each view in a run's output folder, for the page; empty where it is not known."""
    names = {"prompt": "from the text alone", "knowledge": "with knowledge"}
    try:
        views = json.loads((Path(model) / "results.json").read_text("utf-8"))["splits"]["test"]
        shown = [f"{100 * views[view]['f1']:.1f} {name}" for view, name in names.items() if view in views]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f" (test F1 {', '.join(shown)})" if shown else ""


def export(
    model: Model,
    out: Annotated[Path, option("A new folder.")],
    int8: Annotated[bool, option("Quantize the weights to 8 bits.", "--int8")] = False,
    tolerance: Annotated[float, option("Largest accepted difference of a logit.")] = 1.0e-4,
    revision: options.Revision = None,
) -> None:
    """Export a trained model, prompt generator included, to ONNX with dynamic batch and length.

    The graph is compared with the model on batches of many shapes; when a logit differs by more than the tolerance,
    nothing is written. Use it with `cotpd predict DIR --onnx`. Needs: pip install 'modeling_cotpd[onnx]'

    Example:

        cotpd export outputs/twitter2017_minilm --out exported --int8
    """
    from modeling_cotpd.inference.load import load_predictor
    from modeling_cotpd.inference.onnx_model import export_onnx

    student, _ = load_predictor(model, dtype="float32", revision=revision)
    report = export_onnx(student.model, student.tokenizer, out, int8, tolerance)
    echo(f"Exported to {out}; logits differ from the model's by at most {report.difference:.1e}.")
    if report.int8_agreement is not None:
        echo(
            f"In 8 bits they differ by at most {report.int8_difference:.2f}, and {report.int8_agreement:.1%} of the "
            "best labels stay the same on random subword tokens. Measure it on your own text before you use it."
        )


def push(
    folder: Annotated[Path, argument("A run's output folder.", metavar="DIR")],
    repo: Annotated[str, argument("NAMESPACE/NAME on the Hub; made if it does not exist.")],
    private: Annotated[bool, option("Make a private repository.", "--private")] = False,
    revision: Annotated[str | None, option("A branch, made if it does not exist; default: main.")] = None,
    create_pr: Annotated[bool, option("Open a pull request instead of writing.", "--create-pr")] = False,
    commit_message: Annotated[str, option("The commit's message.")] = "Model, tokenizer, code and card",
    dry_run: Annotated[bool, option("List what would be published; contact no server.", "--dry-run")] = False,
) -> None:
    """Publish a trained model: weights, the code that runs them, tokenizer, model card, and results.

    All of it is one commit. Optimizer states, checkpoints, predictions and files that name a path on this machine
    stay here. The access token is that of `hf auth login` or of the variable HF_TOKEN.

    Example:

        cotpd push output/twitter2017 me/cotpd-twitter2017 --private --dry-run
    """
    from modeling_cotpd.errors import interruptible
    from modeling_cotpd.training.hub import collect
    from modeling_cotpd.training.hub import push as publish

    files = collect(folder, repo)
    sizes = {name: len(each) if isinstance(each, bytes) else each.stat().st_size for name, each in files.items()}
    for name, size in sizes.items():
        echo(f"{size:>13,}  {name}")
    echo(f"{sum(sizes.values()):>13,}  bytes in {len(sizes)} files")
    if dry_run:
        echo(f"Repository: {repo}{', a pull request' if create_pr else f', branch {revision}' if revision else ''}")
        stays = sorted(path.name for path in folder.iterdir() if path.name not in sizes)
        echo(f"Not published: {', '.join(stays) or 'nothing else is there'}")
        return
    with interruptible(lambda: "the Hub has all of the commit or nothing. The same command begins again."):
        info = publish(files, repo, message=commit_message, private=private, revision=revision, create_pr=create_pr)
    echo(f"Published: {info.pr_url or info.commit_url}")

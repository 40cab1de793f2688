"""`cotpd explain`: one post in every view, with where the prompt looks and the most similar training posts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modeling_cotpd.cli.options import AsJson, with_teacher_options
from modeling_cotpd.cli.view_options import Model, ViewOptions
from modeling_cotpd.errors import SettingError
from modeling_cotpd.text_safety import printable

if TYPE_CHECKING:
    from modeling_cotpd.inference.view_predictor import ViewPrediction


@with_teacher_options
def explain(
    model: Model,
    text: Annotated[str, typer.Option(help="The post.")],
    teacher: ViewOptions,
    head: Annotated[str, typer.Option(help="For a model for relations: the head as it stands in the post.")] = "",
    tail: Annotated[str, typer.Option(help="The tail as it stands in the post.")] = "",
    image: Annotated[Path | None, typer.Option(help="The post's picture; needs a captioner.")] = None,
    caption: Annotated[str, typer.Option(help="The picture in words.")] = "",
    noun: Annotated[str, typer.Option(help="What its nouns are.")] = "",
    sentence: Annotated[str, typer.Option(help="What the sentence says.")] = "",
    multimodality: Annotated[str, typer.Option(help="How text and picture go together.")] = "",
    view: Annotated[str, typer.Option(help="prompt, knowledge, both; auto: both where there is knowledge.")] = "auto",
    similar: Annotated[int, typer.Option(help="How many similar training posts to show.", min=1)] = 3,
    as_json: AsJson = False,
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
    from modeling_cotpd.inference.run import json_line

    predictor = teacher.predictor(model)
    grains = {"noun": noun, "sentence": sentence, "multimodality": multimodality}
    given = {name: known for name, known in grains.items() if known.strip()}
    known = bool(given or caption.strip() or image or teacher.teacher)
    prediction = predictor.predict(
        text,
        image,
        caption,
        given,
        head=_span(head, text, "--head"),
        tail=_span(tail, text, "--tail"),
        view="both" if view == "auto" and known else view,
        attention=True,
        similar=0 if teacher.dataset_dir is None else similar,
    )
    if as_json:
        typer.echo(json_line(prediction.as_dict()).decode(), nl=False)
    else:
        typer.echo(printable("\n".join(_lines(prediction))))


def _span(mention: str, text: str, option: str) -> tuple[int, int] | None:
    if not mention:
        return None
    start = text.find(mention)
    if start < 0:
        raise SettingError(f"{mention!r} does not occur in the post.", place=option, fix="Copy it from the post.")
    return start, start + len(mention)


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
        lines += [
            f"Similar ({post.similarity:.2f}) {post.id}: {post.text}",
            f"  gold: {gold} {post.relation or ''}".rstrip(),
        ]
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

"""`cotpd demo`: a page in the browser to try a trained model."""

import json
from pathlib import Path
from typing import Annotated

import typer

from modeling_cotpd.cli.teacher_options import with_teacher_options
from modeling_cotpd.cli.view_options import Model, ViewOptions


@with_teacher_options
def demo(
    model: Model,
    teacher: ViewOptions,
    host: Annotated[str, typer.Option(help="The address to serve on; 0.0.0.0 shows it to the network.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="The port; default: the first free one from 7860.")] = None,
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

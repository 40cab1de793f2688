"""The demo as a Gradio app: it runs on this machine and sends nothing elsewhere."""

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modeling_cotpd.demo.guard import Guard
from modeling_cotpd.demo.page import COLUMN_NAMES, html, render
from modeling_cotpd.errors import CoTPDError, SettingError, one_line
from modeling_cotpd.inference.colours import types_of
from modeling_cotpd.inference.triples import TripleExtractor
from modeling_cotpd.inference.view_predictor import ViewPredictor, first_span

if TYPE_CHECKING:
    import gradio

MOST_CHARACTERS = 5_000
"""A dozen long posts; longer texts are for `cotpd predict`."""
SIMILAR = 3
"""Similar training posts that are shown, where there are any."""
CACHE = (600, 3600)
"""Every ten minutes, pictures older than an hour are removed."""
SCROLL = """() => { const answer = document.getElementById("answer");
if (answer && window.innerWidth < 700) answer.scrollIntoView({behavior: "smooth"}); }"""
"""On a phone the answer is below the inputs."""
EXAMPLES = json.loads(Path(__file__).with_name("examples.json").read_text("utf-8"))
"""Fictional posts with the words of a picture."""


class DemoReader:
    """Answers what the page asks, as HTML."""

    def __init__(self, predictor: ViewPredictor):
        self.predictor = predictor
        model = predictor.predictor
        entities = model.entity_predictor if isinstance(model, TripleExtractor) else model
        self.kinds = types_of(entities.label_names)

    def __call__(
        self, text: str, image: str | None = None, ask: bool = False, head: str = "", tail: str = "", **columns: str
    ) -> str:
        """The answer to one post; what is wrong with the input stands in it as a notice.

        `image` is the file of its picture, `ask` asks the teacher for explanations, `head` and `tail` are the two
        entities as they stand in the post, `columns` are caption and explanations; an empty one is none.
        """
        try:
            body = self._answer(text or "", image, ask, head or "", tail or "", columns)
        except CoTPDError as error:
            body = html("notice", [str(error)])
        return f'<div class="cotpd">{body}</div>'

    def _answer(self, text: str, image: str | None, ask: bool, head: str, tail: str, columns: dict[str, str]) -> str:
        if not text.strip():
            return html("notice", ["Write a post, or take one of the examples."])
        for value in (text, head, tail, *columns.values()):
            if value and len(value) > MOST_CHARACTERS:
                message = f"A text has {len(value):,} characters, this page takes {MOST_CHARACTERS:,}."
                raise SettingError(message, fix="For longer posts there is cotpd predict.")
        given = {name: value for name, value in columns.items() if value and value.strip()}
        caption = given.pop("caption", None)
        spans: dict[str, Any] = {}
        if self.predictor.task == "mre":
            spans = {"head": first_span(head, text, "head"), "tail": first_span(tail, text, "tail")}
        predictor, view = self.predictor, "both" if given or caption or image or ask else "prompt"
        similar = SIMILAR if predictor.similar is not None else 0
        if not ask and predictor.source.plan is not None:
            predictor = predictor.without_teacher()
        shown: dict[str, Any] = {"view": view, "attention": True, "similar": similar, **spans}
        return render(predictor.predict(text, image, caption, given, **shown), self.kinds)


def import_gradio() -> Any:
    """Gradio without statistics, with a temporary folder that is removed when the process ends."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    if "GRADIO_TEMP_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix="cotpd-demo-")
        os.environ["GRADIO_TEMP_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    try:
        import gradio
    except ImportError:
        raise SettingError("The demo needs Gradio.", fix="Run: pip install 'modeling_cotpd[demo]'") from None
    return gradio


def build_app(predictor: ViewPredictor, title: str) -> "gradio.Blocks":
    """The page of a model, which it calls `title`, with captioner, teacher and training posts where there are any."""
    gr = import_gradio()
    reader = DemoReader(predictor)
    what = {"mner": "Entities", "mre": "The relation of two entities", "triples": "Entities and relations"}
    about = f"{what[predictor.task]} of a post, from the text alone"
    about += ", or with what a picture and explanations tell." if predictor.columns else "."
    with gr.Blocks(title=title, analytics_enabled=False, fill_width=True, delete_cache=CACHE) as app:
        gr.HTML(html("title", about, title), elem_id="title")
        with gr.Row(equal_height=False, elem_id="halves"):
            with gr.Column(scale=4, min_width=300):
                fields = _inputs(gr, predictor)
            with gr.Column(scale=8, min_width=300):
                answer = gr.HTML(elem_id="answer", js_on_load=None)
        names = [name for name in fields if not name.startswith("_")]

        def read(*values: Any) -> str:
            return reader(**dict(zip(names, values, strict=True)))

        inputs = [fields[name] for name in names]
        shown: dict[str, Any] = {"fn": read, "inputs": inputs, "outputs": answer, "api_visibility": "private"}
        fields["_read"].click(**shown).then(fn=None, js=SCROLL)
        fields["text"].submit(**shown).then(fn=None, js=SCROLL)
        app.load(**shown)
        fields["_clear"].click(
            lambda: [*(False if name == "ask" else None for name in names), ""],
            outputs=[*inputs, answer],
            api_visibility="private",
        )
        fields["_examples"].load_input_event.then(**shown).then(fn=None, js=SCROLL)
    return app


def _inputs(gr: Any, predictor: ViewPredictor) -> dict[str, Any]:
    """The left column: input components by the name of the argument that they fill; buttons begin with `_`."""
    fields: dict[str, Any] = {}
    fields["text"] = gr.Textbox(
        EXAMPLES[0]["text"], label="Post", lines=3, max_lines=8, max_length=MOST_CHARACTERS, elem_id="post"
    )
    if predictor.task == "mre":
        with gr.Row():
            fields["head"] = gr.Textbox(EXAMPLES[0]["head"], label="Head", max_length=200, min_width=120)
            fields["tail"] = gr.Textbox(EXAMPLES[0]["tail"], label="Tail", max_length=200, min_width=120)
    with gr.Row():
        fields["_clear"] = gr.Button("Clear", min_width=80)
        fields["_read"] = gr.Button("Read", variant="primary", min_width=80, elem_id="read")
    if predictor.source.plan is not None:
        fields["ask"] = gr.Checkbox(label="Ask the teacher for explanations")
    if predictor.source.captioner is not None:
        shown: dict[str, Any] = {"label": "Picture", "height": 170, "elem_id": "picture"}
        fields["image"] = gr.Image(type="filepath", image_mode=None, sources=["upload", "clipboard"], **shown)
    if predictor.columns:
        with gr.Accordion("Knowledge (optional)", open=False):
            for name in predictor.columns:
                fields[name] = gr.Textbox(
                    label=COLUMN_NAMES[name], lines=1, max_lines=4, max_length=MOST_CHARACTERS, elem_id=name
                )
    filled = [name for name in ("text", "head", "tail", "caption") if name in fields]
    fields["_examples"] = gr.Examples(
        [[example[name] for name in filled] for example in EXAMPLES],
        [fields[name] for name in filled],
        label="Examples",
        example_labels=[example["text"] for example in EXAMPLES],
        api_visibility="private",
        elem_id="examples",
    )
    return fields


def launch(app: "gradio.Blocks", host: str = "127.0.0.1", port: int | None = None, wait: bool = True) -> str:
    """Serve the page until Ctrl-C, or, without `wait`, in the background; return its address.

    Nothing leaves the machine: no public link, no analytics, no run history, system fonts. By default, the port is the
    first free one from 7860; one that is taken is a `SettingError`.
    """
    gr = import_gradio()
    from starlette.middleware import Middleware

    uploads = any(isinstance(block, gr.Image) for block in app.blocks.values())
    theme = gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size="md",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    )
    off = dict.fromkeys(("share", "run_history", "enable_monitoring", "ssr_mode", "pwa", "mcp_server"), False)
    more: dict[str, Any] = {**off, "quiet": True, "footer_links": [], "max_file_size": "20mb"}
    try:
        _, url, _ = app.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            app_kwargs={"middleware": [Middleware(Guard, host=host, uploads=uploads)]},
            theme=theme,
            css_paths=Path(__file__).with_name("style.css"),
            **more,
        )
    except OSError as error:
        raise SettingError(one_line(error), place="--port", fix="Name another one.") from None
    if wait:
        print(f"The demo is at {url} (Ctrl-C ends it)", flush=True)
        app.block_thread()
    return url

"""`cotpd export`: the text-only student as an ONNX graph."""

from pathlib import Path
from typing import Annotated, Any

import typer


def export(
    model: Annotated[str, typer.Argument(help="A run's output folder, or a Hub repository.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    int8: Annotated[bool, typer.Option("--int8", help="Quantize the weights to 8 bits.")] = False,
    tolerance: Annotated[float, typer.Option(help="The largest difference of a logit that is taken.")] = 1.0e-4,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a Hub repository.")] = None,
) -> None:
    """Export a trained model, prompt generator included, to ONNX with dynamic batch and length.

    The graph is compared with the model on batches of many shapes; when a logit differs by more than the tolerance,
    nothing is written. Use it with `cotpd predict DIR --onnx`. Needs: pip install 'modeling_cotpd[onnx]'

    Example:

        cotpd export outputs/twitter2017_minilm --out exported --int8
    """
    from modeling_cotpd.inference.load import load_model, task_of_model
    from modeling_cotpd.inference.onnx_export import export_onnx
    from modeling_cotpd.training.pretrained import load_tokenizer

    hub: dict[str, Any] = {"revision": revision} if revision else {}
    task = task_of_model(model, **hub)
    student = load_model(model, task, "float32", **hub)
    report = export_onnx(student, load_tokenizer(model, **hub), out, int8, tolerance)
    typer.echo(f"Exported to {out}; logits differ from the model's by at most {report.difference:.1e}.")
    if report.int8_agreement is not None:
        typer.echo(
            f"In 8 bits they differ by at most {report.int8_difference:.2f}, and {report.int8_agreement:.1%} of the "
            "best labels stay the same on random pieces. Measure it on your own text before you use it."
        )

"""`cotpd caption`: pictures to captions."""

import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from modeling_cotpd.cli import options
from modeling_cotpd.errors import SettingError


@dataclass(frozen=True)
class CaptionOptions(options.AskingOptions):
    """The options of an endpoint that captions, and of the store."""

    base_url: Annotated[
        str,
        typer.Option(help="Ask an OpenAI-compatible vision model here instead.", rich_help_panel=options.TEACHER),
    ] = ""
    max_tokens: Annotated[
        int, typer.Option(help="Longest caption of an endpoint.", rich_help_panel=options.TEACHER)
    ] = 100


@options.with_teacher_options
def caption(
    images: Annotated[Path, typer.Option(help="Folder of the pictures; nothing outside it is ever opened.")],
    out: Annotated[Path, typer.Option(help="Caption file (.jsonl); with --data a folder.")],
    teacher: CaptionOptions,
    data: Annotated[Path | None, typer.Option(help="Prepared folder whose image column to caption.")] = None,
    model: Annotated[
        str, typer.Option(help="Folder, Hub name, or the endpoint's name.")
    ] = "Salesforce/blip2-opt-2.7b",
    name: Annotated[str, typer.Option(help="Field of the captions; default: the end of the model's name.")] = "",
    prompt: Annotated[str, typer.Option(help="What to ask; BLIP-2 and its like caption without.")] = "",
    max_new_tokens: Annotated[int, typer.Option(help="Longest caption of a local model.")] = 40,
    batch_size: Annotated[int, typer.Option(help="Pictures in one forward pass of a local model.")] = 8,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="Run model code that comes with the weights.")] = False,
    ids: Annotated[str, typer.Option(help="Without --data: ids are file names (name) or lack the suffix (stem).")] = (
        "name"
    ),
    max_pixels: Annotated[int, typer.Option(help="Larger pictures are reported, not opened.")] = 89_478_485,
    limit: Annotated[int | None, typer.Option(help="Caption no more than this many pictures now.")] = None,
) -> None:
    """Turn pictures into captions, in batches, resumably, on one device or several.

    Every caption is stored when it is made. Pictures without a caption are listed with their reason in a report beside
    the captions, and the command ends with code 1. Run it again after an interruption: only what is missing is
    captioned.

    Example:

        cotpd caption --images pictures --out captions.jsonl

        accelerate launch --no_python cotpd caption --images pictures --out captions.jsonl

        cotpd caption --images pictures --data data/twitter2017 --out captions --base-url http://127.0.0.1:8000/v1 \
--model Qwen/Qwen2.5-VL-3B-Instruct
    """
    from importlib.metadata import version

    from modeling_cotpd.files import exclusive
    from modeling_cotpd.knowledge.captions import (
        caption_jobs,
        files_for_folder,
        files_for_prepared,
        write_captions,
    )
    from modeling_cotpd.knowledge.images import image_folder, require_pillow
    from modeling_cotpd.knowledge.prompt import Prompt, load_prompts

    require_pillow()
    folder = image_folder(images)
    name = name or model.rstrip("/\\").replace("\\", "/").split("/")[-1]
    files = files_for_prepared(data, out, name) if data else files_for_folder(folder, out, name, ids)
    asking, local = teacher.asking(model), not teacher.base_url
    process: dict[str, Any] = {}
    if local:
        from modeling_cotpd.knowledge.captioner import TransformersCaptioner, local_settings

        settings, tokens, asked = (
            local_settings(model, revision, max_new_tokens),
            max_new_tokens,
            Prompt("caption", "0", prompt),
        )
        process, device = _processes()
        process["captioner"] = lambda: TransformersCaptioner(
            model,
            prompt=prompt,
            max_new_tokens=max_new_tokens,
            device=device,
            dtype=dtype,
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
    elif dtype != "auto" or trust_remote_code or revision:
        raise SettingError("dtype, revision and remote code belong to a local model.", fix="Leave --base-url out.")
    else:
        settings, tokens = teacher.settings(model), teacher.max_tokens
        asked = Prompt("caption", "0", prompt) if prompt else load_prompts(teacher.prompts)["caption"]
    first = process.get("rank", 0) == 0
    if first:
        done = files.captions()
        names = [image for image in files.images() if image not in done][:limit]
        shared = f" in {process['processes']} processes" if process.get("processes", 1) > 1 else ""
        options.echo(f"{len(files.images()):,} pictures: {len(done):,} have a caption, {len(names):,} to go{shared}.")
        if not local:
            teacher.print_estimate(caption_jobs(names, folder, settings, asked, max_pixels), settings, asking)
    if teacher.dry_run:
        return
    used = ("transformers", "torch") if local else ("openai",)
    record = {
        "settings": {
            **{"model": model, "revision": revision, "base_url": "" if local else settings.endpoint},
            **{"prompt": prompt, "max_new_tokens": tokens},
        },
        "versions": {name: version(name) for name in ("modeling_cotpd", "pillow", *used)},
    }
    with exclusive(files.lock, "writes these captions") if first else nullcontext():
        summary = write_captions(
            files,
            folder,
            settings,
            asked,
            teacher.store,
            record,
            asking=asking,
            batch_size=batch_size,
            max_pixels=max_pixels,
            limit=limit,
            **process,
        )
    if not first:
        return
    options.end_when_stopped(asking)
    if not local:
        options.echo_all([options.usage_line(asking)])
    for path in files.outputs:
        options.echo(f"Captions: {path}")
    if summary.failed:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(summary.failed.items()))
        options.echo(f"Without a caption: {reasons}. Listed in {files.report}")
        raise typer.Exit(1)


def _processes() -> tuple[dict[str, Any], Any]:
    """This process among those of `accelerate launch`, as `write_captions` takes it, and its device."""
    from datetime import timedelta

    import torch
    from accelerate import PartialState

    # Shares take unequal time, and the first to finish waits for the others as long as it takes.
    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=timedelta(days=30))
    if state.num_processes != int(os.environ.get("WORLD_SIZE", "1")):
        raise SettingError("The launched processes do not find each other.", fix="Launch with torchrun.")
    process = {"rank": state.process_index, "processes": state.num_processes, "barrier": state.wait_for_everyone}
    return process, state.device

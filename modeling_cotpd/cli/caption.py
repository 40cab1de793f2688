"""`cotpd caption`: pictures to captions."""

import os
from pathlib import Path
from typing import Annotated

import typer

from modeling_cotpd.errors import SettingError


def caption(
    images: Annotated[Path, typer.Option(help="Folder of the pictures; nothing outside it is ever opened.")],
    out: Annotated[Path, typer.Option(help="Caption file (.jsonl); with --data a folder.")],
    data: Annotated[Path | None, typer.Option(help="Prepared folder whose image column to caption.")] = None,
    model: Annotated[
        str, typer.Option(help="Folder, Hub name, or the endpoint's name.")
    ] = "Salesforce/blip2-opt-2.7b",
    name: Annotated[str, typer.Option(help="Field of the captions; default: the end of the model's name.")] = "",
    prompt: Annotated[str, typer.Option(help="What to ask; BLIP-2 and its like caption without.")] = "",
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Longest caption; default 40, with --base-url 100.")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Pictures in one forward pass of a local model.")] = 8,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="Run model code that comes with the weights.")] = False,
    base_url: Annotated[str, typer.Option(help="Ask an OpenAI-compatible vision model here instead.")] = "",
    concurrency: Annotated[int, typer.Option(help="Requests at a time with --base-url.")] = 8,
    key_variable: Annotated[str, typer.Option(help="Environment variable with the key.")] = "OPENAI_API_KEY",
    ids: Annotated[str, typer.Option(help="Without --data: ids are file names (name) or lack the suffix (stem).")] = (
        "name"
    ),
    max_pixels: Annotated[int, typer.Option(help="Larger pictures are reported, not opened.")] = 89_478_485,
    limit: Annotated[int | None, typer.Option(help="Caption no more than this many pictures now.")] = None,
) -> None:
    """Turn pictures into captions, in batches, resumably, on one device or several.

    Pictures that can not be used are listed with their reason in a report beside the captions, and the command ends
    with code 1. Run it again after an interruption: only what is missing is captioned.

    Example:

        cotpd caption --images pictures --out captions.jsonl

        accelerate launch --no_python cotpd caption --images pictures --out captions.jsonl

        cotpd caption --images pictures --data data/twitter2017 --out captions --base-url http://127.0.0.1:8000/v1 \
--model Qwen/Qwen2.5-VL-3B-Instruct
    """
    from modeling_cotpd.knowledge.caption_run import endpoint_answers, local_answers, run_captioner, versions_of
    from modeling_cotpd.knowledge.caption_store import plan_for_folder, plan_for_prepared
    from modeling_cotpd.knowledge.images import image_folder, require_pillow

    require_pillow()
    folder = image_folder(images)
    name = name or model.rstrip("/\\").replace("\\", "/").split("/")[-1]
    plan = plan_for_prepared(data, out, name) if data else plan_for_folder(folder, out, name, ids)
    settings = {"model": model, "revision": revision, "base_url": base_url, "prompt": prompt}
    versions = versions_of("modeling_cotpd", "pillow", *(["openai"] if base_url else ["transformers", "torch"]))
    if base_url:
        from modeling_cotpd.knowledge.caption_endpoint import EndpointCaptioner

        if dtype != "auto" or trust_remote_code or revision:
            raise SettingError("dtype, revision and remote code belong to a local model.", fix="Leave --base-url out.")
        tokens = 100 if max_new_tokens is None else max_new_tokens
        asker = EndpointCaptioner(model, base_url, prompt=prompt, max_new_tokens=tokens, key_variable=key_variable)
        summary = run_captioner(
            plan,
            lambda names: endpoint_answers(asker, folder, names, concurrency, max_pixels),
            {**settings, "max_new_tokens": tokens},
            versions,
            limit=limit,
        )
    else:
        from datetime import timedelta

        import torch
        from accelerate import PartialState

        from modeling_cotpd.knowledge.captioner import TransformersCaptioner

        # shares take unequal time, and whoever is done first waits for the others as long as it takes
        state = PartialState(cpu=not torch.accelerator.is_available(), timeout=timedelta(days=30))
        if state.num_processes != int(os.environ.get("WORLD_SIZE", "1")):
            raise SettingError("The launched processes do not find each other.", fix="Launch with torchrun.")
        tokens = 40 if max_new_tokens is None else max_new_tokens

        def answer(names):
            captioner = TransformersCaptioner(
                model,
                prompt=prompt,
                max_new_tokens=tokens,
                device=state.device,
                dtype=dtype,
                revision=revision,
                trust_remote_code=trust_remote_code,
            )
            return local_answers(captioner, folder, names, batch_size, max_pixels)

        summary = run_captioner(
            plan,
            answer,
            {**settings, "max_new_tokens": tokens},
            versions,
            rank=state.process_index,
            processes=state.num_processes,
            barrier=state.wait_for_everyone,
            limit=limit,
        )
        if state.process_index > 0:
            return
    for path in plan.outputs:
        print(f"Captions: {path}")
    if summary.failed:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(summary.failed.items()))
        print(f"Without a caption: {reasons}. Listed in {plan.report}")
        raise typer.Exit(1)

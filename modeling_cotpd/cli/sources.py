"""`cotpd caption` and `cotpd retrieve`: knowledge from pictures and from similar texts."""

import os
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from modeling_cotpd.cli import options
from modeling_cotpd.cli.options import TEACHER, option
from modeling_cotpd.errors import SettingError, interruptible


@dataclass(frozen=True)
class CaptionOptions(options.AskingOptions):
    """The options of an endpoint that captions, and of the store."""

    base_url: Annotated[str, option("Ask an OpenAI-compatible vision model here instead.", panel=TEACHER)] = ""
    max_tokens: Annotated[int, option("Longest caption of an endpoint.", panel=TEACHER)] = 100


@options.with_options
def caption(
    images: Annotated[Path, option("Folder of the pictures; nothing outside it is ever opened.")],
    out: Annotated[Path, option("Caption file (.jsonl); with --data a folder.")],
    teacher: CaptionOptions,
    data: Annotated[Path | None, option("Prepared folder whose image column to caption.")] = None,
    model: Annotated[str, option("Folder, Hub name, or the endpoint's name.")] = "Salesforce/blip2-opt-2.7b",
    name: Annotated[str, option("Field of the captions; default: the end of the model's name.")] = "",
    prompt: Annotated[str, option("What to ask; BLIP-2 and similar models need none.")] = "",
    max_new_tokens: Annotated[int, option("Longest caption of a local model.")] = 40,
    batch_size: Annotated[int, option("Pictures in one forward pass of a local model.")] = 8,
    dtype: Annotated[str, option("auto, float32, bfloat16 or float16.")] = "auto",
    revision: options.Revision = None,
    trust_remote_code: Annotated[
        bool, option("Run model code that comes with the weights.", "--trust-remote-code")
    ] = False,
    ids: Annotated[str, option("Without --data: ids are file names (name) or lack the suffix (stem).")] = "name",
    limit: Annotated[int | None, option("Caption no more than this many pictures now.")] = None,
) -> None:
    """Turn pictures into captions, in batches, resumably, on one device or several.

    Every caption is stored when it is made. Pictures without a caption are listed with their reason in a report beside
    the captions, and the command ends with code 4. Run it again after an interruption: only what is missing is
    captioned.

    Example:

        cotpd caption --images pictures --out captions.jsonl

        accelerate launch --no_python cotpd caption --images pictures --out captions.jsonl

        cotpd caption --images pictures --data data/twitter2017 --out captions --base-url http://127.0.0.1:8000/v1 \
--model Qwen/Qwen2.5-VL-3B-Instruct
    """
    from modeling_cotpd.files import exclusive
    from modeling_cotpd.knowledge.captions import caption_jobs, files_for_folder, files_for_prepared, write_captions
    from modeling_cotpd.knowledge.images import image_folder
    from modeling_cotpd.knowledge.prompt import Prompt, load_prompts

    folder = image_folder(images)
    name = name or model.rstrip("/\\").replace("\\", "/").split("/")[-1]
    files = files_for_prepared(data, out, name) if data else files_for_folder(folder, out, name, ids)
    asking, local = teacher.asking(model), not teacher.base_url
    process: dict[str, Any] = {}
    asked = Prompt("caption", "0", prompt)
    if local:
        from modeling_cotpd.knowledge.captioner import TransformersCaptioner, local_settings

        settings, tokens = local_settings(model, revision, max_new_tokens), max_new_tokens
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
        asked = asked if prompt else load_prompts(teacher.prompts)["caption"]
    first = process.get("rank", 0) == 0
    if first:
        done = files.captions()
        names = files.images(done)[:limit]
        shared = f" in {process['processes']} processes" if process.get("processes", 1) > 1 else ""
        options.echo(f"{len(files.images()):,} pictures: {len(done):,} have a caption, {len(names):,} to go{shared}.")
        if not local:
            teacher.print_estimate(caption_jobs(names, folder, settings, asked), settings, asking)
    if teacher.dry_run:
        return
    libraries = ("transformers", "torch") if local else ("openai",)
    made = {"model": model, "revision": revision, "base_url": "" if local else settings.endpoint}
    record = {
        "settings": {**made, "prompt": prompt, "max_new_tokens": tokens},
        "versions": {name: version(name) for name in ("modeling_cotpd", "pillow", *libraries)},
    }
    kept = "finished captions are in the store; the same command makes the others."
    with interruptible(lambda: kept), exclusive(files.lock, "writes these captions") if first else nullcontext():
        failed = write_captions(
            files,
            folder,
            settings,
            asked,
            teacher.store,
            record,
            asking=asking,
            batch_size=batch_size,
            limit=limit,
            **process,
        )
    if not first:
        return
    if not local:
        options.echo_all([options.usage_line(asking)])
    for path in files.outputs:
        options.echo(f"Captions: {path}")
    if failed:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(failed.items()))
        options.echo(f"Without a caption: {reasons}. Listed in {files.report}")
        raise typer.Exit(options.UNUSABLE)


def _processes() -> tuple[dict[str, Any], Any]:
    """This process among those of `accelerate launch`, as `write_captions` takes it, and its device."""
    from modeling_cotpd.inference.run import start_processes

    state = start_processes(cpu=False)
    if state.num_processes != int(os.environ.get("WORLD_SIZE", "1")):
        raise SettingError("The launched processes do not find each other.", fix="Launch with torchrun.")
    process = {"rank": state.process_index, "processes": state.num_processes, "barrier": state.wait_for_everyone}
    return process, state.device


def retrieve(
    data: Annotated[Path, option("Prepared folder whose posts ask.")],
    out: Annotated[Path | None, option("New prepared folder with the filled column.")] = None,
    lines: Annotated[Path | None, option("Folder for retrieved.<split>.jsonl files with the hits.")] = None,
    corpus: Annotated[Path | None, option("JSON Lines, Parquet or text file; default: the training split.")] = None,
    field: Annotated[str, option("The corpus's field with the passage.")] = "text",
    images: Annotated[Path | None, option("Folder of the pictures: compare pictures, not texts.")] = None,
    column: Annotated[str, option("Knowledge column to fill.")] = "cot_sentence",
    returns: Annotated[str, option("What a training post returns: text, caption or a knowledge column.")] = "",
    k: Annotated[int, option("Passages for each post.", "--k")] = 3,
    max_words: Annotated[int, option("Longer passages are cut.")] = 60,
    model: Annotated[str, option("Embedding model; default: the packaged MiniLM, or CLIP B/32.")] = "",
    revision: options.Revision = None,
    batch_size: Annotated[int, option("Texts or pictures in one forward pass.")] = 64,
    cache: Annotated[Path | None, option("Where vectors are kept; default: the user's cache.")] = None,
    overwrite: Annotated[bool, option("Replace texts that the column has.", "--overwrite")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Fill a knowledge column with the texts most similar to each post.

    No post gets its own text or an exact duplicate. Validation and test posts are never found, and labels are never
    returned. The vectors of a corpus are kept and used again.

    Example:

        cotpd retrieve --data data/twitter2017 --out data/twitter2017-retri-txt

        cotpd retrieve --data data/twitter2017 --corpus wikipedia.parquet --out data/twitter2017-wiki

        cotpd retrieve --data data/twitter2017 --images pictures --returns caption --out data/twitter2017-retri-img
    """
    from modeling_cotpd.data.prepared import read_prepared, write_prepared
    from modeling_cotpd.files import require_empty, write_json_lines
    from modeling_cotpd.knowledge import retrieval
    from modeling_cotpd.knowledge.embedding import Embedder, default_text_model, model_label

    if out is None and lines is None:
        raise SettingError("There is nowhere to write to.", fix="Give --out or --lines.")
    if corpus is not None and images is not None:
        raise SettingError("A corpus holds no pictures to compare.", fix="Give --corpus or --images.")
    if corpus is not None and returns:
        raise SettingError("A corpus returns its passages.", place="--returns", fix="Leave --returns out.")
    if out is not None:
        require_empty(out)
    splits, info = read_prepared(data)
    if out is not None:
        retrieval.check_column(splits, column, overwrite)
    problems: dict = {}
    shared: dict[str, Any] = {"k": k, "max_words": max_words, "cache": cache}
    if images is not None:
        from modeling_cotpd.knowledge.images import image_folder

        model, returns = model or retrieval.DEFAULT_IMAGE_MODEL, returns or "caption"
        embedder = Embedder(model, revision=revision, batch_size=batch_size)
        folder = image_folder(images)
        found, problems = retrieval.retrieve_by_image(splits, folder, embedder, returns=returns, **shared)
        source = f"{returns} of the training posts with similar pictures"
    else:
        model = model or default_text_model()
        if corpus is not None:
            passages = retrieval.corpus_passages(corpus, field, cache)
        else:
            passages = retrieval.train_passages(splits, returns or "text")
        embedder = Embedder(model, revision=revision, batch_size=batch_size)
        found = retrieval.retrieve_texts(splits, passages, embedder, **shared)
        source = passages.source
        info.sources.update(passages.files)
    say = (lambda line: None) if as_json else options.echo
    summary: dict = {"splits": {}, "hits": [], "out": str(out) if out else None, "unusable_pictures": len(problems)}
    for name, retrieved in found.items():
        best = [hits[0][1] for hits in retrieved.hits if hits]
        mean, count = sum(best) / len(best) if best else 0.0, len(retrieved.hits)
        summary["splits"][name] = {"rows": count, "found": len(best), "mean_best_cosine": round(float(mean), 4)}
        say(f"{name}: {len(best):,} of {count:,} rows found something, mean best cosine {mean:.3f}")
    for path in retrieval.write_retrieved(splits, found, column, lines) if lines else []:
        summary["hits"].append(str(path))
        say(f"Hits: {path}")
    if out is not None:
        provenance = f"retrieval, top {k} of {source}, by {model_label(model)}"
        filled, info = retrieval.fill_column(splits, info, found, column, provenance, overwrite)
        write_prepared(filled, info, out)
        say(f"Prepared folder: {out}")
    if as_json:
        options.echo_json(summary)
    target = out or lines
    if problems and target is not None:
        report = target.with_name(f"{target.name}.report.jsonl")
        rows = ({"image": name, "reason": each.reason, "detail": each.detail} for name, each in problems.items())
        write_json_lines(report, rows)
        options.echo_all([f"{len(problems)} pictures could not be used. Listed in {report}"])
        raise typer.Exit(options.UNUSABLE)

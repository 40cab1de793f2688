"""Reading posts: the pipeline, every form of the model, a whole machine, and `cotpd predict` over files.

- `pipeline`: the stock pipeline over the student, batch 1 and 32, with and without a prompt, against the same over
  `AutoModelForTokenClassification`.
- `forms`: `EntityPredictor` on one core in float32, bfloat16 and int8 (exported), against the stock pipeline at its
  default settings; the share of the machine's rate of matrix products; where the time goes; F1 of a trained model.
- `machine`: chunks of posts side by side on every core, against one core.
- `files`: time and memory of `cotpd predict` on 2 N posts against N.

The rate is that of square matrix products of the same type in the same process. The share counts the operations that
the posts need without padding. Stages: tokenization, the model, reading of entities, writing of JSON lines, the rest.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import psutil
import torch
from bench import (
    COTPD,
    ROOT,
    Report,
    load_split,
    matmul_rate,
    operations,
    parser,
    plain,
    posts_of,
    save_student,
    student,
    timed,
    write_posts,
)
from datasets import Dataset
from transformers import pipeline

from modeling_cotpd.data.entities import EntityReader, entity_tags
from modeling_cotpd.data.posts import Post, find_post_files
from modeling_cotpd.data.views import ViewBuilder
from modeling_cotpd.data.words import units_of, word_spans
from modeling_cotpd.files import json_line
from modeling_cotpd.inference.load import load_predictor
from modeling_cotpd.inference.predictor import Predictor
from modeling_cotpd.inference.run import CHUNK_POSTS, claimed_output, predict_chunks
from modeling_cotpd.training.arguments import ModelArguments
from modeling_cotpd.training.pretrained import is_cotpd_checkpoint
from modeling_cotpd.training.tasks import score

FORMS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
SHARES = {"float32": 0.9, "bfloat16": 0.8, "int8": 0.6}
PARTS = ("pipeline", "forms", "machine", "files")


def posts(texts: list[str]) -> list[Post]:
    """Return texts as posts."""
    return [Post(str(number), text, "") for number, text in enumerate(texts)]


def predict_anew(predict: Predictor, texts: list[str]) -> list[dict]:
    """Predict on texts as if none was read before."""
    units_of.cache_clear()
    return predict(posts(texts))


def f1(predict: Predictor, split: Dataset) -> float:
    """Return the entity F1 of a predictor on the posts of a split as plain text."""
    found = predict(posts([" ".join(tokens) for tokens in split["tokens"]]))
    spans = map(word_spans, split["tokens"])
    return 100 * score([entity_tags(row["entities"], own) for row, own in zip(found, spans, strict=True)], split)["f1"]


def stages(predict: Predictor, texts: list[str]) -> dict[str, float]:
    """Return the seconds of each stage of one prediction and of writing it."""
    seconds = {"tokenization": 0.0, "model": 0.0, "reading": 0.0}

    def watched(stage: str, method: Callable) -> Callable:
        def call(*args, **kwargs):
            begin = time.perf_counter()
            result = method(*args, **kwargs)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[stage] += time.perf_counter() - begin
            return result

        return call

    methods = {"tokenization": (ViewBuilder, "tokenize"), "model": (type(predict.model), "__call__")}
    found: list[dict] = []
    with ExitStack() as stack:
        for stage, (kind, name) in (methods | {"reading": (EntityReader, "__call__")}).items():
            stack.enter_context(patch.object(kind, name, watched(stage, getattr(kind, name))))
        total, _ = timed(lambda: found.extend(predict_anew(predict, texts)))
    seconds["rest"] = total - sum(seconds.values())
    seconds["writing"], _ = timed(lambda: [json_line(row) for row in found])
    return seconds


def measure_pipeline(report: Report, texts: list[str]) -> None:
    """The stock pipeline over a student and over a plain model: new heads that call every token `O`, one encoder."""
    arguments = argparse.Namespace(**vars(report.arguments))
    if is_cotpd_checkpoint(arguments.model_name_or_path):  # it has one prompt
        arguments.model_name_or_path = ModelArguments.model_name_or_path
    _, info = load_split(arguments, "test")
    for prompt in dict.fromkeys((arguments.prompt_type, "none")):
        model, tokenizer = student(arguments, info, prompt_type=prompt)
        both = []
        for one in (model, plain(arguments, info)):
            one.config.id2label = model.config.id2label
            torch.nn.init.zeros_(one.classifier.weight)
            one.classifier.bias.data = torch.arange(len(info.label_names), 0.0, -1.0, device=arguments.device)
            both.append(pipeline("token-classification", model=one, tokenizer=tokenizer, device=arguments.device))
        for size, target in ((1, 1.05), (32, 1.0)):
            sides = ((lambda one=one, size=size: one(texts[:96], batch_size=size)) for one in both)
            prompted = f"prompt {prompt}" + (f", N = {model.config.prompt_length}" if prompt != "none" else "")
            report.compare(f"pipeline, batch {size}, {prompted}", "the same over a plain model", *sides, target)


def measure_forms(report: Report, forms: dict[str, Predictor], texts: list[str]) -> None:
    """Every form on one core: against the stock pipeline, its stages, its share of the rate, its F1."""
    arguments = report.arguments
    test, info = load_split(arguments, "test")
    stock = pipeline(
        "token-classification",
        model=plain(arguments, info),
        tokenizer=forms["float32"].tokenizer,
        device=arguments.device,
    )
    some = texts[: arguments.posts // 4]
    eager = forms["float32"].model.requires_grad_(False)

    def forward() -> None:
        for text in texts:
            eager(**forms["float32"].tokenizer(text, return_tensors="pt").to(eager.device))

    needed = operations(forward)
    for form, predict in forms.items():
        if is_cotpd_checkpoint(arguments.model_name_or_path):
            report.add(f"{form}, test F1 of plain text", value=f1(predict, test))
        report.compare(
            f"{form}, one core",
            "stock pipeline, default settings, plain model",
            lambda predict=predict: predict_anew(predict, some),
            lambda: stock(some),
            0.33,
        )
        rate = matmul_rate(FORMS[form], arguments.device)
        runs = [stages(predict, texts) for _ in range(arguments.alternations)]
        total = statistics.median(sum(one.values()) for one in runs)
        shares = {f"{stage}_share": statistics.median(one[stage] for one in runs) / total for stage in runs[0]}
        report.add(
            f"{form}, share of the matrix-product rate, one core",
            reference=f"{rate / 1e9:.0f} GFLOP/s",
            posts_per_second=len(texts) / total,
            ratio=needed / total / rate,
            target=SHARES[form],
            **shares,
        )


def measure_machine(report: Report, load: Callable[[str], Predictor], forms: list[str], texts: list[str]) -> None:
    """Posts from a file to a file, a chunk per thread on every core, against one core."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        files = find_post_files(write_posts(Path(name) / "posts.jsonl", texts))

        def read(predict: Predictor, threads: int) -> None:
            units_of.cache_clear()
            output = Path(name) / "out.jsonl"
            with claimed_output(output, {}, overwrite=True):
                predict_chunks(predict, files, "mner", output, threads=threads)

        torch.set_num_threads(1)  # a session has as many threads as PyTorch when it is made
        for form in forms:
            predict = load(form)
            row = report.compare(
                f"{form}, {cores} cores, a chunk per thread",
                "one core",
                lambda predict=predict: read(predict, cores),
                lambda predict=predict: read(predict, 1),
                1 / (0.95 * cores),
            )
            report.add(f"{form}, {cores} cores: posts per second", value=len(texts) / row["seconds"])
        torch.set_num_threads(report.arguments.threads)


def measure_files(report: Report, folder: str, further: list[str], texts: list[str]) -> None:
    """`cotpd predict` in processes of its own on N and 2 N posts: time must be linear, memory flat."""
    count, seconds, peaks = report.arguments.file_posts, [], []
    with tempfile.TemporaryDirectory() as name:
        for number in (count, 2 * count):
            many = [texts[index % len(texts)] + f" {index}" for index in range(number)]
            source, output = write_posts(Path(name) / f"{number}.jsonl", many), f"{name}/out{number}.jsonl"
            took, memory = measured_run(
                [*COTPD, "predict", folder, "--input", str(source), "--output", output, *further]
            )
            seconds.append(took)
            peaks.append(max(memory))
            report.add(
                f"cotpd predict, {number:,} posts", posts_per_second=number / took, seconds=took, peak_mb=peaks[-1]
            )
    report.add("cotpd predict, 2 N posts, time", reference="N posts", ratio=seconds[1] / seconds[0], target=2.0)
    report.add("cotpd predict, 2 N posts, peak memory", reference="N posts", ratio=peaks[1] / peaks[0], target=1.05)


def measured_run(command: list[str]) -> tuple[float, list[float]]:
    """Return the seconds that a command took, and its memory every tenth of a second, in MB."""
    begin, samples, finished = time.perf_counter(), list[float](), threading.Event()
    process = psutil.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": str(os.cpu_count())})

    def sample() -> None:
        while not finished.wait(0.1):
            try:
                samples.append(process.memory_info().rss / 2**20)
            except psutil.NoSuchProcess:
                return

    watcher = threading.Thread(target=sample)
    watcher.start()
    code = process.wait()
    finished.set()
    watcher.join()
    if code:
        raise SystemExit(f"{' '.join(command)} ended with code {code}.")
    return time.perf_counter() - begin, samples


def main() -> None:
    """Measure the parts."""
    options = parser(__doc__)
    options.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="What to measure.")
    options.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS), help="float32 is always measured.")
    options.add_argument("--posts", type=int, default=1024, help="Posts of a timing; a quarter beside the pipeline.")
    options.add_argument("--file_posts", type=int, default=10_000, help="N of `files`.")
    arguments = options.parse_args()
    report = Report(arguments)
    split, info = load_split(arguments, "train")
    texts = posts_of(split, arguments.posts)
    if "pipeline" in arguments.parts:
        measure_pipeline(report, texts)
    with tempfile.TemporaryDirectory() as name:
        exported = "int8" in arguments.forms
        save_student(arguments, info, name, ["--int8"] if exported else None)

        def load(form: str) -> Predictor:
            if form == "int8":
                return load_predictor(f"{name}/onnx", onnx=True)[0]
            return load_predictor(f"{name}/model", dtype=form, device=arguments.device)[0]

        forms = list(dict.fromkeys(("float32", *arguments.forms)))
        if "forms" in arguments.parts:
            measure_forms(report, {form: load(form) for form in forms}, texts)
        if "machine" in arguments.parts:
            measure_machine(report, load, forms, posts_of(split, 2 * CHUNK_POSTS))
        if "files" in arguments.parts:
            further = ["--onnx"] if exported else ["--device", arguments.device]
            measure_files(report, f"{name}/{'onnx' if exported else 'model'}", further, texts)
    report.finish()


if __name__ == "__main__":
    main()

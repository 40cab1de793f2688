"""`cotpd predict` against the stock pipeline at its default settings, with memory over time.

Posts per second of both over the same posts, in turn; then two runs of `cotpd predict` over N and 2 N posts in
processes of their own, whose resident memory is sampled. Targets: at least 3 x the posts per second (a ratio of at
most 0.33), memory flat, time linear.
"""

import argparse
import contextlib
import copy
import io
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
from bench import compare, load_split, parser, plain, posts_of, start, student, tokenizer_of
from transformers import PreTrainedTokenizerBase, pipeline

from modeling_cotpd import CoTPDForTokenClassification
from modeling_cotpd.data.posts import Post
from modeling_cotpd.inference.onnx_export import export_onnx
from modeling_cotpd.inference.onnx_model import OnnxStudent
from modeling_cotpd.inference.predictor import EntityPredictor

PREDICT = "import typer\nfrom modeling_cotpd.cli.predict import predict\ntyper.run(predict)\n"


def resident(process: int) -> float:
    """Resident memory of a process in MB; Linux only."""
    for line in Path(f"/proc/{process}/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0  # a process that ended keeps its entry for a moment, without this line


def measured_run(command: list[str]) -> tuple[float, list[float]]:
    """Seconds that a command took, and its memory every half second, in MB."""
    begin, samples = time.perf_counter(), []
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finished = threading.Event()

    def sample():
        while not finished.wait(0.5):
            samples.append(resident(process.pid))

    watcher = threading.Thread(target=sample)
    watcher.start()
    code = process.wait()
    finished.set()
    watcher.join()
    if code:
        raise SystemExit(f"cotpd predict ended with code {code}.")
    return time.perf_counter() - begin, [value for value in samples if value]


def exported(
    arguments: argparse.Namespace, model: CoTPDForTokenClassification, tokenizer: PreTrainedTokenizerBase
) -> OnnxStudent:
    """The model in 8 bits in ONNX Runtime."""
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        export_onnx(model, tokenizer, Path(name) / "onnx", int8=True)
        return OnnxStudent.from_folder(Path(name) / "onnx", threads=arguments.threads)


def main() -> None:
    """Print the ratio of speeds, and time and memory of two sizes."""
    options = parser(__doc__)
    options.add_argument("--posts", type=int, default=256, help="Posts per timing of the pair.")
    options.add_argument("--onnx", action="store_true", help="Also time the exported model in 8 bits.")
    options.add_argument("--file_posts", type=int, default=20_000, help="N of the memory runs; 0 leaves them out.")
    options.add_argument("--file_dtype", default="auto", help="`--dtype` of the memory runs.")
    arguments = options.parse_args()
    start(arguments)
    split, info = load_split(arguments, "test")
    model, reference = student(arguments, info), plain(arguments, info)
    tokenizer = tokenizer_of(arguments, model)
    texts = posts_of(split, arguments.posts)
    posts = [Post(str(index), text, "") for index, text in enumerate(texts)]
    half = copy.deepcopy(model).to(torch.bfloat16)
    predictors = {
        "cotpd predict": EntityPredictor(model, tokenizer),
        "cotpd predict --dtype bfloat16": EntityPredictor(half, tokenizer),
    }
    if arguments.onnx:
        predictors["cotpd predict --onnx, 8 bits"] = EntityPredictor(exported(arguments, model, tokenizer), tokenizer)
    stock = {
        "plain model": pipeline("token-classification", model=reference, tokenizer=tokenizer, device=-1),
        "same model": pipeline("token-classification", model=model, tokenizer=tokenizer, device=-1),
    }
    for name, predictor in predictors.items():
        for reference_name, run in stock.items():
            compare(
                f"{name}, against the pipeline over the {reference_name}",
                lambda: predictor(posts),  # noqa: B023
                lambda: run(texts),  # noqa: B023
                arguments.alternations,
            )
    if not arguments.file_posts:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_pretrained(folder / "model")
        tokenizer.save_pretrained(folder / "model")
        for count in (arguments.file_posts, 2 * arguments.file_posts):
            source = folder / f"{count}.jsonl"
            with source.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps({"text": text}) + "\n" for text in posts_of(split, count))
            command = [sys.executable, "-c", PREDICT, str(folder / "model"), "--input", str(source)]
            command += ["--dtype", arguments.file_dtype, "--output", str(folder / f"out{count}.jsonl")]
            seconds, memory = measured_run(command)
            third = len(memory) // 3
            print(
                f"{count:,} posts: {seconds:.0f} s, {count / seconds:.0f} posts/s, peak {max(memory):.0f} MB; median "
                f"{statistics.median(memory[third : 2 * third] or memory):.0f} MB in the middle third, "
                f"{statistics.median(memory[2 * third :]):.0f} MB in the last"
            )


if __name__ == "__main__":
    main()

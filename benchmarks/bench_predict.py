"""`cotpd predict` against the stock pipeline at its default settings and against eager PyTorch, with memory over time.

In float32, in bfloat16, and exported to 8 bits. Then two runs of `cotpd predict` over N and 2 N posts in processes of
their own, whose resident memory is sampled: time must be linear and memory flat. When `--model_name_or_path` names a
trained model, F1 on the test split is reported for each form.
"""

import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from bench import COTPD, ROOT, Report, load_split, parser, plain, posts_of, run, student, write_posts
from datasets import Dataset
from transformers import pipeline

from modeling_cotpd.data.entities import entity_tags
from modeling_cotpd.data.posts import Post
from modeling_cotpd.data.words import units_of, word_spans
from modeling_cotpd.inference.load import load_predictor
from modeling_cotpd.training.pretrained import is_cotpd_checkpoint
from modeling_cotpd.training.tasks import score


def posts(texts: list[str]) -> list[Post]:
    """Return texts as posts."""
    return [Post(str(number), text, "") for number, text in enumerate(texts)]


def predict_anew(predict, texts: list[str], at_once: int) -> None:
    """Predict on texts, `at_once` in a call, as if none was read before."""
    units_of.cache_clear()
    for begin in range(0, len(texts), at_once):
        predict(posts(texts[begin : begin + at_once]))


def f1(predict, split: Dataset) -> float:
    """Return the entity F1 of a predictor on a split."""
    found = predict(posts([" ".join(tokens) for tokens in split["tokens"]]))
    spans = map(word_spans, split["tokens"])
    return 100 * score([entity_tags(row["entities"], own) for row, own in zip(found, spans, strict=True)], split)["f1"]


def measured_run(command: list[str]) -> tuple[float, list[float]]:
    """Return the seconds that a command took, and its memory every half second, in MB."""
    begin, samples = time.perf_counter(), []
    process = psutil.Popen(command, cwd=ROOT)
    finished = threading.Event()

    def sample():
        while not finished.wait(0.5):
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
    """Measure the pairs, and time and memory of two sizes."""
    options = parser(__doc__)
    options.add_argument("--posts", type=int, default=256, help="Posts per timing of a pair.")
    options.add_argument("--onnx", action="store_true", help="Also measure the model exported to 8 bits.")
    options.add_argument("--file_posts", type=int, default=20_000, help="N of the memory runs; 0 leaves them out.")
    options.add_argument("--file_dtype", default="auto", help="`--dtype` of the memory runs.")
    arguments = options.parse_args()
    report = Report(arguments)
    split, info = load_split(arguments, "test")
    (model, tokenizer), reference = student(arguments, info), plain(arguments, info)
    texts = posts_of(split, arguments.posts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        forms = {
            dtype: load_predictor(str(folder), dtype=dtype, device=arguments.device)[0]
            for dtype in ("float32", "bfloat16")
        }
        if arguments.onnx:
            run([*COTPD, "export", str(folder), "--out", f"{name}/onnx", "--int8"])
            forms["8 bits"] = load_predictor(f"{name}/onnx", onnx=True)[0]
        stock = {
            of: pipeline("token-classification", model=one, tokenizer=tokenizer, device=arguments.device)
            for of, one in (("plain model", reference), ("same model", model))
        }
        for form, predict in forms.items():
            for of, run_stock in stock.items():
                report.compare(
                    f"{form}, stock pipeline with the {of}",
                    lambda predict=predict: predict_anew(predict, texts, len(texts)),
                    lambda run_stock=run_stock: run_stock(texts),
                    0.33,
                )
            if is_cotpd_checkpoint(arguments.model_name_or_path):
                report.add(f"{form}, test F1", value=f1(predict, split))
        if arguments.onnx:
            report.compare(
                "8 bits, eager float32, post by post",
                lambda: predict_anew(forms["8 bits"], texts, 1),
                lambda: predict_anew(forms["float32"], texts, 1),
                0.4,
            )
        for count in filter(None, (arguments.file_posts, 2 * arguments.file_posts)):
            source = write_posts(Path(name) / f"{count}.jsonl", posts_of(split, count))
            command = [*COTPD, "predict", str(folder), "--input", str(source), "--output", f"{name}/out{count}.jsonl"]
            seconds, memory = measured_run([*command, "--dtype", arguments.file_dtype, "--device", arguments.device])
            third = len(memory) // 3
            report.add(
                f"cotpd predict, {count:,} posts",
                seconds=seconds,
                posts_per_second=count / seconds,
                peak_mb=max(memory),
                middle_mb=statistics.median(memory[third : 2 * third] or memory),
                last_mb=statistics.median(memory[2 * third :]),
            )
    report.finish()


if __name__ == "__main__":
    sys.exit(main())

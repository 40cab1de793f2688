"""Where the time of prediction goes, and the share of the machine's matrix-product rate that it reaches.

The rate is that of square matrix products of the same type in the same process. The share counts the operations that
the posts need without padding. Stages: tokenization, padding, the model, reading of entities, writing of JSON lines,
and the rest (sorting, probabilities).
"""

import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import torch
from bench import (
    COTPD,
    Report,
    load_split,
    matmul_rate,
    operations,
    parser,
    posts_of,
    run,
    student,
    timed,
)

from modeling_cotpd.data.entities import EntityReader
from modeling_cotpd.data.posts import Post
from modeling_cotpd.data.views import ViewBuilder
from modeling_cotpd.data.words import units_of
from modeling_cotpd.inference.load import load_predictor
from modeling_cotpd.training.collator import pad_tokens

FORMS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}


class Stages:
    """Seconds spent in methods while the context is open.

    Args:
        methods (`dict[str, tuple[type, str]]`): Per stage a class and the name of its method.
    """

    def __init__(self, **methods: tuple[type, str]):
        self.methods, self.stack = methods, ExitStack()
        self.seconds = dict.fromkeys(methods, 0.0)
        self.masks: list[torch.Tensor] = []

    def __enter__(self) -> "Stages":
        for stage, (kind, name) in self.methods.items():
            self.stack.enter_context(patch.object(kind, name, self._watched(stage, getattr(kind, name))))
        return self

    def __exit__(self, *error) -> None:
        self.stack.close()

    def _watched(self, stage: str, method):
        def watched(*args, **kwargs):
            if "attention_mask" in kwargs:
                self.masks.append(kwargs["attention_mask"])
            begin = time.perf_counter()
            result = method(*args, **kwargs)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.seconds[stage] += time.perf_counter() - begin
            return result

        return watched


def profile(predict, posts: list[Post]) -> dict[str, float]:
    """Return the seconds of each stage of one prediction and of writing it."""
    model = type(predict.model)
    stages = Stages(
        tokenization=(ViewBuilder, "tokenize"), model=(model, "__call__"), reading=(EntityReader, "__call__")
    )
    found: list[dict] = []
    units_of.cache_clear()  # a post is read for the first time
    with stages:
        total, _ = timed(lambda: found.extend(predict(posts)))
    batches = [[[1] * int(length) for length in mask.sum(1)] for mask in stages.masks]
    seconds = stages.seconds | {
        "padding": timed(lambda: [pad_tokens(rows, 0) for rows in batches])[0],
    }
    seconds["rest"] = total - sum(seconds.values())
    seconds["writing"], _ = timed(lambda: [json.dumps(row, ensure_ascii=False).encode() for row in found])
    return seconds


def needed_operations(predict, posts: list[Post]) -> int:
    """Return the operations of the posts' forward passes without padding."""
    model = predict.model.requires_grad_(False)

    def forward():
        for post in posts:
            model(**predict.tokenizer(post.text, return_tensors="pt").to(model.device))

    return operations(forward)


def main() -> None:
    """Measure every form."""
    options = parser(__doc__)
    options.add_argument("--posts", type=int, default=512, help="Posts of a prediction.")
    options.add_argument("--forms", nargs="+", choices=FORMS, default=["float32", "bfloat16"], help="What to measure.")
    arguments = options.parse_args()
    report = Report(arguments)
    split, info = load_split(arguments, "test")
    posts = [Post(str(number), text, "") for number, text in enumerate(posts_of(split, arguments.posts))]
    model, tokenizer = student(arguments, info)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        eager = load_predictor(str(folder), dtype="float32", device=arguments.device)[0]
        needed = needed_operations(eager, posts)
        report.add("operations of a post, 1e9", value=needed / len(posts) / 1e9)
        for form in arguments.forms:
            if form == "int8":
                run([*COTPD, "export", str(folder), "--out", f"{name}/onnx", "--int8"])
                predict = load_predictor(f"{name}/onnx", onnx=True)[0]
            else:
                predict = load_predictor(str(folder), dtype=form, device=arguments.device)[0]
            predict(posts)  # warm up
            rate = matmul_rate(FORMS[form], arguments.device)
            runs = [profile(predict, posts) for _ in range(arguments.alternations)]
            seconds = {stage: statistics.median(one[stage] for one in runs) for stage in runs[0]}
            total = statistics.median(sum(one.values()) for one in runs)
            report.add(
                form,
                posts_per_second=len(posts) / total,
                tflops=needed / total / 1e12,
                matmul_tflops=rate / 1e12,
                share=needed / total / rate,
                **{f"{stage}_share": value / total for stage, value in seconds.items()},
            )
    report.finish()


if __name__ == "__main__":
    main()

"""What the benchmarks share: options, pairs timed in turn, matrix-product rate and operations, models, a report."""

import argparse
import copy
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import transformers
from datasets import Dataset
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForTokenClassification, PreTrainedModel, PreTrainedTokenizerBase

from modeling_cotpd.data.prepared import DatasetInfo, read_prepared
from modeling_cotpd.encoder_cotpd import resolve_encoder
from modeling_cotpd.files import write_json
from modeling_cotpd.modeling_cotpd import CoTPDForTokenClassification
from modeling_cotpd.training.arguments import ModelArguments
from modeling_cotpd.training.pretrained import is_cotpd_checkpoint, make_model
from modeling_cotpd.training.tasks import TASKS

ROOT = Path(__file__).parents[1]
COTPD = [sys.executable, "-m", "modeling_cotpd"]
"""The command line of this clone; run it with `run`."""


def parser(description: str, dataset: bool = True) -> argparse.ArgumentParser:
    """Return the options of every benchmark."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    if dataset:
        made.add_argument("--dataset_dir", required=True, help="A prepared MNER folder.")
        made.add_argument(
            "--model_name_or_path", default=ModelArguments.model_name_or_path, help="The encoder of both sides."
        )
        made.add_argument("--prompt_type", default="conditional", help="Of the CoTPD model.")
        made.add_argument("--prompt_length", type=int, default=2, help="Of the CoTPD model.")
        made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="Of both sides.")
    made.add_argument("--alternations", type=int, default=7, help="How often both sides are timed in turn.")
    made.add_argument("--threads", type=int, default=1, help="PyTorch's threads.")
    made.add_argument("--json", type=Path, help="Also write the rows to this file.")
    return made


class Report:
    """The rows of one benchmark: printed as they are measured, and as a Markdown table at the end."""

    def __init__(self, arguments: argparse.Namespace):
        torch.set_num_threads(arguments.threads)
        transformers.set_seed(0)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.arguments, self.rows = arguments, []
        print(f"machine: {machine()}\noptions: {' '.join(f'{k}={v}' for k, v in vars(arguments).items())}")

    def compare(
        self,
        what: str,
        reference: str,
        package: Callable[[], object],
        other: Callable[[], object],
        target: float | None = None,
    ) -> dict:
        """Time the package and the reference in turn and add the median of the paired ratios as a row.

        Alternations run A B and B A in turn, so a drift of the machine's speed favours neither. The ratio of
        processor times, child processes included, is the steadier one on a busy machine.
        """
        package(), other()  # warm up
        sides = {"seconds": package, "reference_seconds": other}
        times: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
        for turn in range(self.arguments.alternations):
            for side in list(sides)[:: 1 if turn % 2 == 0 else -1]:
                times[side].append(timed(sides[side]))
        wall, processor = (
            statistics.median(a[kind] / max(b[kind], 1e-9) for a, b in zip(*times.values(), strict=True))
            for kind in (0, 1)
        )
        seconds = {side: statistics.median(pair[0] for pair in found) for side, found in times.items()}
        return self.add(what, reference=reference, **seconds, ratio=wall, cpu_ratio=processor, target=target)

    def add(self, what: str, **values: float | str | None) -> dict:
        """Add a row of named values; what `--json` names always holds the rows so far."""
        row = {"what": what, **{name: value for name, value in values.items() if value is not None}}
        self.rows.append(row)
        print(what, *(f"{name} {shown(value)}" for name, value in row.items() if name != "what"), sep=", ", flush=True)
        if self.arguments.json:
            options = {name: str(value) for name, value in vars(self.arguments).items()}
            write_json(self.arguments.json, {"machine": machine(), "options": options, "rows": self.rows})
        return row

    def finish(self) -> None:
        """Print the rows as a table."""
        print("\n" + table(self.rows, list(dict.fromkeys(name for row in self.rows for name in row))))


def table(rows: Sequence[dict], names: Sequence[str]) -> str:
    """Return rows as a Markdown table with these columns."""
    lines = [list(names), ["---"] * len(names), *([shown(row.get(name, "")) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(value: object) -> str:
    """Return a value as text, numbers to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds and the processor seconds of a call, child processes included."""
    wall, processor = time.perf_counter(), processor_seconds()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, processor_seconds() - processor


def processor_seconds() -> float:
    """Return the processor time of this process so far, and of its children that have ended."""
    return time.process_time() + sum(os.times()[2:4])


def run(command: Sequence[str]) -> str:
    """Run a command in the clone's root and return what it printed; its errors end the benchmark."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        list(command), cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def machine() -> str:
    """Return processor, cores, GPU, load, threads and versions in one line."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {device}, load "
        f"{os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"transformers {transformers.__version__}, Python {platform.python_version()}"
    )


def matmul_rate(dtype: torch.dtype, device: str, size: int | None = None, repeats: int = 10) -> float:
    """Return the operations per second of square matrix products, the machine's own rate for a type.

    By default the matrices have 8192 rows on a GPU and 1024 on a processor. The median of the products counts.
    """
    size = size or (8192 if device.startswith("cuda") else 1024)
    if dtype == torch.int8:
        a, b = (torch.randint(-64, 64, (size, size), dtype=dtype, device=device) for _ in range(2))
        product = torch._int_mm
    else:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        product = torch.mm
    for _ in range(3):
        product(a, b)
    return 2 * size**3 / statistics.median(timed(lambda: product(a, b))[0] for _ in range(repeats))


def operations(function: Callable[[], object]) -> int:
    """Return the floating-point operations of the matrix products of a call, backward passes included."""
    # fused attention on processors is not counted; as two products it is
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        function()
    return counter.get_total_flops()


def load_split(arguments: argparse.Namespace, name: str) -> tuple[Dataset, DatasetInfo]:
    """Return a split of the prepared folder."""
    splits, info = read_prepared(arguments.dataset_dir)
    if info.task != "mner":
        raise SystemExit("The benchmarks read an MNER folder.")
    return splits[name], info


def student(
    arguments: argparse.Namespace, info: DatasetInfo, **changes
) -> tuple[CoTPDForTokenClassification, PreTrainedTokenizerBase]:
    """Return a CoTPD checkpoint, or a new prompt and head on an encoder, on the device; and the tokenizer."""
    settings = {"prompt_type": arguments.prompt_type, "prompt_length": arguments.prompt_length, **changes}
    model, tokenizer = make_model(
        TASKS["mner"], ModelArguments(arguments.model_name_or_path, **settings), info.label_names
    )
    return model.eval().to(arguments.device), tokenizer


def save_student(
    arguments: argparse.Namespace, info: DatasetInfo, folder: str, export: Sequence[str] | None = None
) -> None:
    """Write a student to the folder's `model` and, given options of `cotpd export`, its export to `onnx`."""
    for part in student(arguments, info):
        part.save_pretrained(f"{folder}/model")
    if export is not None:
        run([*COTPD, "export", f"{folder}/model", "--out", f"{folder}/onnx", *export])


def plain(arguments: argparse.Namespace, info: DatasetInfo) -> PreTrainedModel:
    """Return the reference: transformers' own token-classification head, new or with a checkpoint's weights."""
    source = resolve_encoder(arguments.model_name_or_path)
    if not is_cotpd_checkpoint(source):
        model = AutoModelForTokenClassification.from_pretrained(
            source, num_labels=len(info.label_names), dtype=torch.float32
        )
        return model.eval().to(arguments.device)
    trained = CoTPDForTokenClassification.from_pretrained(source, dtype=torch.float32)
    encoder = trained.get_base_model().encoder
    config = copy.deepcopy(encoder.config)
    config.id2label, config.label2id = trained.config.id2label, trained.config.label2id
    model = AutoModelForTokenClassification.from_config(config)
    model.base_model.load_state_dict(encoder.state_dict())
    model.classifier.load_state_dict(trained.classifier.state_dict())
    return model.eval().to(arguments.device)


def posts_of(split: Dataset, count: int) -> list[str]:
    """Return `count` posts as strings, the split repeated where it is shorter."""
    texts = [" ".join(tokens) for tokens in split["tokens"]]
    return [texts[index % len(texts)] for index in range(count)]


def write_posts(path: Path, texts: Sequence[str]) -> Path:
    """Write posts as JSON Lines that `cotpd predict` reads."""
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    return path

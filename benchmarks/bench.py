"""What the benchmarks share: paired timing, the machine in words, data and models."""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from datasets import Dataset
from transformers import AutoModelForTokenClassification, PreTrainedModel, PreTrainedTokenizerBase

from modeling_cotpd import CoTPDConfig, CoTPDForTokenClassification
from modeling_cotpd.data.prepared import DatasetInfo, read_prepared
from modeling_cotpd.encoder_cotpd import resolve_encoder
from modeling_cotpd.training.pretrained import load_tokenizer


def parser(description: str) -> argparse.ArgumentParser:
    """The options of every benchmark."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--dataset_dir", required=True, help="A prepared MNER folder.")
    made.add_argument("--model_name_or_path", default="embedded-minilm", help="The encoder of both sides.")
    made.add_argument("--prompt_type", default="conditional", help="Of the CoTPD model.")
    made.add_argument("--prompt_length", type=int, default=2, help="Of the CoTPD model.")
    made.add_argument("--alternations", type=int, default=7, help="How often both sides are timed in turn.")
    made.add_argument("--threads", type=int, default=1, help="PyTorch's threads.")
    return made


def start(arguments: argparse.Namespace) -> None:
    """Set threads and seed, and print what the numbers were measured on."""
    torch.set_num_threads(arguments.threads)
    transformers.set_seed(0)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    print(f"machine: {machine()}")
    print(
        f"options: {' '.join(f'{name}={value}' for name, value in vars(arguments).items() if name != 'dataset_dir')}"
    )


def machine() -> str:
    """Processor, cores, load, threads and versions in one line."""
    names = [line.partition(":")[2].strip() for line in cpu_information() if line.startswith("model name")]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores, {device}, load "
        f"{os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"transformers {transformers.__version__}, Python {platform.python_version()}"
    )


def cpu_information() -> list[str]:
    """Lines of /proc/cpuinfo; none where there is no such file."""
    path = Path("/proc/cpuinfo")
    return path.read_text("utf-8").splitlines() if path.is_file() else []


def compare(name: str, ours: Callable[[], object], reference: Callable[[], object], alternations: int) -> float:
    """Time both in turn, print medians and the median of the paired ratios ours / reference, and return that.

    Each alternation runs A B or B A in turn, so that a drift of the machine's speed favours neither. CPU time is
    given beside wall time: on a busy machine it is the steadier number.
    """
    ours(), reference()  # warm up
    walls: dict[str, list[float]] = {"ours": [], "reference": []}
    processors: dict[str, list[float]] = {"ours": [], "reference": []}
    for turn in range(alternations):
        order = [("ours", ours), ("reference", reference)]
        for side, run in order if turn % 2 == 0 else order[::-1]:
            wall, processor = time.perf_counter(), time.process_time()
            run()
            processors[side].append(time.process_time() - processor)
            walls[side].append(time.perf_counter() - wall)
    wall_ratio = median_ratio(walls)
    print(
        f"{name}: {wall_ratio:.2f} x (wall), {median_ratio(processors):.2f} x (CPU); ours "
        f"{milliseconds(walls['ours'])} ({milliseconds(processors['ours'])} CPU), reference "
        f"{milliseconds(walls['reference'])} ({milliseconds(processors['reference'])} CPU), median of {alternations}",
        flush=True,
    )
    return wall_ratio


def milliseconds(times: list[float]) -> str:
    """The median in words."""
    return f"{statistics.median(times) * 1e3:.1f} ms"


def median_ratio(times: dict[str, list[float]]) -> float:
    """Median of the ratios within each alternation."""
    return statistics.median(a / b for a, b in zip(times["ours"], times["reference"], strict=True))


def load_split(arguments: argparse.Namespace, name: str) -> tuple[Dataset, DatasetInfo]:
    """A split of the prepared folder."""
    splits, info = read_prepared(arguments.dataset_dir)
    if info.task != "mner":
        raise SystemExit("The benchmarks read an MNER folder.")
    return splits[name], info


def student(arguments: argparse.Namespace, info: DatasetInfo) -> CoTPDForTokenClassification:
    """A CoTPD model with a new prompt and head, in evaluation mode."""
    config = CoTPDConfig(
        prompt_type=arguments.prompt_type,
        prompt_length=arguments.prompt_length,
        id2label=dict(enumerate(info.label_names)),
    )
    return CoTPDForTokenClassification.from_encoder(
        resolve_encoder(arguments.model_name_or_path), config=config
    ).eval()


def plain(arguments: argparse.Namespace, info: DatasetInfo) -> PreTrainedModel:
    """The reference: the same encoder with transformers' own token-classification head, in evaluation mode."""
    return AutoModelForTokenClassification.from_pretrained(
        resolve_encoder(arguments.model_name_or_path), num_labels=len(info.label_names), dtype=torch.float32
    ).eval()


def tokenizer_of(arguments: argparse.Namespace, model: CoTPDForTokenClassification) -> PreTrainedTokenizerBase:
    """The tokenizer of both sides, bounded to what the student reads."""
    return load_tokenizer(arguments.model_name_or_path, max_length=model.get_base_model().max_text_length)


def posts_of(split: Dataset, count: int) -> list[str]:
    """`count` posts as strings, the split repeated where it is shorter."""
    texts = [" ".join(tokens) for tokens in split["tokens"]]
    return [texts[index % len(texts)] for index in range(count)]

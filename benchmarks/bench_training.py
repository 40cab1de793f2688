"""A CoTPD epoch against a plain Trainer's on the same posts: time, memory, and the share of the matrix-product rate.

| case | CoTPD | plain Trainer with `AutoModelForTokenClassification` |
|---|---|---|
| `appended` | both views, [x; I; c] | the sequences [x; I; c] |
| `inline` | both views, glosses at their mentions | those sequences |
| `student` | the text with the stored targets of frozen teachers | the text, as `run_ner.py` trains on it |

The plain Trainer shuffles rows; CoTPD groups rows of like length, as its recipes do (`--sampling`). Memory is the peak
of two steps of one side, each row filled up to `--memory_length`.
"""

import argparse
import math
import sys
from pathlib import Path

import torch
from bench import Report, load_split, matmul_rate, operations, parser, plain, run, student
from datasets import Dataset
from transformers import DataCollatorForTokenClassification, PrinterCallback, Trainer, TrainingArguments

from modeling_cotpd.data.schema import KNOWLEDGE_COLUMNS
from modeling_cotpd.data.views import ViewSettings, build_features
from modeling_cotpd.training.callbacks import EpochLines
from modeling_cotpd.training.collator import CoTPDCollator
from modeling_cotpd.training.trainer import CoTPDTrainer
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

COLUMNS = {"appended": KNOWLEDGE_COLUMNS, "inline": ("cot_noun",), "student": ()}
TARGETS = {"appended": 1.0, "inline": 1.0, "student": 1.1}


def features_of(case: str, arguments: argparse.Namespace, fill: int = 0) -> list[dict]:
    """Return the features of a case, their knowledge views filled up to a length."""
    split, info = load_split(arguments, "train")
    rows = split.shuffle(seed=0).select(range(min(arguments.rows, len(split))))
    model, tokenizer = student(arguments, info)
    views = ViewSettings(
        COLUMNS[case],
        arguments.max_length,
        model.get_base_model().max_text_length,
        "inline" if case == "inline" else "appended",
    )
    features = list(build_features(rows, tokenizer, views))
    uniform = [-math.log(len(info.label_names))] * len(info.label_names)
    for row in features:
        if case == "student":
            row["target_log_probs"] = [uniform if word else [] for word in row["distillation_mask"]]
        elif fill:
            row["knowledge_input_ids"] = (row["knowledge_input_ids"] * fill)[
                : max(fill, len(row["knowledge_input_ids"]))
            ]
    return features


def plain_row(row: dict) -> dict:
    """Return the longest view of a row as plain token classification: labels on the text, -100 elsewhere."""
    ids = row.get("knowledge_input_ids", row["input_ids"])
    labels = [-100] * len(ids)
    places = row.get("knowledge_text_positions", range(len(row["labels"])))
    for place, label in zip(places, row["labels"], strict=True):
        labels[place] = label
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}


def trainer_of(side: str, case: str, features: list[dict], arguments: argparse.Namespace, **further) -> Trainer:
    """Return the Trainer of one side; each call of its `train` is one epoch."""
    settings = {
        "output_dir": "unused",
        "per_device_train_batch_size": arguments.batch_size,
        "num_train_epochs": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": arguments.device == "cpu",
        "log_level": "error",
        "logging_strategy": "no",
        "bf16": arguments.bf16,
        **further,
    }
    _, info = load_split(arguments, "train")
    model, tokenizer = student(arguments, info, **({"prompt_type": "none"} if case == "student" else {}))
    if side == "package":
        trainer: Trainer = CoTPDTrainer(
            model=model,
            args=CoTPDTrainingArguments(**settings, train_sampling_strategy=arguments.sampling),
            data_collator=CoTPDCollator(tokenizer.pad_token_id),
            train_dataset=Dataset.from_list(features),
            processing_class=tokenizer,
        )
    else:
        trainer = Trainer(
            model=plain(arguments, info),
            args=TrainingArguments(**settings),
            data_collator=DataCollatorForTokenClassification(tokenizer),
            train_dataset=Dataset.from_list([plain_row(row) for row in features]),
            processing_class=tokenizer,
        )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(EpochLines)
    return trainer


def peak_megabytes(side: str, case: str, arguments: argparse.Namespace) -> float:
    """Return the most memory of two training steps: of the allocator on a GPU, of this process elsewhere (Linux)."""
    sized = argparse.Namespace(**vars(arguments) | {"rows": 4 * arguments.batch_size})
    sized.batch_size = 2 * arguments.batch_size
    on_gpu = arguments.device.startswith("cuda")
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if on_gpu else 0
    trainer_of(side, case, features_of(case, sized, arguments.memory_length), sized, max_steps=2).train()
    if on_gpu:
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    # ru_maxrss begins with the parent's memory
    return int(Path("/proc/self/status").read_text("utf-8").split("VmHWM:")[1].split()[0]) / 1024


def memory(side: str, case: str, arguments: argparse.Namespace) -> float:
    """Return `peak_megabytes`; the peak of a process never falls, so each side has its own where that counts."""
    if arguments.device.startswith("cuda"):
        return peak_megabytes(side, case, arguments)
    command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--cases", case, "--memory_of", side]
    return float(run(command).split()[-1])


def main() -> None:
    """Measure every case."""
    options = parser(__doc__)
    options.add_argument("--cases", nargs="+", choices=COLUMNS, default=list(COLUMNS), help="What to measure.")
    options.add_argument("--rows", type=int, default=512, help="Training rows; few leave little to group.")
    options.add_argument("--sampling", default="group_by_length", help="CoTPD's train_sampling_strategy.")
    options.add_argument("--bf16", action="store_true", help="Both sides under autocast.")
    options.add_argument("--batch_size", type=int, default=16, help="Of both sides; twice as many for memory.")
    options.add_argument("--max_length", type=int, default=512, help="Of the knowledge view.")
    options.add_argument("--memory_length", type=int, default=512, help="Tokens of every row; 0: leave memory out.")
    options.add_argument("--memory_of", choices=("package", "plain"), help="Used internally: measure one side.")
    arguments = options.parse_args()
    if arguments.memory_of:
        print(peak_megabytes(arguments.memory_of, arguments.cases[0], arguments))
        return
    report = Report(arguments)
    rate = matmul_rate(torch.bfloat16 if arguments.bf16 else torch.float32, arguments.device)
    report.add("matrix products, TFLOP/s", value=rate / 1e12)
    for case in arguments.cases:
        reference = f"plain Trainer, same {'posts' if case == 'student' else 'sequences'}"
        features = features_of(case, arguments)
        sides = {side: trainer_of(side, case, features, arguments) for side in ("package", "plain")}
        row = report.compare(
            f"training, {case}, an epoch", reference, sides["package"].train, sides["plain"].train, TARGETS[case]
        )
        steps = math.ceil(len(features) / arguments.batch_size)
        seconds = {"package": row["seconds"], "plain": row["reference_seconds"]}
        report.add(
            f"training, {case}, seconds of a step",
            tokens=sum(row["length"] for row in features) / len(features),
            **{side: value / steps for side, value in seconds.items()},
        )
        counts = {side: operations(trainer.train) for side, trainer in sides.items()}
        shares = {side: counts[side] / seconds[side] / rate for side in counts}
        report.add(f"training, {case}, share of the matrix-product rate", **shares)
        if arguments.memory_length and case != "student":
            peaks = {side: memory(side, case, arguments) for side in counts}
            ratio = peaks["package"] / peaks["plain"]
            report.add(f"training, {case}, peak memory, MB", reference=reference, **peaks, ratio=ratio, target=1.3)
    report.finish()


if __name__ == "__main__":
    main()

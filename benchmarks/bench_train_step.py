"""A CoTPD training step (both views) against a plain step on the knowledge-view sequences alone.

The reference is what a user of transformers would run on [x; I; c]: `AutoModelForTokenClassification` with
`DataCollatorForTokenClassification` in the Trainer's default order, rows shuffled. CoTPD groups rows of like length,
as its recipes do. Both see all rows of the sample once per timing; a step is forward, backward, clipping and AdamW.

Target: at most 1.0 x.
"""

import torch
from bench import compare, load_split, parser, plain, start, student, tokenizer_of
from datasets import Dataset
from transformers import DataCollatorForTokenClassification, PrinterCallback, Trainer, TrainingArguments

from modeling_cotpd.data.views import ViewSettings, build_features
from modeling_cotpd.training.collator import CoTPDCollator
from modeling_cotpd.training.trainer import CoTPDTrainer
from modeling_cotpd.training.training_args import CoTPDTrainingArguments


def settings(arguments, **further) -> dict:
    """Training arguments of both sides."""
    return {
        "output_dir": "unused",
        "per_device_train_batch_size": arguments.batch_size,
        "num_train_epochs": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        "log_level": "error",
        "logging_strategy": "no",
        "bf16": arguments.bf16,
        **further,
    }


def knowledge_rows(features: Dataset) -> Dataset:
    """The knowledge-view sequences as a plain token-classification data set: labels on the text, -100 behind it."""
    rows = [
        {
            "input_ids": row["knowledge_input_ids"],
            "attention_mask": [1] * len(row["knowledge_input_ids"]),
            "labels": row["labels"] + [-100] * (len(row["knowledge_input_ids"]) - len(row["labels"])),
        }
        for row in features
    ]
    return Dataset.from_list(rows)


def main() -> None:
    """Print the ratio of an epoch over the sample."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=512, help="Training rows; few leave little to group.")
    options.add_argument("--sampling", default="group_by_length", help="CoTPD's train_sampling_strategy.")
    options.add_argument("--bf16", action="store_true", help="Both sides under autocast.")
    options.add_argument("--batch_size", type=int, default=16, help="Of both sides.")
    options.add_argument("--max_length", type=int, default=512, help="Of the knowledge view.")
    arguments = options.parse_args()
    start(arguments)
    split, info = load_split(arguments, "train")
    ours, reference = student(arguments, info), plain(arguments, info)
    tokenizer = tokenizer_of(arguments, ours)
    views = ViewSettings(max_length=arguments.max_length, max_text_length=ours.get_base_model().max_text_length)
    rows = split.shuffle(seed=0).select(range(min(arguments.rows, len(split))))
    features = build_features(rows, tokenizer, views)
    texts = sum(map(len, features["input_ids"])) / len(features)
    knowledge = sum(map(len, features["knowledge_input_ids"])) / len(features)
    print(f"pieces per row: text {texts:.1f}, knowledge view {knowledge:.1f}")
    stock = Trainer(
        model=reference,
        args=TrainingArguments(**settings(arguments)),
        data_collator=DataCollatorForTokenClassification(tokenizer),
        train_dataset=knowledge_rows(features),
        processing_class=tokenizer,
    )
    stock.remove_callback(PrinterCallback)
    trainer = CoTPDTrainer(
        model=ours,
        args=CoTPDTrainingArguments(**settings(arguments, train_sampling_strategy=arguments.sampling)),
        data_collator=CoTPDCollator(tokenizer.pad_token_id),
        train_dataset=features,
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    name = f"training step, batch {arguments.batch_size}, CoTPD {arguments.sampling}, plain random"
    compare(name, trainer.train, stock.train, arguments.alternations)


if __name__ == "__main__":
    main()

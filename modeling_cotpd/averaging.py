"""Averaged weights: the mean of a run's last checkpoints, kept where it is better on the validation split."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import SAFE_WEIGHTS_NAME

from modeling_cotpd.errors import SettingError
from modeling_cotpd.trainer import CoTPDTrainer
from modeling_cotpd.training_args import CoTPDTrainingArguments


def check_averaging(args: CoTPDTrainingArguments, lora: bool) -> None:
    """Refuse settings under which the checkpoints to average would not be there.

    Raises:
        SettingError: Checkpoints are not saved or removed too early, are adapters, or nothing chooses between them.
    """
    count, limit = args.average_checkpoints, args.save_total_limit
    if limit is not None and limit <= count:
        raise SettingError(
            f"average_checkpoints={count} needs more checkpoints than save_total_limit={limit} leaves.",
            fix=f"Give save_total_limit={count + 1}: the best one is kept beside the last ones.",
        )
    if not args.load_best_model_at_end or not args.metric_for_best_model:
        raise SettingError(
            "average_checkpoints chooses between the average and the best checkpoint.",
            fix="Give load_best_model_at_end=true and metric_for_best_model.",
        )
    if lora:
        raise SettingError("average_checkpoints averages whole models, not LoRA's adapters.", fix="Drop one of them.")


def average_if_better(trainer: CoTPDTrainer) -> dict[str, float]:
    """Give a trained model the mean weights of its last checkpoints if they score better on the validation split.

    Weights that one run passes lie close to one another, and their mean often generalizes better than each (stochastic
    weight averaging, arXiv 1803.05407).

    Args:
        trainer (`CoTPDTrainer`): After training, with the best checkpoint loaded; `args.average_checkpoints` says how
            many are averaged, the last ones on disk.

    Returns:
        `averaged_checkpoints`, how many the model is the mean of: 0 where the best checkpoint stays; and the metric of
        the average.

    Raises:
        SettingError: Fewer checkpoints are there.
    """
    args, model = trainer.args, trainer.accelerator.unwrap_model(trainer.model)
    folders = sorted(
        Path(args.output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*"), key=lambda path: int(path.name.rpartition("-")[2])
    )
    if len(folders) < args.average_checkpoints:
        raise SettingError(
            f"average_checkpoints={args.average_checkpoints}, but {len(folders)} checkpoints were saved.",
            place=args.output_dir,
            fix="Train for more epochs, or average fewer.",
        )
    best = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(mean_weights([path / SAFE_WEIGHTS_NAME for path in folders[-args.average_checkpoints :]]))
    metric = args.metric_for_best_model
    metric = metric if metric.startswith("eval_") else f"eval_{metric}"
    value = trainer.evaluate()[metric]
    better = value > trainer.state.best_metric if args.greater_is_better else value < trainer.state.best_metric
    if not better:
        model.load_state_dict(best)
    return {"averaged_checkpoints": args.average_checkpoints if better else 0, f"average_{metric}": value}


def mean_weights(files: list[Path]) -> dict[str, torch.Tensor]:
    """The mean of the weights in several files, summed in double precision."""
    total: dict[str, torch.Tensor] = {}
    kinds: dict[str, torch.dtype] = {}
    for file in files:
        for name, value in load_file(file).items():
            kinds[name] = value.dtype
            total[name] = total[name] + value.double() if name in total else value.double()
    return {name: (value / len(files)).to(kinds[name]) for name, value in total.items()}

"""The Trainer of CoTPD: the two-view loss, its parts in the log, two learning rates, evaluation per view."""

import copy
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, concatenate_datasets
from huggingface_hub import CommitInfo, HfApi
from peft import PeftModel
from torch import nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, ProgressCallback, Trainer
from transformers.trainer_utils import EvalLoopOutput, has_length

from modeling_cotpd.data.views import ViewSettings, build_features
from modeling_cotpd.errors import SettingError, as_setting_error, did_you_mean
from modeling_cotpd.modeling_cotpd import CoTPDPreTrainedModel
from modeling_cotpd.training.callbacks import STAGING_CHECKPOINT, CompleteCheckpoints, EpochLines, ProgressBar
from modeling_cotpd.training.collator import CoTPDCollator
from modeling_cotpd.training.hub import collect, push
from modeling_cotpd.training.losses import distillation_kl
from modeling_cotpd.training.pretrained import model_views, prepare_tokenizer, record_views, record_words
from modeling_cotpd.training.results import save_finished
from modeling_cotpd.training.splits import as_records, labelled_rows
from modeling_cotpd.training.tasks import (
    TASKS,
    Evaluation,
    Task,
    best_ids,
    best_labels,
    by_view,
    decode,
    is_labelled,
    score,
    uncertainties,
)
from modeling_cotpd.training.training_args import CoTPDTrainingArguments

NOT_FOR_THE_MODEL = ("distillation_mask", "target_log_probs")
"""What a batch holds for the loss alone."""


class CoTPDTrainer(Trainer):
    """
    `Trainer` for models with a prompt view and a knowledge view.

    It differs from its parent in this:

    - Datasets may be records: `tokens` and `ner_tags`, or `tokens`, `head`, `tail` and `relation`, with any of the
      optional columns. The trainer then builds the views, and evaluation returns precision, recall and F1 of every
      view (`eval_prompt_f1`, `eval_knowledge_f1`). Features that `build_features` returns are taken as they are.
    - The loss is Eq. 3-5: gold NLL of the knowledge view plus `alpha` times KL(p_knowledge || p_prompt), where
      `distillation_mask` says which positions are compared. Rows without gold labels (`labels` all -100) contribute
      their KL alone. A batch without knowledge inputs has the gold NLL of the prompt view as its loss.
    - NLL is averaged over the labelled positions, and KL over the compared ones, of the whole optimizer step: over
      gradient accumulation and over processes. So 4 x 1 accumulation and two processes give the step of one big batch.
    - The parts (`knowledge_nll`, `kl`, `prompt_nll`, and the `alpha` of the last step) are logged beside the loss.
    - Prompt and head may have their own learning rate, and the text may be masked in part for the prompt view.
    - Evaluation reads the views that `args.eval_views` names, all rows, in their own order, whatever
      `dataloader_drop_last` and `train_sampling_strategy` say for training.
    - Checkpoints take their name when all of it is on the disk, and rotate by step.
    - `save_model` writes a model card too; with LoRA, the merged model, and the adapter into `adapter`.
    - `evaluations` holds what was predicted. `facts` adds to what `results.run_results` knows of the run.
    - `push_to_hub` publishes the finished model with its code, card and results, and nothing else. Checkpoints,
      optimizer states and `training_args.bin` are never uploaded, and the access token is never written.

    Args:
        model (`CoTPDForTokenClassification`, `CoTPDForRelationExtraction` or `PeftModel`): The model.
        args (`CoTPDTrainingArguments`, *optional*): The training arguments.
        data_collator (`CoTPDCollator`, *optional*): By default one with the tokenizer's padding token.
        train_dataset, eval_dataset (`Dataset`, *optional*): Records or features; `eval_dataset` may be a `dict`.
        processing_class (`PreTrainedTokenizerBase`, *optional*): The tokenizer; records need it.
        views (`ViewSettings`, *optional*): How records become views. By default the model's configuration says so, and
            a new model reads the knowledge columns that the training records fill.
        kwargs: Passed to `Trainer`.

    Raises:
        SettingError: The arguments or the collator are stock ones, a loss function is given, or
            `metric_for_best_model` is not a metric that evaluation returns.
        DataError: A record breaks a rule; the message names row and column.

    Example:

    ```python
    >>> trainer = CoTPDTrainer(
    ...     model=model,
    ...     args=CoTPDTrainingArguments("output", num_train_epochs=5),
    ...     train_dataset=records["train"],
    ...     eval_dataset=records["validation"],
    ...     processing_class=tokenizer,
    ... )  # doctest: +SKIP
    >>> trainer.train()  # doctest: +SKIP
    >>> trainer.evaluate()["eval_prompt_f1"]  # doctest: +SKIP
    0.81
    ```
    """

    args: CoTPDTrainingArguments
    loss_is_scaled_for_ga = True

    def __init__(
        self,
        model: nn.Module | None = None,
        args: CoTPDTrainingArguments | None = None,
        data_collator: Callable | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | dict[str, Dataset] | None = None,
        processing_class: Any = None,
        views: ViewSettings | None = None,
        **kwargs,
    ):
        args = CoTPDTrainingArguments("trainer_output") if args is None else copy.copy(args)
        if not isinstance(args, CoTPDTrainingArguments):
            fix = "Use CoTPDTrainingArguments; it takes the same arguments."
            raise SettingError(f"args is a {type(args).__name__}.", fix=fix)
        if kwargs.get("compute_loss_func") is not None:
            fix = "Leave it out, or override compute_loss."
            raise SettingError("compute_loss_func would take the place of the two-view loss.", fix=fix)
        changed = kwargs.get("preprocess_logits_for_metrics", best_labels) is not best_labels
        if changed and kwargs.get("compute_metrics") is None:
            fix = "Give compute_metrics too, or leave it out."
            raise SettingError("preprocess_logits_for_metrics changes what the scores are computed from.", fix=fix)
        collator = getattr(data_collator, "func", data_collator)  # a partial's function
        modules = [getattr(kind, "__module__", "") for kind in (collator, *type(collator).__mro__)]
        if any(str(module).startswith("transformers") for module in modules):
            fix = "Leave data_collator out, or use CoTPDCollator."
            raise SettingError("The collator is one of transformers, which pads no views.", fix=fix)
        if args.prompt_view_masking and getattr(processing_class, "mask_token_id", None) is None:
            fix = "Give it as processing_class, or use another encoder."
            raise SettingError("prompt_view_masking needs a tokenizer with a mask token.", fix=fix)
        if data_collator is None and processing_class is not None:
            data_collator = CoTPDCollator(processing_class.pad_token_id, 8 if args.device.type == "cuda" else None)
        if kwargs.get("compute_metrics") is None:
            kwargs.setdefault("preprocess_logits_for_metrics", best_labels)
        limit, args.save_total_limit = args.save_total_limit, None  # CompleteCheckpoints rotates them
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            **kwargs,
        )
        self._hub_token, self.args.hub_token = self.args.hub_token, None  # the arguments are saved, a token is not
        self.add_callback(CompleteCheckpoints(limit))
        self.remove_callback(PrinterCallback)
        if self.pop_callback(ProgressCallback):
            self.add_callback(ProgressBar)
        self.add_callback(EpochLines)
        self.views = views
        self.evaluations: dict[str, Evaluation] = {}
        self.facts: dict[str, Any] = {}
        self.train_metrics: dict[str, float] = {}
        self._part_sums: dict[str, torch.Tensor] = {}
        self._part_step = 0
        self.train_dataset = self._features(train_dataset)
        self.eval_dataset: Any = (
            {name: self._features(split, scored=True) for name, split in eval_dataset.items()}
            if isinstance(eval_dataset, dict)
            else self._features(eval_dataset, scored=True)
        )
        self._check_best_metric()

    @property
    def head_model(self) -> CoTPDPreTrainedModel:
        """The model with its head, without what accelerate and peft wrap around it."""
        model = self.accelerator.unwrap_model(self.model)
        return model.get_base_model() if isinstance(model, PeftModel) else model

    @property
    def task(self) -> Task:
        """The task of the model's head."""
        for task in TASKS.values():
            if isinstance(self.head_model, task.model_class):
                return task
        fix = "Make one with CoTPDForTokenClassification.from_encoder(...)."
        raise SettingError(f"The model is a {type(self.head_model).__name__}, not a CoTPD model with a head.", fix=fix)

    def _features(self, dataset: Any, scored: bool = False) -> Any:
        """Features of records; features stay as they are."""
        if dataset is None or isinstance(dataset, str):
            return dataset
        if "input_ids" in (dataset.column_names if isinstance(dataset, Dataset) else next(iter(dataset), ())):
            return dataset
        if not isinstance(dataset, Dataset):
            fix = "Make it one with Dataset.from_list(rows)."
            raise SettingError(f"Records come as a datasets.Dataset, not as a {type(dataset).__name__}.", fix=fix)
        if self.processing_class is None:
            raise SettingError("Records need a tokenizer.", fix="Give it as processing_class.")
        config = self.head_model.config
        names = [config.id2label[index] for index in range(config.num_labels)]
        records = as_records(dataset, self.task.name, names, "train" if not scored else "evaluation")
        if config.knowledge_columns is None:  # a new model
            prepare_tokenizer(self.processing_class, self.head_model, self.task)
        if self.views is None:
            self.views = model_views(self.head_model, records)
        if not scored:
            if not (self.args.alpha > 0 and self.views.knowledge_columns):
                records = labelled_rows(records)
            record_words(self.head_model, self.processing_class, records)
            record_views(self.head_model, self.views)
        with self.args.main_process_first(desc="subword tokens"):
            features = build_features(records, self.processing_class, self.views)
        if scored:  # what predictions are read from and compared with
            more = [name for name in records.column_names if name not in features.column_names]
            features = concatenate_datasets([features, records.select_columns(more)], axis=1)
        return features

    def _check_best_metric(self) -> None:
        """Refuse a metric that no evaluation returns before the training starts."""
        wanted = self.args.metric_for_best_model
        if wanted is None or self.compute_metrics is not None or self.eval_dataset is None:
            return
        splits = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"": self.eval_dataset}
        known = []
        for name, dataset in splits.items():
            prefix = f"{name}_" if name else ""
            known += [f"{prefix}{each}" for each in ("loss", "runtime", "samples_per_second", "steps_per_second")]
            if "tokens" in dataset.column_names and is_labelled(dataset):
                both = self.args.eval_views == "both" and "knowledge_input_ids" in dataset.column_names
                views = ("prompt", "knowledge") if both else (self.args.eval_views.replace("both", "prompt"),)
                known += [f"{prefix}{view}_{metric}" for view in views for metric in self.task.metric_names()]
        if wanted.removeprefix("eval_") not in known:
            fix = did_you_mean(wanted, known, f"It returns {', '.join(known)}.")
            raise SettingError(f"metric_for_best_model={wanted} is not what evaluation returns.", fix=fix)

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> tuple:
        """The batches of an optimizer step, and its labelled and compared positions, `(2,)`."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        return batches, self._count(batches, device)

    def _count(self, batches: list, device: torch.device) -> torch.Tensor:
        counts = torch.zeros(2, device=device)
        for batch in batches:
            counts[0] += (batch["labels"] != -100).sum().to(device)
            counts[1] += batch["distillation_mask"].sum().to(device)
        return self.accelerator.reduce(counts, "sum")

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor | tuple[torch.Tensor, Any]:
        """The two-view loss of one batch, as its share of the optimizer step's mean."""
        if num_items_in_batch is None:
            num_items_in_batch = self._count([inputs], self.args.device)
        given = {name: value for name, value in inputs.items() if name not in NOT_FOR_THE_MODEL}
        if model.training and self.args.prompt_view_masking:
            given["input_ids"] = self._masked(given["input_ids"])
        outputs = model(**given)
        # DDP averages gradients over processes, while the counts are over all of them
        labelled, compared = num_items_in_batch.clamp(min=1) / self.accelerator.num_processes
        weight = 1.0 if outputs.knowledge_nll is None else self.args.prompt_nll_weight
        parts = {"prompt_nll": (outputs.nll.sum() / labelled, weight)}
        if outputs.knowledge_nll is not None:
            parts["knowledge_nll"] = (outputs.knowledge_nll.sum() / labelled, 1.0)
        target = inputs.get("target_log_probs", outputs.knowledge_logits)
        if target is not None and self.args.alpha:
            kl = distillation_kl(
                outputs.logits,
                target.detach() if self.args.detach_knowledge_view else target,
                inputs["distillation_mask"],
                self.args.temperature,
            )
            parts["kl"] = (kl / compared, self.current_alpha(self.state.global_step))
        # KL stays in the graph where its schedule begins at 0: DDP wants a gradient for the prompt at every step
        loss = sum(weight * value for name, (value, weight) in parts.items() if weight or name == "kl")
        if model.training:
            if not self._part_sums:
                self._part_step = self.state.global_step
            for name, (value, _) in parts.items():
                self._part_sums[name] = self._part_sums.get(name, 0.0) + value.detach()
        return (loss, outputs) if return_outputs else loss

    def _masked(self, input_ids: torch.Tensor) -> torch.Tensor:
        """`input_ids` `(B, n)` with a share of the tokens, special tokens aside, replaced by the mask token."""
        special = torch.tensor(self.processing_class.all_special_ids, device=input_ids.device)
        drawn = torch.rand(input_ids.shape, device=input_ids.device) < self.args.prompt_view_masking
        return input_ids.masked_fill(drawn & ~torch.isin(input_ids, special), self.processing_class.mask_token_id)

    def current_alpha(self, step: int) -> float:
        """The weight of the KL term in the optimizer step that follows `step` others."""
        if self.args.alpha_schedule == "constant" or not self.state.max_steps:
            return self.args.alpha
        return self.args.alpha * min(1.0, step / self.state.max_steps)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the parts of the loss, averaged over the steps since the last log."""
        steps = self.state.global_step - self._part_step
        if "loss" in logs and steps > 0 and self._part_sums:
            names = sorted(self._part_sums)
            sums = self.accelerator.reduce(torch.stack([self._part_sums[name] for name in names]), "mean")
            logs |= {name: round(value, 6) for name, value in zip(names, (sums / steps).tolist(), strict=True)}
            if "kl" in names:
                logs["alpha"] = self.current_alpha(self.state.global_step - 1)
            self._part_sums.clear()
        if "train_loss" in logs:
            self.train_metrics = dict(logs)
        super().log(logs, start_time)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Give prompt and head their own learning rate when there is one."""
        with as_setting_error():
            optimizer = super().create_optimizer(model)
        rate = self.args.new_parameters_learning_rate
        if rate is None:
            return optimizer
        named = (self.model if model is None else model).named_parameters()
        encoder = {id(parameter) for name, parameter in named if ".encoder." in name}
        groups = []
        for group in optimizer.param_groups:
            old = [parameter for parameter in group["params"] if id(parameter) in encoder]
            new = [parameter for parameter in group["params"] if id(parameter) not in encoder]
            parts = ({**group, "params": old}, {**group, "params": new, "lr": rate})
            groups += [part for part in parts if part["params"]]
        optimizer.param_groups[:] = groups
        return optimizer

    def create_scheduler(self, *args, **kwargs) -> torch.optim.lr_scheduler.LRScheduler:
        """As the parent; a scheduler that lacks a setting is a `SettingError`."""
        with as_setting_error("lr_scheduler_type"):
            return super().create_scheduler(*args, **kwargs)

    def get_train_dataloader(self) -> DataLoader:
        """As the parent; without a whole batch nothing would be trained."""
        loader = super().get_train_dataloader()
        if self.args.dataloader_drop_last and has_length(loader) and not len(loader):
            fix = "Leave it out, or choose a smaller batch."
            raise SettingError("dataloader_drop_last leaves no batch: all rows are fewer than one batch.", fix=fix)
        return loader

    def get_eval_dataloader(self, eval_dataset: str | Dataset | None = None) -> DataLoader:
        """As the parent, also for records; all rows, in their own order."""
        with self._whole_and_in_order():
            return super().get_eval_dataloader(self._features(eval_dataset, scored=True))

    def get_test_dataloader(self, test_dataset: Dataset) -> DataLoader:
        """As the parent, also for records; all rows, in their own order."""
        with self._whole_and_in_order():
            return super().get_test_dataloader(self._features(test_dataset, scored=True))

    @contextmanager
    def _whole_and_in_order(self) -> Iterator[None]:
        """Predictions are matched to rows by their order, so what training does with rows is left out."""
        args = self.args
        self.args = copy.copy(args)
        self.args.dataloader_drop_last, self.args.train_sampling_strategy = False, "sequential"
        try:
            yield
        finally:
            self.args = args

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """As the parent; when the rows are records, `evaluations` gets their predictions and scores."""
        rows = dataloader.dataset
        scored = self.compute_metrics is None and "tokens" in getattr(rows, "column_names", ())
        output = super().evaluation_loop(
            dataloader, description, None if scored else prediction_loss_only, ignore_keys, metric_key_prefix
        )
        kept = output.predictions
        if self.preprocess_logits_for_metrics is best_labels and kept is not None:
            ids = tuple(map(best_ids, kept)) if isinstance(kept, tuple) else best_ids(kept)
            output = output._replace(predictions=ids)
        if scored and kept is not None:
            prefixes = self.head_model.config.word_prefixes
            views = by_view(kept, self.args.eval_views)
            read = {view: decode(best_ids(found), rows, rows, prefixes) for view, found in views.items()}
            doubts = {view: uncertainties(found[..., 1], rows) for view, found in views.items()}
            scores = {view: score(predicted, rows) for view, predicted in read.items()} if is_labelled(rows) else {}
            split = "validation" if metric_key_prefix == "eval" else metric_key_prefix
            self.evaluations[split] = Evaluation(read, doubts, scores)
            for view, found in scores.items():
                numbers = {name: value for name, value in found.items() if isinstance(value, int | float)}
                output.metrics.update({f"{metric_key_prefix}_{view}_{name}": value for name, value in numbers.items()})
        return output

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, torch.Tensor | Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple:
        """Run only the views that evaluation reads."""
        views = self.args.eval_views
        if views == "prompt":
            inputs = {name: value for name, value in inputs.items() if not name.startswith("knowledge_")}
        if views == "knowledge":
            ignore_keys = [*(ignore_keys or self.head_model.config.keys_to_ignore_at_inference), "logits"]
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)

    def _get_output_dir(self, trial: Any) -> str:
        """Where checkpoints are written; `CompleteCheckpoints` moves them to their place."""
        folder = Path(super()._get_output_dir(trial)) / STAGING_CHECKPOINT
        if self.args.should_save:
            shutil.rmtree(folder, ignore_errors=True)  # of a killed run
        self.accelerator.wait_for_everyone()
        return str(folder)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save model, code, tokenizer and model card, each file complete or not at all, in `args.output_dir` or
        another folder."""
        if _internal_call:
            super().save_model(output_dir, _internal_call=True)
        else:
            save_finished(self, Path(output_dir or self.args.output_dir), super().save_model)

    def push_to_hub(
        self,
        commit_message: str = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
    ) -> CommitInfo | Future[CommitInfo] | None:
        """Save, and publish what lies in `args.output_dir` in one commit: see `hub.collect` and `hub.push`.

        Returns:
            The commit, or a `Future` of it unless `blocking`; `None` in all processes but the main one.
        """
        self.save_model()
        if not self.is_world_process_zero():
            return None
        repo = self.hub_model_id or self.args.hub_model_id or Path(self.args.output_dir).absolute().name
        upload = partial(
            push,
            collect(self.args.output_dir, repo),
            repo,
            message=commit_message,
            private=bool(self.args.hub_private_repo if private is None else private),
            revision=revision or self.args.hub_revision,
            token=token or self._hub_token,
        )
        return upload() if blocking else HfApi().run_as_future(upload)


__all__ = ["CoTPDTrainer"]

"""The Trainer of CoTPD: the two-view loss, its parts in the log, two learning rates, evaluation per view."""

import os
import shutil
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import CommitInfo, HfApi
from peft import PeftModel
from torch import nn
from torch.utils.data import Dataset, Sampler, SequentialSampler
from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from modeling_cotpd.errors import SettingError
from modeling_cotpd.hub import collect, push
from modeling_cotpd.losses import distillation_kl
from modeling_cotpd.saving import staged
from modeling_cotpd.training_args import CoTPDTrainingArguments

STAGING_CHECKPOINT = ".saving-checkpoint"
"""Where a checkpoint lies while it is written, within the output folder."""

NOT_FOR_THE_MODEL = ("distillation_mask", "target_log_probs")
"""What a batch holds for the loss alone."""


class CoTPDTrainer(Trainer):
    """
    `Trainer` for models with a prompt view and a knowledge view. It knows no task: the model maps inputs to logits and
    gold negative log-likelihoods of each view.

    It differs from its parent in this:

    - The loss is Eq. 3-5: gold NLL of the knowledge view plus `alpha` times KL(p_knowledge || p_prompt), where
      `distillation_mask` says which positions are compared. Rows without gold labels (`labels` all -100) contribute
      their KL alone. A batch without knowledge inputs has the gold NLL of the prompt view as its loss.
    - NLL is averaged over the labelled positions, and KL over the compared ones, of the whole optimizer step: over
      gradient accumulation and over processes. So 4 x 1 accumulation and two processes give the step of one big batch.
    - The parts (`knowledge_nll`, `kl`, `prompt_nll`, and the `alpha` of the last step) are logged beside the loss.
    - Prompt and head may have their own learning rate, and the text may be masked in part for the prompt view.
    - Evaluation reads the views that `args.eval_views` names; the collator must provide `distillation_mask`.
    - Evaluation keeps the order of the rows, also when training groups them by length.
    - Model files and checkpoints appear under their names when they are complete.
    - `push_to_hub` publishes the finished model with its code, card and results, and nothing else; checkpoints,
      optimizer states and `training_args.bin` are never uploaded, whatever `hub_strategy` says.

    Example:

    ```python
    >>> trainer = CoTPDTrainer(
    ...     model=model,
    ...     args=CoTPDTrainingArguments("output", alpha=1.0),
    ...     data_collator=CoTPDCollator(tokenizer.pad_token_id),
    ...     train_dataset=features["train"],
    ...     processing_class=tokenizer,
    ... )  # doctest: +SKIP
    >>> trainer.train()  # doctest: +SKIP
    ```
    """

    args: CoTPDTrainingArguments
    loss_is_scaled_for_ga = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.args.prompt_view_masking and getattr(self.processing_class, "mask_token_id", None) is None:
            raise SettingError(
                "prompt_view_masking needs a tokenizer with a mask token.",
                fix="Give it as processing_class, or use another encoder.",
            )
        self._part_sums: dict[str, torch.Tensor] = {}
        self._part_step = 0
        self._is_saving = False

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> torch.Tensor:
        """Labelled and compared positions of an optimizer step, over all its batches and processes, `(2,)`."""
        counts = torch.zeros(2, device=device)
        for batch in batch_samples:
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
            num_items_in_batch = self._get_num_items_in_batch([inputs], self.args.device)
        given = {name: value for name, value in inputs.items() if name not in NOT_FOR_THE_MODEL}
        if model.training and self.args.prompt_view_masking:
            given["input_ids"] = self._masked(given["input_ids"])
        outputs = model(**given)
        # DDP averages gradients over processes, while the counts are over all of them
        labelled, compared = num_items_in_batch.clamp(min=1) / self.accelerator.num_processes
        parts = {"prompt_nll": (outputs.nll.sum() / labelled, self.args.prompt_nll_weight)}
        if outputs.knowledge_nll is None:
            parts["prompt_nll"] = (parts["prompt_nll"][0], 1.0)
        else:
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
        """`input_ids` `(B, n)` with a share of the pieces, special tokens aside, replaced by the mask token."""
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
        super().log(logs, start_time)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Give prompt and head their own learning rate when there is one."""
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
            if old:
                groups.append({**group, "params": old})
            if new:
                groups.append({**group, "params": new, "lr": rate})
        optimizer.param_groups[:] = groups
        return optimizer

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As the parent, but every file appears complete or not at all, and nothing is pushed: what is published has
        results and card."""
        with staged(output_dir or self.args.output_dir, self.args.should_save) as staging:
            super().save_model(str(staging), _internal_call=True)

    def _get_output_dir(self, trial: Any) -> str:
        folder = super()._get_output_dir(trial)
        return os.path.join(folder, STAGING_CHECKPOINT) if self._is_saving else folder

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """A checkpoint takes its name when all of it is written, so that a killed run resumes from a whole one."""
        folder, name = Path(self._get_output_dir(trial)), f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        staging = folder / STAGING_CHECKPOINT
        if self.args.should_save:
            shutil.rmtree(staging, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self._is_saving = True
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self._is_saving = False
        if self.state.best_global_step == self.state.global_step:
            self.state.best_model_checkpoint = str(folder / name)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            self.state.save_to_json(str(staging / name / TRAINER_STATE_NAME))
            shutil.rmtree(folder / name, ignore_errors=True)
            os.replace(staging / name, folder / name)
            shutil.rmtree(staging)
            rotate_checkpoints(
                str(folder), self.args.save_total_limit, self.state.best_model_checkpoint, use_mtime=True
            )

    def push_to_hub(
        self,
        commit_message: str = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
    ) -> CommitInfo | Future[CommitInfo] | None:
        """Publish what lies in `args.output_dir`, in one commit: see `modeling_cotpd.hub`.

        Args:
            commit_message (`str`, *optional*): The commit's message.
            blocking (`bool`, *optional*, defaults to `True`): Wait for the upload; else a `Future` comes back.
            token (`str`, *optional*): An access token; `args.hub_token` or that of `hf auth login` by default.
            revision (`str`, *optional*): A branch; `args.hub_revision` by default.
            private (`bool`, *optional*): Make a private repository; `args.hub_private_repo` by default.

        Returns:
            The commit; `None` on other processes than the first.

        Raises:
            SettingError: The folder holds no complete model, or the Hub declines.
        """
        # An adapter is published merged, as the run saved it
        if not isinstance(self.accelerator.unwrap_model(self.model), PeftModel):
            self.save_model()
        if not self.is_world_process_zero():
            return None
        repo = self.hub_model_id or self.args.hub_model_id or Path(self.args.output_dir).absolute().name
        publish = partial(
            push,
            collect(self.args.output_dir, repo),
            repo,
            message=commit_message,
            private=bool(self.args.hub_private_repo if private is None else private),
            revision=revision or self.args.hub_revision,
            token=token or self.args.hub_token,
        )
        return publish() if blocking else HfApi().run_as_future(publish)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """A checkpoint is not published: it holds the optimizer's state and settings of this machine."""

    def _get_eval_sampler(self, eval_dataset: Dataset) -> Sampler | None:
        """The rows in their own order, by which predictions are matched to them; also with `group_by_length`."""
        return SequentialSampler(eval_dataset) if self.args.world_size <= 1 else None

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
            ignore_keys = [*(ignore_keys or self.model.config.keys_to_ignore_at_inference), "logits"]
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)

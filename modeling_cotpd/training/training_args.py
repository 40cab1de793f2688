"""Training arguments of CoTPD."""

import math
from dataclasses import dataclass

from transformers import TrainingArguments
from transformers.hf_argparser import HfArg
from transformers.trainer_utils import HubStrategy

from modeling_cotpd.errors import SettingError

ALPHA_SCHEDULES = ("constant", "linear")
EVAL_VIEWS = ("prompt", "knowledge", "both")
SAMPLING = ("random", "sequential", "group_by_length")
FIXED = {
    "label_smoothing_factor": (0.0, "the two-view loss has no smoothing"),
    "remove_unused_columns": (False, "the collator reads columns that forward does not name"),
    "label_names": (["labels"], "the loss reads labels"),
    "eval_do_concat_batches": (True, "scores are computed over all rows at once"),
    "batch_eval_metrics": (False, "scores are computed over all rows at once"),
    "hub_strategy": (HubStrategy.END, "checkpoints are never uploaded"),
    "use_liger_kernel": (False, "its kernels do not know these models"),
}
"""Settings of the parent that have one possible value here, and why."""


@dataclass
class CoTPDTrainingArguments(TrainingArguments):
    """`TrainingArguments` with the settings of the two-view loss (Eq. 3-5).

    Raises:
        SettingError: A field is out of range, or has a value that the two-view loss or the evaluation of views would
            ignore (see `FIXED`). The message names the field, the rule and the value given.
    """

    alpha: float = HfArg(
        default=1.0, help="Weight of the KL term (Eq. 5). 0 trains the knowledge view alone, for the baselines."
    )
    alpha_schedule: str = HfArg(
        default="constant", help="constant, or linear: from 0 to alpha over the training steps."
    )
    temperature: float = HfArg(default=1.0, help="Temperature of both distributions in the KL term.")
    detach_knowledge_view: bool = HfArg(default=False, help="Stop the gradient of the KL term at the knowledge view.")
    prompt_nll_weight: float = HfArg(
        default=0.0,
        help="Weight of the gold negative log-likelihood of the prompt view. Without knowledge inputs it is the whole "
        "loss, whatever this says.",
    )
    prompt_view_masking: float = HfArg(
        default=0.0,
        help="Share of the text's tokens, drawn anew in every step, that the prompt view sees as the mask token in "
        "training (a noisy student, arXiv 1911.04252).",
    )
    new_parameters_learning_rate: float | None = HfArg(
        default=None, help="Learning rate of prompt and head; default: learning_rate."
    )
    eval_views: str = HfArg(
        default="both",
        help="The views that evaluation reads: prompt, knowledge or both, in one pass. They name the metrics.",
    )
    remove_unused_columns: bool = HfArg(
        default=False, help="Kept off: the collator reads columns that forward does not name."
    )
    label_names: list[str] | None = HfArg(default_factory=lambda: ["labels"], help="Kept: labels.")
    hub_strategy: HubStrategy | str = HfArg(default="end", help="Kept: end. Checkpoints are never uploaded.")

    def __post_init__(self):
        super().__post_init__()
        for name, (kept, reason) in FIXED.items():
            value = getattr(self, name)
            if value != kept and not (value is None and name == "label_names"):
                raise SettingError(f"{name} must be {kept}, got {value}: {reason}.", fix="Leave it out.")
        self.label_names = ["labels"]
        if self.device.type == "cpu":  # else PyTorch warns in every loader
            self.dataloader_pin_memory = False
        # YAML gives a bool and the command line a word
        resume = str(self.resume_from_checkpoint).lower()
        if resume in ("true", "false"):
            self.resume_from_checkpoint = "true" if resume == "true" else None
        rate = self.new_parameters_learning_rate
        for name, fits, rule in (
            ("alpha", 0 <= self.alpha < math.inf, "not be negative"),
            ("prompt_nll_weight", 0 <= self.prompt_nll_weight < math.inf, "not be negative"),
            ("prompt_view_masking", 0 <= self.prompt_view_masking < 1, "be in [0, 1)"),
            ("temperature", 0 < self.temperature < math.inf, "be positive"),
            ("alpha_schedule", self.alpha_schedule in ALPHA_SCHEDULES, f"be one of {', '.join(ALPHA_SCHEDULES)}"),
            ("eval_views", self.eval_views in EVAL_VIEWS, f"be one of {', '.join(EVAL_VIEWS)}"),
            ("new_parameters_learning_rate", rate is None or rate > 0, "be positive"),
            # what the parent takes, and what ends in an error later or trains nothing
            ("learning_rate", self.learning_rate >= 0, "not be negative"),
            ("per_device_train_batch_size", self.per_device_train_batch_size > 0, "be positive"),
            ("per_device_eval_batch_size", self.per_device_eval_batch_size > 0, "be positive"),
            ("gradient_accumulation_steps", self.gradient_accumulation_steps > 0, "be positive"),
            ("max_steps", self.max_steps != 0, "not be 0"),
            ("num_train_epochs", self.max_steps > 0 or self.num_train_epochs > 0, "be positive"),
            ("seed", 0 <= self.seed < 2**32, "be in [0, 2**32)"),
            ("train_sampling_strategy", self.train_sampling_strategy in SAMPLING, f"be one of {', '.join(SAMPLING)}"),
            ("fp16", not (self.fp16 and self.device.type == "cpu"), "not be set on a CPU, which has bf16"),
        ):
            if not fits:
                value = getattr(self, name)
                raise SettingError(f"{name} must {rule}, got {value!r}.")

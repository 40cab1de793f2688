"""LoRA on the encoder through peft, with prompt and head trained whole and saved."""

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from modeling_cotpd.modeling_cotpd import CoTPDPreTrainedModel
from modeling_cotpd.training.arguments import ModelArguments

NEW_MODULES = ("prompt", "classifier", "crf")


def add_lora(model: CoTPDPreTrainedModel, arguments: ModelArguments, new_vocabulary: bool) -> PeftModel:
    """Freeze the encoder, add LoRA to it, keep prompt and head trainable.

    Args:
        model (`CoTPDPreTrainedModel`): A model with pretrained encoder.
        arguments (`ModelArguments`): Rank, alpha, dropout and target modules.
        new_vocabulary (`bool`): Whether embeddings were added, which then have to be trained too (entity markers).
    """
    present = {name for name, _ in model.named_children()} | {
        name for name, _ in model.get_base_model().named_children()
    }
    targets = arguments.lora_target_modules
    if targets in (None, ["all-linear"], ["all_linear"]):
        targets = [
            name
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and (name.startswith("encoder.") or ".encoder." in name)
        ]
    embeddings = [
        name.rsplit(".", 1)[-1] for name, module in model.named_modules() if module is model.get_input_embeddings()
    ]
    return get_peft_model(
        model,
        LoraConfig(
            r=arguments.lora_r,
            lora_alpha=arguments.lora_alpha,
            lora_dropout=arguments.lora_dropout,
            target_modules=targets,
            modules_to_save=[name for name in NEW_MODULES if name in present] + (embeddings if new_vocabulary else []),
        ),
    )

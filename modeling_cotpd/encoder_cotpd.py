"""What the models need to know about any encoder: its layers, its positions, and where a prompt can stand."""

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

BERT_LAYERS = frozenset({"bert", "roberta", "xlm-roberta", "mpnet"})
"""Encoders whose layers are BERT's: `attention`, with its residual and norm, then a feed-forward that sees single
positions."""


def prompt_view_layout(mask: torch.Tensor, prompt_length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where text and prompt stand in the prompt view: pieces, then the prompt, then padding.

    A prediction must not depend on what else is in its batch, so no padding may come between text and prompt, where it
    would move the prompt's positions.

    Args:
        mask (`torch.Tensor` of shape `(B, n)`): The text's attention mask.
        prompt_length (`int`): N; may be 0.

    Returns:
        Positions of the text `(B, n)` and of the prompt `(B, N)`, and the view's attention mask `(B, n+N)`.
    """
    attended = mask != 0
    steps = torch.arange(mask.shape[1] + prompt_length, device=mask.device)
    counted = attended.cumsum(1)
    lengths = counted[:, -1:]
    padding = steps[: mask.shape[1]] + (lengths + prompt_length) - counted
    text_positions = torch.where(attended, counted - 1, padding)
    prompt_positions = lengths + steps[:prompt_length]
    return text_positions, prompt_positions, (steps < lengths + prompt_length).long()


def without_pooler(encoder: PreTrainedModel) -> PreTrainedModel:
    """Drop a pooler that nothing reads: its weights would never receive a gradient, which DDP rejects."""
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    return encoder


def encoder_layers(encoder: PreTrainedModel) -> nn.ModuleList:
    """The encoder's stack of layers, found as the module list that is as long as the configuration says.

    Raises:
        ValueError: The encoder has no such list.
    """
    expected = encoder.config.num_hidden_layers
    for module in encoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == expected:
            return module
    raise ValueError(
        f"{type(encoder).__name__} has no list of {expected} layers, which prompt_type='prefix' needs; use another."
    )


def encode_and_read(
    encoder: PreTrainedModel, read: Callable[[torch.Tensor], torch.Tensor], whole: bool = False, **inputs
) -> tuple[torch.Tensor, ModelOutput]:
    """Run an encoder and read its last layer at some positions alone.

    The last layer's feed-forward, two thirds of that layer, then runs at these positions only, where the layers are
    BERT's. The knowledge view is read at its text, a fifth of its length.

    Args:
        encoder (`PreTrainedModel`): The encoder.
        read (`Callable`): Picks positions from states `(B, m, d)`.
        whole (`bool`, *optional*, defaults to `False`): Compute all positions and pick afterwards, because somebody
            wants to see all hidden states.
        inputs: What the encoder is called with.

    Returns:
        The states that were read, and the encoder's output.
    """
    layer = encoder_layers(encoder)[-1] if encoder.config.model_type in BERT_LAYERS else None
    # a layer that is computed again in the backward pass would be without the hook, and a hook breaks a graph
    recomputes = encoder.training and getattr(layer, "gradient_checkpointing", False)
    if whole or layer is None or recomputes or torch.compiler.is_compiling():
        encoded = encoder(**inputs)
        return read(encoded.last_hidden_state), encoded
    hook = layer.attention.register_forward_hook(lambda module, args, output: (read(output[0]), *output[1:]))
    try:
        encoded = encoder(**inputs)
    finally:
        hook.remove()
    return encoded.last_hidden_state, encoded


def max_positions(encoder: PreTrainedModel) -> int | None:
    """The most pieces that an encoder reads at once; `None` when its positions are relative and unbounded."""
    table = next((m for name, m in encoder.named_modules() if name.endswith("position_embeddings")), None)
    if isinstance(table, nn.Embedding):
        # RoBERTa and its kin count positions from padding_idx + 1
        return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    if getattr(encoder.config, "position_biased_input", None) is False:
        return None  # DeBERTa: relative positions alone
    return encoder.config.max_position_embeddings


def refuse_pickle(name_or_path: str | os.PathLike | None) -> None:
    """Raise an `OSError` that says why when a folder has weights, but none as safetensors."""
    if name_or_path is None or not Path(name_or_path).is_dir():
        return
    names = [path.name for path in sorted(Path(name_or_path).iterdir())]
    pickles = [name for name in names if name.startswith("pytorch_model") and name.endswith(".bin")]
    if pickles and not any(name.endswith(".safetensors") for name in names):
        raise OSError(
            f"{name_or_path} has only a pickle checkpoint ({pickles[0]}), which can run code when it is loaded. "
            "Convert it where you trust it: load it there and save it with save_pretrained, which writes safetensors."
        )


__all__ = [
    "encode_and_read",
    "encoder_layers",
    "max_positions",
    "prompt_view_layout",
    "refuse_pickle",
    "without_pooler",
]

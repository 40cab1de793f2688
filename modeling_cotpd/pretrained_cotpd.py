"""Loading and saving of all CoTPD models: from an encoder, or a whole trained model."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from .configuration_cotpd import CoTPDConfig
from .crf_cotpd import LinearChainCRF
from .encoder_cotpd import EMBEDDED_ENCODERS, check_weights, prepare_encoder, resolve_encoder
from .prompt_cotpd import init_prompt_weights

HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
"""What says where a model is found."""


class CoTPDPreTrainedModel(PreTrainedModel):
    """Weight initialization, saving and loading for all CoTPD models."""

    config_class = CoTPDConfig
    base_model_prefix = "cotpd"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        init_prompt_weights(module)
        if isinstance(module, LinearChainCRF):
            module.init_weights()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, use_safetensors: bool = True, **kwargs):
        """As `PreTrainedModel.from_pretrained`, but from safetensors alone, and only a whole CoTPD model.

        Raises:
            OSError: The folder or repository holds a plain encoder, another head, a pickle, or not all weights. With
                `output_loading_info=True`, missing weights are returned and not refused.
        """
        if not use_safetensors:
            raise ValueError("Only safetensors are loaded: leave use_safetensors out.")
        source = pretrained_model_name_or_path
        check_weights(source, kwargs.get("subfolder") or "")
        returns_info = kwargs.pop("output_loading_info", False)
        if not returns_info:
            config = kwargs.get("config")
            if isinstance(config, PreTrainedConfig):
                cls._check_kind(source, config.model_type, config.architectures)
            else:
                hub = {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}
                config, _ = PreTrainedConfig.get_config_dict(source, **hub)
                cls._check_kind(source, config.get("model_type"), config.get("architectures"))
        resizes = kwargs.pop("ignore_mismatched_sizes", False)
        model, info = super().from_pretrained(
            source,
            *model_args,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **kwargs,
        )
        wrong = [] if resizes else sorted(each[0] for each in info["mismatched_keys"])
        missing = [] if returns_info else sorted(info["missing_keys"])
        if wrong or missing:
            names = wrong or missing
            raise OSError(
                f"{source}: The weights do not fit the configuration: {len(names)} of them "
                f"{'have another shape' if wrong else 'are missing'}, such as {names[0]}. Copy the model again"
                f"{', or make them anew with ignore_mismatched_sizes=True' if wrong else ''}."
            )
        return (model, info) if returns_info else model

    @classmethod
    def _check_kind(cls, source: str, model_type: str | None, architectures: list[str] | None) -> None:
        """Refuse a plain encoder, and a model with another head."""
        if model_type != CoTPDConfig.model_type:
            raise OSError(
                f"{source}: This is a model of type {model_type}, not a trained CoTPD model. "
                f"To train one from it: {cls.__name__}.from_encoder({str(source)!r})"
            )
        heads = architectures or [cls.__name__]
        if cls.__name__ not in ("CoTPDModel", *heads):
            raise OSError(f"{source}: This is a {heads[0]}, not a {cls.__name__}. Load it with {heads[0]}.")

    @classmethod
    def from_encoder(
        cls,
        name_or_path: str,
        *,
        config: CoTPDConfig | None = None,
        encoder_kwargs: dict | None = None,
        **config_kwargs,
    ) -> "CoTPDPreTrainedModel":
        """Start from a pretrained encoder; prompt and head are new.

        Args:
            name_or_path (`str`): An encoder on the Hub or in a folder, or `embedded-minilm`.
            config (`CoTPDConfig`, *optional*): Its settings are kept, its `encoder_config` becomes the checkpoint's.
            encoder_kwargs (`dict`, *optional*): Passed to `AutoModel.from_pretrained` (`revision`, `token`,
                `attn_implementation`, `trust_remote_code`, ...). Only safetensors weights are loaded, and as float32,
                which is what training needs, unless `dtype` says otherwise.
            config_kwargs: Fields of `CoTPDConfig`, such as `prompt_length=4` or `id2label={...}`.

        Raises:
            OSError: There is no such checkpoint, or it has no safetensors weights.
            ValueError: The model is not a bidirectional encoder, or a field of the configuration is out of range.

        Example:

        ```python
        >>> from modeling_cotpd import CoTPDForTokenClassification
        >>> model = CoTPDForTokenClassification.from_encoder(
        ...     "google-bert/bert-base-uncased", num_labels=9, prompt_length=4
        ... )  # doctest: +SKIP
        ```
        """
        _, hub_name = EMBEDDED_ENCODERS.get(name_or_path, ("", ""))
        name_or_path = resolve_encoder(name_or_path)
        check_weights(name_or_path)
        loading = {"dtype": torch.float32, "trust_remote_code": False, **(encoder_kwargs or {})}
        from transformers import AutoModel  # at the top it would load the classes that need this module

        encoder = AutoModel.from_pretrained(name_or_path, use_safetensors=True, **loading)
        attention = encoder.config._attn_implementation  # a composite configuration sets it back to the default
        if Path(name_or_path).is_dir():  # a path of this machine says nothing on another
            encoder.config._name_or_path = hub_name or Path(name_or_path).name
        if config is None:
            config = CoTPDConfig(encoder_config=encoder.config, **config_kwargs)
        else:
            config.encoder_config = encoder.config
        config._attn_implementation = attention
        model = cls(config)
        model.get_base_model().encoder = prepare_encoder(encoder, config.prompt_type == "prefix")
        return model

    def get_base_model(self) -> Any:
        """The `CoTPDModel` inside, or the model itself."""
        return getattr(self, self.base_model_prefix, self)
